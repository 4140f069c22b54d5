"""Free requests about a job that may have been paid for, and what a missing answer means.

"Not there" counts only if two complete looks do not show the job, the second one ``lookup_grace`` after the
first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, TypeVar

from airflow_provider_oxen.api.errors import OxenError, OxenOutcomeUnknown, OxenPollError, OxenRecordError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import Effects, is_final
from airflow_provider_oxen.jobs.evidence import Matches, is_another, look
from airflow_provider_oxen.jobs.fitting import is_other_job, is_same
from airflow_provider_oxen.jobs.intent import intend, past_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, is_identifiable, try_facts

__all__ = ["Resend", "find_again", "look_again", "look_further", "look_up", "must_answer", "row_of"]

T = TypeVar("T")

_BACK = 1.0
"""Seconds by which rounding may make a clock seem to go back."""

_AHEAD = 8
"""How many derived seeds are looked for if nothing says how many jobs a task has had. Each resubmitted
failure and each replaced image had one."""


class Resend(NamedTuple):
    """A request to send once more: it was not accepted, or the user accepts paying twice.

    :ivar now: unix seconds.
    """

    intent: Record
    now: float


async def must_answer(question: Awaitable[T], record: Record) -> T:
    """Return the answer to a free request about a job that may have been paid for.

    :raises OxenPollError: if there is no answer, so that nobody takes the job for one that cost nothing.
    """
    try:
        return await question
    except OxenError as error:
        raise not_learnt(record, error) from None


def not_learnt(record: Record, error: OxenError) -> OxenPollError:
    """Return the error for a job whose state an earlier error leaves open."""
    return OxenPollError(
        f"The outcome of {record.job} could not be read: {error.cause}",
        remedy=error.remedy,
        retry_helps=error.retry_helps,
        status=error.status,
        retry_after=error.retry_after,
    )


async def row_of(do: Effects, record: Record) -> Generation | None:
    """Request the row of the record's generation.

    :raises OxenRecordError: if the row belongs to another job.
    """
    row = await must_answer(do.row(str(record.generation_id)), record)
    if row is not None and is_another(record.body, row):
        raise OxenRecordError(
            f"The hub's row of generation {record.generation_id} is of the model {row.model!r}, but this "
            f"task asked for {record.body.get('model')!r}: it belongs to somebody else.",
            remedy="Check the account's history; then delete the record and clear the task.",
        )
    return row


async def find_again(do: Effects, task: Task, now: float, kept: Record | None) -> Record | Resend:
    """Look for what earlier tries may have sent without leaving a record.

    :param kept: the job whose image is to be replaced.
    """
    intent = await intend(do, task, 1, kept)
    later: list[Record] = []
    if is_identifiable(intent):
        for ahead in range(1, _AHEAD):
            further = await intend(do, task, 1, kept, ahead=ahead)
            if further.body == intent.body:
                break
            later.append(further)
    # Continue as if an earlier try had died right after sending.
    intent = intent.to("intent", time=task.began or 0.0)
    await do.write(intent)
    since = None if is_identifiable(intent) else task.began
    return await look_up(do, task, intent, now, since, later)


async def look_again(do: Effects, task: Task, record: Record, now: float) -> Record | Resend:
    """Look up an intent that an earlier try has left.

    Whoever may write there may have altered it. So the request is also made again from the arguments, and
    looked for.
    """
    try:
        anew = await _remade(do, task, record)
    except OxenError as error:
        # A job that is found was paid for anyway. A job that is not found must not be sent again.
        return await look_up(do, task, record, now, record.time, refusal=not_learnt(record, error))
    if len(anew) == 1 and is_same(record.body, anew[0].body):
        return await look_up(do, task, record, now, record.time)
    if record.counter is not None and is_other_job(record.body, anew[0].body):
        if task.on_unknown_outcome == "adopt":
            # The user accepts the job in the record, for example because the task's folder was moved.
            return await look_up(do, task, record, now, record.time, anew, refusal=_altered(record))
        return await look_up(do, task, anew[0], now, record.time, refusal=_altered(record))
    return await look_up(do, task, record, now, record.time, anew)


async def _remade(do: Effects, task: Task, record: Record) -> list[Record]:
    """Return what the record may have been before it was altered; its counter says which job it is.

    Earlier versions recorded no counter, and drew the seed at random.
    """
    made: list[Record] = []
    counters = range(_AHEAD) if record.counter is None else [record.counter]
    for counter in counters:
        anew = await do.remake(counter)
        if made and anew.body == made[-1].body:
            break
        made.append(record.to("intent", body=anew.body, unique=anew.unique, counter=counter))
    return made


async def look_up(
    do: Effects,
    task: Task,
    record: Record,
    now: float,
    since: float | None,
    later: Sequence[Record] = (),
    *,
    refusal: OxenError | None = None,
) -> Record | Resend:
    """Look for a request that may have been accepted; send it again only if it provably was not.

    :param since: unix seconds before which it was not sent.
    :param later: what may have been sent instead, after it; of those that are found, the last one counts.
    :param refusal: the error to raise if the job is not found, so that nothing is sent.
    """
    if now < record.time - _BACK:
        # The clock was set back: it cannot prove that a row is too old.
        since = None
    rows = await must_answer(do.rows(record, later), record)
    record, found = _match(record, later, rows, since)
    if (later or not _taken(task, found)) and record.phase == "intent":
        # Wait the whole grace from now on. The request may have been sent long after the intent, behind the
        # waits of a rate limit, and nobody knows when that try died. If several may have been sent, the last
        # one may not be listed yet.
        now = await do.pause(task.lookup_grace)
        rows = await must_answer(do.rows(record, later), record)
        record, found = _match(record, later, rows, since)
    row = certain = _taken(task, found)
    if row is None and task.on_unknown_outcome == "adopt" and len(found.possible) == 1:
        row = found.possible[0]
    if row is not None:
        facts = {"generation_id": row.generation_id, "submitted_at": min(row.enqueued_at or now, now)}
        ours = record.unique and certain is not None
        # Another deployment with the same names derives the same seeds.
        derived = ours and record.counter is not None
        adopted = record.to("submitted", found=not ours, looked_up=derived, **facts, **try_facts(task))
        await do.write(adopted)
        return adopted
    if refusal is not None:
        raise refusal
    # Only the queue must show what it accepted; and a row that may be the job leaves the outcome open.
    absent = record.endpoint == task.endpoint == "queue" and record.phase == "intent" and not found.possible
    if absent:
        # It was never accepted, so it is not counted.
        unbilled = record.to("intent", number=record.order, submissions=max(record.submissions - 1, 0))
        return Resend(unbilled, now)
    if task.on_unknown_outcome == "resubmit":
        return Resend(record, now)
    raise _cannot_tell(record, found)


def _match(
    record: Record, later: Sequence[Record], rows: list[Generation], since: float | None
) -> tuple[Record, Matches]:
    """Return the last of several requests that has matching rows, and those rows."""
    matches = [
        (asked, look(asked.body, rows, since, past=asked.past, unique=asked.unique))
        for asked in [*reversed(later), record]
    ]
    certain = [match for match in matches if match[1].certain]
    possible = [match for match in matches if match[1].possible]
    return next(iter([*certain, *possible]), (record, Matches([], [])))


def _taken(task: Task, found: Matches) -> Generation | None:
    """Return the row to continue with."""
    row = found.best
    passing = row is not None and not is_final(row.error_message, row.error_retryable)
    if row is not None and row.status == "failed" and not task.has_store and passing:
        # An earlier try has already reported this failure, and left no record of it.
        return None
    return row


async def look_further(do: Effects, task: Task, record: Record, now: float) -> Record | Resend:
    """Look further after a found generation has failed: it may have been somebody else's."""
    sought = record.to("intent", generation_id=None, found=False, past=past_of(record))
    return await look_again(do, task, sought, now)


