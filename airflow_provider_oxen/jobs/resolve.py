"""Before spending: find out whether this task already has a job, and what to do about it.

The first half of the protocol; :mod:`.complete` is the other. It acts only through :class:`.effects.Effects`,
so that tests can play every order of events, and a death between any two of them, with plain values.
"""

from __future__ import annotations

from airflow_provider_oxen.api.errors import (
    OxenChangedRequest,
    OxenGenerationCancelled,
    OxenGenerationError,
    OxenGenerationFailed,
    OxenGenerationNotFound,
    OxenRecordError,
)
from airflow_provider_oxen.jobs.effects import Effects, is_about_credits
from airflow_provider_oxen.jobs.fitting import misfits
from airflow_provider_oxen.jobs.lookups import find_again, look_again, look_further, look_up, row_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.submit import continue_or_resend, first, submit
from airflow_provider_oxen.jobs.task import Task, changed, cleared, try_facts

__all__ = ["NOT_BILLED", "refused_change", "refused_oddity", "resolve", "stopped"]

NOT_BILLED = "Whether the hub bills a generation that gave no image is not documented."


async def resolve(
    do: Effects, task: Task, record: Record | None, now: float, kept: Record | None = None
) -> Record:
    """Find this task's job or submit one; return its record: submitted, answered or kept.

    :param record: the record as it was just read; None if there is none.
    :param now: unix seconds.
    :param kept: the job whose image is to be replaced, if no record has it.
    :raises OxenError: saying whether money was spent, and what a retry will do.
    """
    if record is None:
        if not task.unsure:
            return await first(do, task, now)
        return await continue_or_resend(do, task, await find_again(do, task, now, kept))
    if odd := refused_oddity(task, record):
        raise odd
    if record.phase == "not_sent":
        return await submit(do, task, now, replaced=record)
    if record.phase == "ended" and record.found and not changed(task, record):
        return await continue_or_resend(do, task, await look_further(do, task, record, now))
    if record.phase == "ended" and (changed(task, record) or cleared(task, record)):
        # Nothing is running and nothing was kept, and the request was changed or the task cleared.
        return await submit(do, task, now, replaced=record)
    if (record.phase == "kept" or record.is_in_vain) and task.overwrite and cleared(task, record):
        return await submit(do, task, now, replaced=record)
    if error := refused_change(task, record):
        raise error
    if changed(task, record):
        return await submit(do, task, now, replaced=record)
    if record.phase == "intent":
        return await continue_or_resend(do, task, await look_again(do, task, record, now))
    if record.phase == "ended":
        if record.final or record.status == "cancelled":
            raise stopped(record)
        return await submit(do, task, now, replaced=record)
    if record.phase in ("submitted", "cancelling"):
        return await _attach(do, task, record, now)
    if not record.can_be_fetched:
        # The images came with the answer itself, and are not in their place, or never were.
        return await continue_or_resend(do, task, await look_up(do, task, record, now, record.time))
    return record.to(record.phase, **try_facts(task))


def stopped(record: Record) -> OxenGenerationError:
    """Return the error for a job that gave no image."""
    why = record.reason or "the hub gave no reason"
    if record.status == "cancelled":
        return OxenGenerationCancelled(
            f"{record.subject} was cancelled ({why}).",
            money=NOT_BILLED,
            remedy="Clear the task to submit another.",
        )
    return OxenGenerationFailed(
        f"{record.subject} failed: {why}.",
        money=NOT_BILLED,
        retry="" if record.final else "The next try submits another.",
        remedy="Another one would fail in the same way." if record.final else "",
        retry_helps=not record.final,
        type="insufficient_credits" if is_about_credits(record.reason) else None,
    )


async def _attach(do: Effects, task: Task, record: Record, now: float) -> Record:
    """Continue with an accepted job, or find out that it no longer exists."""
    row = await row_of(do, record)
    left = (record.submitted_at or record.time) + task.lookup_grace - now
    if row is None and left > 0:
        # The hub may not show yet what it has just accepted.
        now = await do.pause(min(task.lookup_grace, left))
        row = await row_of(do, record)
    if row is None:
        if task.on_unknown_outcome == "resubmit":
            return await submit(do, task, now, again=record)
        raise OxenGenerationNotFound(
            f"The hub no longer knows {record.job}, which it accepted before.",
            remedy="Check the account's history; on_unknown_outcome='resubmit' would pay for another.",
        )
    stopped_by_us = record.phase == "cancelling" and row.status == "cancelled"
    if row.status in ("failed", "cancelled") and (stopped_by_us or cleared(task, record)):
        # This task cancelled it, or somebody has cleared the task since: submit another on purpose.
        if record.found:
            return await continue_or_resend(do, task, await look_further(do, task, record, now))
        return await submit(do, task, now, replaced=record)
    if not cleared(task, record):
        return record.to("submitted", **try_facts(task))
    # A task that timed out and was then cleared should wait again.
    waiting = record.to("submitted", waits_from=now, **try_facts(task))
    await do.write(waiting)
    return waiting


def refused_oddity(task: Task, record: Record) -> OxenRecordError | None:
    """Return why a record is not trusted, or None if it is."""
    if task.asked is None or record.phase == "not_sent" or record.fingerprint != task.fingerprint:
        return None
    odd = misfits(task.asked, record.body, task.identity)
    if not odd:
        return None
    return OxenRecordError(
        f"The record of this task's paid job ({record.phase}) does not match its own fingerprint "
        f"({', '.join(odd)}): somebody changed it.",
        money="This try sent nothing; an image may have been paid for before.",
        remedy="Check the account's history; then delete the record and clear the task.",
    )


def refused_change(task: Task, record: Record) -> OxenChangedRequest | None:
    """Return why an unfinished job is not given up for another request, or None if it may be."""
    differs = changed(task, record)
    if not differs or task.on_changed_request == "submit":
        return None
    return OxenChangedRequest(
        f"This task already has {record.job} ({record.phase}, fingerprint {record.fingerprint[:12]}), and "
        f"its {' and '.join(differs)} changed since.",
        remedy="on_changed_request='submit' gives that job up and pays for another"
        + (", overwrite=True replaces what is kept." if record.phase == "kept" else "."),
    )
