"""Before spending: is there a job of this task already, and what is to be done about it?

The first half of the protocol, as a generator. It yields :mod:`.steps` (read the record, send the
request, list the queue…), whoever drives it carries them out and sends back what came of them, and it
returns the record of a job that was accepted; :mod:`.complete` is the other half. So every order of
events, and a death between any two steps, can be played through with plain values.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenChangedRequest,
    OxenGenerationCancelled,
    OxenGenerationError,
    OxenGenerationFailed,
    OxenGenerationNotFound,
)
from airflow_provider_oxen.jobs.questions import row_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.steps import Pause, Step
from airflow_provider_oxen.jobs.submit import Overtaken, first, intend, look_up, seek, submit
from airflow_provider_oxen.jobs.task import Task, changed, names_itself

__all__ = ["NOT_BILLED", "refused_change", "resolve", "stopped"]

NOT_BILLED = "Whether the hub bills a generation that gave no image is not documented."


def resolve(task: Task, record: Record | None, now: float) -> Generator[Step, Any, Record]:
    """Find this task's job or submit one; return its record, submitted, answered or kept.

    :param record: as it was just read; None where there is none.
    :param now: unix seconds.
    :raises OxenError: which says whether money was spent, and what a retry will do.
    """
    try:
        return (yield from _resolve(task, record, now))
    except Overtaken as other:
        return (yield from _resolve(task, other.record, now))


def _resolve(task: Task, record: Record | None, now: float) -> Generator[Step, Any, Record]:
    if record is None:
        if task.has_home or task.try_number == 1:
            return (yield from first(task, now))
        # Earlier tries have left no trace: as if the last had died right after sending.
        intent = yield from intend(task, 1, [])
        return (yield from look_up(task, intent, now, None if names_itself(intent) else task.began))
    if record.phase == "ended" and record.found and not changed(task, record):
        return (yield from seek(task, record, now))
    if record.phase == "ended" and (changed(task, record) or record.clearing < task.clearing):
        # Nothing is running, nothing was kept, and somebody has changed the request or cleared the task.
        return (yield from submit(task, now, replaced=record))
    if record.phase == "kept" and task.overwrite and record.clearing < task.clearing:
        return (yield from submit(task, now, replaced=record))
    if error := refused_change(task, record):
        raise error
    if changed(task, record):
        return (yield from submit(task, now, replaced=record))
    if record.phase == "intent":
        return (yield from look_up(task, record, now, record.time))
    if record.phase == "ended":
        if record.final or record.status == "cancelled":
            raise stopped(record)
        return (yield from submit(task, now, replaced=record))
    if record.phase in ("submitted", "cancelling"):
        return (yield from _attach(task, record, now))
    if not record.can_be_fetched:
        # The images came with the answer itself, and are not where they were kept, or never were.
        return (yield from look_up(task, record, now, record.time))
    return record.to(record.phase, clearing=task.clearing)


def stopped(record: Record) -> OxenGenerationError:
    """Return the error of a job that gave no image."""
    why = record.reason or "the hub gave no reason"
    job = record.job[0].upper() + record.job[1:]
    if record.status == "cancelled":
        return OxenGenerationCancelled(
            f"{job} was cancelled ({why}). {NOT_BILLED} Clear the task to ask anew."
        )
    coming = "Another one would fail in the same way." if record.final else "The next try submits another."
    return OxenGenerationFailed(f"{job} failed: {why}. {NOT_BILLED} {coming}", retry_helps=not record.final)


def _attach(task: Task, record: Record, now: float) -> Generator[Step, Any, Record]:
    """Go on with a job that was accepted, or find out that it is no more."""
    row = yield from row_of(record)
    left = (record.submitted_at or record.time) + task.lookup_grace - now
    if row is None and left > 0:
        # What was just accepted may not be told yet.
        now = yield Pause(min(task.lookup_grace, left))
        row = yield from row_of(record)
    if row is None:
        if task.on_unknown_outcome == "resubmit":
            return (yield from submit(task, now, again=record))
        raise OxenGenerationNotFound(
            f"The hub does not know {record.job} any more, which it once accepted: one image may have been "
            "paid for. Nothing more was sent. Look at the account's history; on_unknown_outcome='resubmit' "
            "would pay for another."
        )
    stopped_by_us = record.phase == "cancelling" and row.status == "cancelled"
    if row.status in ("failed", "cancelled") and (stopped_by_us or record.clearing < task.clearing):
        # We stopped it ourselves, or somebody has cleared the task since: anew, on purpose.
        if record.found:
            return (yield from seek(task, record, now))
        return (yield from submit(task, now, replaced=record))
    return record.to("submitted", clearing=task.clearing)


def refused_change(task: Task, record: Record) -> OxenChangedRequest | None:
    """Return why a job that has not ended is not given up for another request; None where it may be."""
    differs = changed(task, record)
    if not differs or task.on_changed_request == "submit":
        return None
    return OxenChangedRequest(
        f"This task already has {record.job} ({record.phase}, fingerprint {record.fingerprint[:12]}), and "
        f"its {' and '.join(differs)} changed since. Nothing was sent by this try. "
        "on_changed_request='submit' gives that job up and pays for another"
        + (", overwrite=True replaces what is kept." if record.phase == "kept" else ".")
    )
