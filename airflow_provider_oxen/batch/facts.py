"""Facts about a row: which try works on it, what is in its place, and its outcome."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenPollError, OxenStoreUnavailable
from airflow_provider_oxen.batch.budget import exact
from airflow_provider_oxen.batch.outcome import Bill
from airflow_provider_oxen.batch.rowstore import Row, Waited
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Identity, Task
from airflow_provider_oxen.tasks.running import Running

__all__ = ["BatchTry", "PriorWork", "RowLog", "RowOutcome", "restored", "uncounted"]


@dataclass
class BatchTry:
    """Which try of which task this is.

    :ivar identity: the task instance.
    :ivar clear_key: which clearing of which task instance this is; set again once the account is read.
    :ivar clear_number: how often the Dag run was cleared, for any of its tasks; None if not known.
    :ivar tries_left: whether Airflow would retry.
    :ivar running: checks whether this try is the one that Airflow runs.
    """

    identity: Identity
    try_number: int
    clear_key: str
    clear_number: int | None
    tries_left: bool
    running: Running

    def check(self) -> None:
        """Make sure that this try may write its results.

        :raises OxenError: if another try runs by now, or nobody can tell.
        """
        try:
            self.running.check()
        except OxenOvertaken as error:
            error.advise("The next try finds what this one has paid for.")
            raise
        except OxenStoreUnavailable as error:
            raise OxenPollError(
                f"{error.message} Its manifest was left as it was.",
                retry="The next try finds what this one has paid for.",
            ) from None


class PriorWork(NamedTuple):
    """What earlier tries and other tasks have left in a row's place.

    :ivar result: the operator's result, if the row's images are kept.
    :ivar is_open: whether it has a job, which may have been paid for.
    :ivar sent: requests that this task has sent for it.
    :ivar cost: USD that they have cost; None if that is not known yet.
    """

    result: dict[str, Any] | None
    preview: str | None
    is_open: bool
    sent: int
    cost: float | None = None


class RowOutcome(NamedTuple):
    """The outcome of a row: a result, a job that the triggerer waits for, or an error.

    :ivar bill: what a row that ended with an error has cost.
    :ivar uncounted: USD of a result's cost that no metric has counted yet.
    """

    row: Row
    result: dict[str, Any] | None = None
    preview: str | None = None
    waiting: Record | None = None
    error: Exception | None = None
    bill: Bill = Bill()
    uncounted: float = 0.0


def uncounted(result: dict[str, Any], record: Record | None) -> float:
    counted = record.counted if record is not None else 0.0
    return 0.0 if result["reused"] else max(0.0, float(exact(result.get("cost")) - exact(counted)))


def restored(row: Row, waited: Waited, task: Task) -> Record:
    """Return the record of a row's job if only the batch's record still has it."""
    asked_for = {"target_namespace": waited.namespace, "seed": waited.seed}
    return Record(
        phase="submitted",
        nonce=task.nonce,
        identity=task.identity,
        time=waited.submitted_at or time.time(),
        endpoint="queue",
        body=row.request.model_copy(update=asked_for).body(),
        origin=task.origin,
        namespace=waited.namespace,
        fingerprint=row.fingerprint,
        price=waited.price,
        clear_count=task.clear_count,
        generation_id=waited.generation,
        submitted_at=waited.submitted_at,
    )


class RowLog(LoggerAdapter[Logger]):
    """Adds the row to its messages, and logs only unusual events, since there may be thousands of rows."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {})['row']}: {msg}", kwargs
