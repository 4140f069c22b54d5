"""What a task writes before anything else: that it has begun, and has sent nothing.

A later try that finds no record at all must fear that one was lost. Where the first try failed before it knew
what to ask for (a function that raised, an argument that was wrong), this is what it finds instead: in
Airflow's store, or beside the output. Newer Airflow discards the store of a task that is cleared, so a try
that fails so early leaves it in both.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.jobs.stores import RecordStore

__all__ = ["begin", "begun", "forget", "has_sent_nothing"]


def begin(operator: Any, context: Context) -> None:
    """Write the record of a first try that has sent nothing, where there is none.

    Nothing is raised: where that place cannot be written to, the task is about to find out, and to say so.

    :param operator: with its arguments rendered, and not read yet.
    """
    _write(operator, context, in_files=_has_no_store(context))


@contextmanager
def begun(operator: Any, context: Context, *, sends: bool = True) -> Iterator[None]:
    """Leave the record beside the output, too, where a first try fails and has sent nothing.

    What goes well has a record of its own there, or needs none.

    :param sends: whether something may be sent within: then the store must tell that nothing was.
    """
    try:
        yield
    except Exception:
        if not sends or _says_so(operator, context, in_files=False):
            _write(operator, context, in_files=True)
        raise


def _write(operator: Any, context: Context, *, in_files: bool) -> None:
    ti = context["ti"]
    if ti.try_number != 1:
        return
    from airflow_provider_oxen.jobs.intent import blank
    from airflow_provider_oxen.jobs.task import Task

    try:
        store, identity = _open(operator, context, in_files=in_files)
        task = Task(
            identity=identity,
            fingerprint="",
            origin="",
            namespace=None,
            endpoint="generate",
            nonce=secrets.token_hex(16),
            clear_count=ti.max_tries or 0,
            clear_number=getattr(context.get("dag_run"), "clear_number", None),
        )
        # The same in both places: two records of one number would be two jobs.
        there = store.read() if in_files and not _has_no_store(context) else None
        store.create(there or blank(task, time.time()))
    except Exception as error:
        operator.log.debug("The start of the task could not be recorded: %s", type(error).__name__)


def has_sent_nothing(operator: Any, context: Context) -> bool:
    """Whether what :func:`begin` has written is there, and no job of one image came after it."""
    if getattr(operator, "sent_nothing", False):
        return True
    return any(_says_so(operator, context, in_files=in_files) for in_files in (False, True))


def _says_so(operator: Any, context: Context, *, in_files: bool) -> bool:
    try:
        record = _open(operator, context, in_files=in_files)[0].read()
    except Exception:
        # Who cannot be asked proves nothing.
        return False
    return record is not None and record.phase == "not_sent" and not record.fingerprint


def forget(operator: Any, context: Context) -> None:
    """Remove the file of :func:`begin` beside the output of a batch, which has other records there.

    What it told is remembered with the operator, for :func:`has_sent_nothing`.
    """
    operator.sent_nothing = has_sent_nothing(operator, context)
    if not operator.sent_nothing:
        return
    with suppress(Exception):
        store = _open(operator, context, in_files=True)[0]
        # The store's stays: it hides nothing, and is not in the way.
        store = getattr(store, "file", store)
        record = store.read()
        if record is not None:
            store.close(record.to("kept"))


def _has_no_store(context: Context) -> bool:
    return context.get("task_state_store") is None


def _open(operator: Any, context: Context, *, in_files: bool) -> tuple[RecordStore, str]:
    """Return the place that can be opened before the arguments are checked, and the task's identity.

    :param in_files: whether it may be beside the output: with a store of Airflow's own, no file need be
        written for what may be refused in a moment.
    """
    from airflow_provider_oxen.tasks.arguments import PlaceArguments
    from airflow_provider_oxen.tasks.places import open_output, record_store

    place = PlaceArguments.of(operator) if in_files else PlaceArguments()
    output = open_output(
        context,
        place.storage_path,
        place.storage_conn_id,
        fingerprint="",
        overwrite=False,
        max_bytes=1,
    )
    output.check()
    return record_store(context, output), output.identity.key
