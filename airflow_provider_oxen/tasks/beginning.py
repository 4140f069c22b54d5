"""The first thing that a task records: that it has begun, and has sent nothing.

A later try without any record must assume that one was lost. If the first try failed before it knew its
request (a function that raised, a wrong argument), a later try finds this record: in Airflow's store, or
beside the output. Newer Airflow empties the store of a cleared task, so a try that fails this early leaves
the record in both.
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
    """Write the record of a first try that has sent nothing, if there is none.

    Raises nothing: if the place cannot be written to, the task is about to find out, and to report it.

    :param operator: with its arguments rendered, but not yet read.
    """
    _write(operator, context, in_files=_has_no_store(context))


@contextmanager
def begun(operator: Any, context: Context, *, sends: bool = True) -> Iterator[None]:
    """If a first try fails without having sent anything, leave the record beside the output, too.

    A try that succeeds has a record of its own there, or needs none.

    :param sends: whether something may be sent inside; then the store must confirm that nothing was.
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
    from airflow_provider_oxen.jobs.intent import nothing_sent
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
        # Write the same record in both places: two records with one number would be two jobs.
        there = store.read() if in_files and not _has_no_store(context) else None
        store.create(there or nothing_sent(task, time.time()))
    except Exception as error:
        operator.log.debug("The start of the task could not be recorded: %s", type(error).__name__)


def has_sent_nothing(operator: Any, context: Context) -> bool:
    """Return whether the record of :func:`begin` is there, without a job of one image after it."""
    if getattr(operator, "sent_nothing", False):
        return True
    return any(_says_so(operator, context, in_files=in_files) for in_files in (False, True))


def _says_so(operator: Any, context: Context, *, in_files: bool) -> bool:
    try:
        record = _open(operator, context, in_files=in_files)[0].read()
    except Exception:
        # A store that cannot be read proves nothing.
        return False
    return record is not None and record.phase == "not_sent" and not record.fingerprint


def forget(operator: Any, context: Context) -> None:
    """Remove the file of :func:`begin` beside the output of a batch, which has other records there.

    Its content is remembered in the operator, for :func:`has_sent_nothing`.
    """
    operator.sent_nothing = has_sent_nothing(operator, context)
    if not operator.sent_nothing:
        return
    with suppress(Exception):
        store = _open(operator, context, in_files=True)[0]
        # The record in Airflow's store may stay.
        store = getattr(store, "file", store)
        record = store.read()
        if record is not None:
            store.close(record.to("kept"))


def _has_no_store(context: Context) -> bool:
    return context.get("task_state_store") is None


def _open(operator: Any, context: Context, *, in_files: bool) -> tuple[RecordStore, str]:
    """Return the record store that can be opened before the arguments are checked, and the identity.

    :param in_files: whether it may be beside the output. With a store of Airflow's own, no file is needed for
        a request that may be refused in a moment.
    """
    from airflow_provider_oxen.tasks.arguments import PlaceArguments
    from airflow_provider_oxen.tasks.places import open_output, record_store

    place = PlaceArguments.of(operator) if in_files else PlaceArguments()
    output = open_output(context, place.storage_path, place.storage_conn_id)
    output.check()
    return record_store(context, output), output.identity.key
