"""From an accepted job to kept images: the second half of the protocol.

Like :func:`.resolve.resolve`, it acts only through :class:`.effects.Effects`. Whatever stops it, the record
says how far it came, and the next try continues from there.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenGenerationNotFound,
    OxenGenerationTimeout,
    OxenImageError,
    OxenPollError,
    OxenStorageError,
)
from airflow_provider_oxen.api.redact import redact_unless_echoed
from airflow_provider_oxen.api.values import whole_seconds
from airflow_provider_oxen.jobs.effects import Effects, End
from airflow_provider_oxen.jobs.lookups import row_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import NOT_BILLED, stopped
from airflow_provider_oxen.jobs.task import Task, is_recoverable

__all__ = ["complete"]

_AGAIN = "The next try fetches it again, and pays nothing."


_GO_ON = (
    "If it never ends, clear the task with cancel_on_timeout=True, or cancel it on the hub and clear the "
    "task: both submit another. To wait for another whole timeout, just clear the task."
)
"""The remedy for a generation that does not end; generations that stayed "processing" for weeks have been
seen."""


async def complete(do: Effects, task: Task, record: Record, *, end: End | None = None) -> Any:
    """Wait for the job, keep its images, and return the result.

    :param record: submitted or answered.
    :param end: how the job ended, if other code has waited for it.
    :raises OxenError: saying what happened to the job, and what a retry will do.
    """
    if record.phase == "submitted":
        record = await _answered(do, task, record, end or await do.wait(record))
    elif record.generation_id is not None and not record.items:
        record = await _link(do, task, record)
    try:
        kept, result = await _fetched(do, task, record)
    except OxenImageError as error:
        if isinstance(error, OxenBadImage) and not error.not_yet:
            # The hub has no other bytes: only a task that is cleared on purpose asks for a new image.
            await do.close(record.ended("rejected", error.message, final=True))
        elif not error.not_yet and _passes(error):
            _let_retry(task, record, error)
        raise
    await do.close(kept)
    return result


def _passes(error: OxenImageError) -> bool:
    """Return whether an error after the hub's answer may be gone by the next try."""
    return isinstance(error, OxenStorageError) or (isinstance(error, OxenDownloadError) and error.passing)


async def _fetched(do: Effects, task: Task, record: Record) -> Any:
    """Keep the images; ask again for those that are not there yet, with a fresh link if there is a row."""
    has_row = record.generation_id is not None
    # A link may be old: ask for a fresh one before any waiting.
    pauses = (0.0, *retries.NOT_YET) if has_row else retries.NOT_YET
    came: list[str | None] = [record.unfit]
    for seconds in (*pauses, None):
        try:
            return await do.keep(record)
        except OxenImageError as error:
            if not error.not_yet:
                raise
            failed = error
        if seconds is None:
            break
        if seconds and not await do.linger(seconds, failed):
            return await _put_off(do, task, record, failed)
        came.append(_unfit(failed))
        if has_row:
            record = await _link(do, task, record)
    if isinstance(failed, OxenBadImage) and (has_row or failed.doubted) and _is_all(failed, came):
        if has_row:
            record = await _link(do, task, record)
        try:
            return await do.keep(record, failed.sha256)
        except OxenImageError as error:
            if not error.not_yet:
                raise
            failed = error
    return await _put_off(do, task, record, failed)


def _is_all(error: OxenBadImage, came: list[str | None]) -> bool:
    """Return whether the hub has nothing else to give than these bytes.

    A damaged image stays damaged. A page or an empty body may be replaced by an image, and gets time until
    the next try.

    :param came: what came before; first what an earlier try ended with.
    """
    before = came if error.damaged else came[:1]
    return error.sha256 in before


def _unfit(error: OxenImageError) -> str:
    return getattr(error, "sha256", None) or type(error).__name__


async def _put_off(do: Effects, task: Task, record: Record, error: OxenImageError) -> Any:
    """Leave an image that is not there yet to the next try. Nothing that can still be reached is given up."""
    if record.generation_id is None and task.has_store:
        if record.unfit and task.on_unknown_outcome == "resubmit":
            await do.close(record.ended("expired", error.message, final=False))
            error.retry_helps = True
            error.retry = "The next try pays for another, as on_unknown_outcome='resubmit' says."
            error.advise("It was asked for many times, in two tries.")
            raise error
        error.advise(
            "There is no other link to it. If it never comes, on_unknown_outcome='resubmit' pays for "
            "another, and so does clearing the task with overwrite=True."
        )
    elif record.generation_id is None:
        error.advise("This task has no place for a record, so the link is lost: set storage_path.")
    await do.write(record.to("answered", unfit=_unfit(error)))
    _let_retry(task, record, error)
    raise error


def _let_retry(task: Task, record: Record, error: OxenImageError) -> None:
    """Let Airflow retry if the next try finds the job and its image again."""
    if is_recoverable(task, record) and record.can_be_fetched:
        error.retry_helps, error.retry = True, _AGAIN


async def _answered(do: Effects, task: Task, record: Record, end: End) -> Record:
    if end.status == "succeeded":
        return await _link(do, task, record)
    if end.status in ("failed", "cancelled"):
        ended = record.ended(end.status, end.message, final=end.final)
        await do.write(ended)
        raise stopped(ended)
    if end.status == "timed_out" and task.cancel_on_timeout and record.may_be_cancelled:
        return await _cancelled(do, task, record)
    if end.status == "timed_out":
        raise OxenGenerationTimeout(
            f"{record.subject} has not ended within the timeout and continues. {end.message}".rstrip(),
            retry="The next try checks it again and submits nothing.",
            remedy=_GO_ON,
            retry_helps=is_recoverable(task, record),
        )
    if end.status == "unknown":
        raise OxenGenerationNotFound(
            f"{record.subject}: {end.message}",
            retry_helps=is_recoverable(task, record) and task.on_unknown_outcome == "resubmit",
        )
    raise OxenPollError(
        f"The status of {record.job} could not be read. {end.message} It may continue.",
        retry="The next try asks again, and submits nothing.",
    )


async def _link(do: Effects, task: Task, record: Record) -> Record:
    """Ask for a link that works now, and record it."""
    row = await row_of(do, record)
    if row is None or not row.result_url:
        raise OxenDownloadError(
            f"{record.subject} has ended, but the hub gives no link to its image.",
            retry_helps=is_recoverable(task, record),
        )
    created = whole_seconds(row.completed_at)
    answered = record.to(
        "answered",
        items=[{"url": row.result_url}],
        model=redact_unless_echoed(row.model, record.body.get("model")) or record.model,
        created=created or record.created,
    )
    if answered.as_json() != record.as_json():
        await do.write(answered)
    return answered


async def _cancelled(do: Effects, task: Task, record: Record) -> Record:
    await do.write(record.to("cancelling"))
    await do.cancel(str(record.generation_id))
    row = await row_of(do, record)
    if row is not None and row.status == "succeeded":
        # It succeeded before it could be cancelled.
        return await _link(do, task, record)
    cancelled = row is not None and row.status == "cancelled"
    anew = (
        "The next try submits another."
        if task.has_store
        else "No record can be kept of that, so the next try stops."
    )
    raise OxenGenerationTimeout(
        f"{record.subject} has not ended within the timeout and "
        + ("was cancelled." if cancelled else "could not be cancelled: it continues."),
        money=NOT_BILLED if cancelled else "",
        retry=anew if cancelled else "The next try checks again.",
        retry_helps=is_recoverable(task, record),
    )
