"""From a job that was accepted to images that are kept: the other half of the protocol.

A generator like :func:`.resolve.resolve`. Whatever stops it, the record says how far it came, and the
next try goes on from there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenExpiredURL,
    OxenGenerationNotFound,
    OxenGenerationTimeout,
    OxenImageError,
    OxenPollError,
    OxenStorageError,
)
from airflow_provider_oxen.jobs.polling import End, is_final
from airflow_provider_oxen.jobs.questions import row_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import NOT_BILLED, stopped
from airflow_provider_oxen.jobs.steps import Cancel, Close, Keep, Step, Wait, Write
from airflow_provider_oxen.jobs.task import Task, comes_back

__all__ = ["complete"]


def complete(
    task: Task, record: Record, *, end: End | None = None, cancel_on_timeout: bool = False
) -> Generator[Step, Any, Any]:
    """Wait for the job, keep its images, and return what keeping gave.

    :param record: submitted, or answered.
    :param end: how the job ended, where somebody else has waited for it.
    :raises OxenError: which says what became of the job, and what a retry will do.
    """
    if record.phase == "submitted":
        record = yield from _answered(task, record, end or (yield Wait(record)), cancel_on_timeout)
    try:
        kept, result = yield from _fetched(task, record)
    except OxenImageError as error:
        gone = isinstance(error, OxenExpiredURL) and record.generation_id is None
        if gone or isinstance(error, OxenBadImage):
            # Nobody can give other bytes: only a task that is cleared on purpose asks anew.
            status = "expired" if gone else "rejected"
            if task.has_home:
                ended = {"status": status, "reason": error.message[:500], "final": True}
                yield Close(record.to("ended", items=[], **ended))
        elif comes_back(task, record) and record.can_be_fetched and _passes(error):
            error.retry_helps = True
            error.message += " The next try fetches it again, and pays nothing."
        raise
    if task.has_home:
        yield Close(kept)
    return result


def _passes(error: OxenImageError) -> bool:
    """Whether what came between the answer and the kept image may be gone by the next try."""
    if isinstance(error, OxenDownloadError):
        return error.passing or isinstance(error, OxenExpiredURL)
    return isinstance(error, OxenStorageError)


def _fetched(task: Task, record: Record) -> Generator[Step, Any, Any]:
    """Keep the images; where a link no longer works, ask once for another."""
    try:
        return (yield Keep(record))
    except OxenExpiredURL:
        if record.generation_id is None:
            raise
    record = yield from _link(task, record)
    return (yield Keep(record))


def _answered(task: Task, record: Record, end: End, cancel_on_timeout: bool) -> Generator[Step, Any, Record]:
    if end.status == "succeeded":
        return (yield from _link(task, record))
    if end.status in ("failed", "cancelled"):
        return (yield from _ended(task, record, end))
    if end.status == "timed_out" and cancel_on_timeout and not record.found:
        return (yield from _cancelled(task, record))
    if end.status == "timed_out":
        raise OxenGenerationTimeout(
            f"{_name(record)} has not ended within the timeout. It goes on, and costs what it costs: the "
            "next try looks whether it has ended by then, and submits nothing.",
            retry_helps=comes_back(task, record),
        )
    if end.status == "unknown":
        error = OxenGenerationNotFound(f"{_name(record)}: {end.message} Nothing more was sent.")
        error.retry_helps = comes_back(task, record) and task.on_unknown_outcome == "resubmit"
        raise error
    raise OxenPollError(
        f"{_name(record)}: how it stands could not be learnt. {end.message} It may go on; the next try asks "
        "again, and submits nothing."
    )


def _link(task: Task, record: Record) -> Generator[Step, Any, Record]:
    """Ask for a link that works now, and remember it."""
    row = yield from row_of(record)
    if row is None or not row.result_url:
        error = OxenDownloadError(
            f"{_name(record)} has ended, and the hub gives no link to its image, which was paid for.",
        )
        error.retry_helps = comes_back(task, record)
        raise error
    created = None if row.completed_at is None else int(row.completed_at)
    answered = record.to(
        "answered",
        items=[{"url": row.result_url}],
        model=row.model or record.model,
        created=created or record.created,
    )
    if task.has_home:
        yield Write(answered)
    return answered


def _ended(task: Task, record: Record, end: End) -> Generator[Step, Any, Record]:
    ended = record.to(
        "ended", status=end.status, reason=end.message[:500] or None, final=is_final(end.message)
    )
    if task.has_home:
        yield Write(ended)
    raise stopped(ended)


def _cancelled(task: Task, record: Record) -> Generator[Step, Any, Record]:
    generation_id = str(record.generation_id)
    if task.has_home:
        yield Write(record.to("cancelling"))
    yield Cancel(generation_id)
    row = yield from row_of(record)
    if row is not None and row.status == "succeeded":
        # It was faster.
        return (yield from _link(task, record))
    cancelled = row is not None and row.status == "cancelled"
    raise OxenGenerationTimeout(
        f"{_name(record)} has not ended within the timeout and "
        + (
            f"was cancelled. {NOT_BILLED} {_next(task)}"
            if cancelled
            else "could not be cancelled. It goes on, and costs what it costs: the next try looks again."
        ),
        retry_helps=comes_back(task, record),
    )


def _next(task: Task) -> str:
    if task.has_home:
        return "The next try submits another."
    return "No record can be kept of that, so the next try stops."


def _name(record: Record) -> str:
    return record.job[0].upper() + record.job[1:]