def _altered(record: Record) -> OxenRecordError:
    return OxenRecordError(
        f"The record of this task's paid job ({record.phase}) has another seed or directory than the one "
        "derived for it, and the hub's lists do not show that one: somebody changed the record or moved "
        "its folder.",
        money="This try sent nothing; an image may have been paid for before.",
        remedy="Check the account's history. To continue, set on_unknown_outcome='adopt' (take the "
        "generation in the record), or delete the record, and clear the task.",
    )


def _cannot_tell(record: Record, found: Matches) -> OxenOutcomeUnknown:
    if found.possible:
        why = f"{len(found.possible)} generation(s) of the hub's lists could be it, or another task's"
    else:
        why = "the hub's lists do not show it, but they leave out requests that did not use the queue"
    if record.phase != "intent":
        return OxenOutcomeUnknown(
            "The image came with the answer and was not kept. The hub gives no link to it.",
            money=f"This task has paid for {record.job}.",
            remedy="To pay for another, set overwrite=True or on_unknown_outcome='resubmit', and clear the "
            "task.",
        )
    lost = record.reason or (
        f"An earlier request of this task ({record.job}) may have been sent, and its answer was lost"
    )
    return OxenOutcomeUnknown(
        f"{lost.rstrip('.')}; {why}.",
        remedy="Check the account's history. To continue, set on_unknown_outcome to 'resubmit' (send it "
        "again, perhaps pay twice) or to 'adopt' (take the one generation that matches), and clear the task.",
    )
