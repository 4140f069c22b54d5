"""What a task takes along when it is deferred, and what it logs.

A task continues with the arguments that it was started with. Airflow makes a new operator to resume it: by
then a template or the Dag file may give other values, and whatever a subclass's ``execute`` has set is gone.
The arguments lie inside the value that the task was deferred with before, so a subclass that overrides
``execute_complete`` gets no argument that it does not know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from airflow_provider_oxen.hooks.triggerer import warn_of_no_triggerer
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.tasks.arguments import ImageArguments

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.triggers.base import BaseTrigger

__all__ = [
    "SLACK",
    "TaskOperator",
    "defer",
    "has_arguments",
    "restore",
    "warn_before_deferral",
    "with_arguments",
]

_KEY = "arguments"

SLACK = 600.0
"""Seconds that Airflow waits beyond the trigger's own deadline; this matters only if no triggerer runs."""


class TaskOperator(Protocol):
    """An operator whose arguments are rendered.

    :ivar pushed_links: links that this instance has pushed, by key.
    :ivar lineage: returns the lineage for OpenLineage; None until the outputs exist.
    """

    do_xcom_push: bool
    outlets: Any
    pushed_links: dict[str, str] | None
    lineage: Callable[[], OperatorLineage[Any, Any]] | None

    @property
    def log(self) -> Any: ...

    def defer(
        self, *, trigger: BaseTrigger, method_name: str, kwargs: dict[str, Any], timeout: timedelta | None
    ) -> NoReturn: ...


def with_arguments(kept: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value that a task is deferred with.

    :param kept: what is known about the job that it waits for.
    :param arguments: the operator's arguments by name, as they were read; plain JSON.
    """
    return {**kept, _KEY: dict(arguments)}


def has_arguments(kept: Any) -> bool:
    """Return whether what a task was deferred with holds the arguments; earlier versions' does not."""
    return isinstance(kept, Mapping) and isinstance(kept.get(_KEY), Mapping)


def restore(operator: Any, kept: Any, names: Iterable[str]) -> Any:
    """Set the arguments that a task was deferred with on its operator, and return the rest.

    They are then read, and so checked, like any others.

    :param kept: what :func:`with_arguments` returned. Without arguments in it, as earlier versions wrote it,
        the operator's own count.
    :param names: names of the templated arguments; another version may have kept others.
    """
    if not has_arguments(kept):
        return kept
    rest = dict(kept)
    arguments = rest.pop(_KEY)
    for name in arguments.keys() & {*names, "deferrable"}:
        setattr(operator, name, arguments[name])
    return rest


def _utc(seconds: float) -> str:
    """Return a moment for the log."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def warn_before_deferral(ti: Any, log: Any) -> None:
    """Warn if Airflow would not retry, or if no triggerer runs.

    Airflow may fail a task that returns quickly from its deferral.
    """
    if ti.try_number > (ti.max_tries or 0):
        log.warning(
            "This is the task's last try, and Airflow may fail a deferred task for reasons outside it, "
            "such as a lost worker. Set retries to 2 or more. If it fails, clear it: it fetches what was "
            "paid for without paying again."
        )
    warn_of_no_triggerer(ti, log)


def defer(
    operator: TaskOperator,
    ti: Any,
    arguments: ImageArguments,
    resumed: bool,
    record: Record,
    deadline: float | None,
) -> None:
    """Defer a task until its generation has ended.

    :param resumed: whether it has been deferred before.
    """
    from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

    since = record.submitted_at or record.time
    trigger = OxenGenerationTrigger(
        generation_id=str(record.generation_id),
        oxen_conn_id=arguments.oxen_conn_id,
        namespace=record.namespace,
        poll_interval=arguments.poll_interval,
        deadline=deadline,
        patience=since + arguments.lookup_grace,
        cancel_on_kill=arguments.cancel_on_kill and record.may_be_cancelled,
        deferred_at=time.time(),
    )
    left = None if deadline is None else max(0.0, deadline - time.time()) + SLACK
    operator.log.info(
        "Waiting for generation %s in the triggerer. It was submitted at %s; the timeout is %s.",
        record.generation_id, _utc(since), "off" if deadline is None else f"at {_utc(deadline)}",
    )  # fmt: skip
    if not resumed:
        warn_before_deferral(ti, operator.log)
    operator.defer(
        trigger=trigger,
        method_name="execute_complete",
        kwargs={"job": with_arguments(record.as_json(), arguments.as_json())},
        timeout=None if left is None else timedelta(seconds=left),
    )
