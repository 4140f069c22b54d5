"""Free questions about a job that may have been paid for, and what it means when there is no answer.

"Not there" counts only where two whole looks do not show it, the second one a grace after the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, TypeVar

from airflow_provider_oxen.api.errors import OxenError, OxenOutcomeUnknown, OxenPollError, OxenRecordError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import Effects
from airflow_provider_oxen.jobs.ending import is_final
from airflow_provider_oxen.jobs.evidence import Matches, is_another, look
from airflow_provider_oxen.jobs.fitting import is_other_job, is_same
from airflow_provider_oxen.jobs.intent import intend, past_of
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, is_identifiable, marks

__all__ = ["Again", "find_again", "look_again", "look_up", "must_answer", "row_of", "seek"]

T = TypeVar("T")

_BACK = 1.0
"""Seconds that a clock may seem to have gone back by rounding."""

_AHEAD = 8
"""Derived seeds that are looked for where nothing tells how many jobs a task has had: each failure that was
submitted anew, and each image that was replaced, has had one."""


class Again(NamedTuple):
    """A request that was not accepted, or that the user wants to pay for twice: it is to be sent once more.

    :ivar now: unix seconds.
    """

    intent: Record
    now: float


async def must_answer(question: Awaitable[T], record: Record) -> T:
    """Return the answer to a free question about a job that may have been paid for.

    :raises OxenPollError: where there is none, so that nobody takes the job for one that cost nothing.
    """
    try:
        return await question
    except OxenError as error:
        raise not_learnt(record, error) from None


def not_learnt(record: Record, error: OxenError) -> OxenPollError:
    """Return the error of a job of which an error leaves it open what became of it."""
    return OxenPollError(
        f"The outcome of {record.job} could not be read: {error.cause}",
        remedy=error.remedy,
        retry_helps=error.retry_helps,
        status=error.status,
        retry_after=error.retry_after,
    )


async def row_of(do: Effects, record: Record) -> Generation | None:
    """Ask for the row of the record's generation.

    :raises OxenRecordError: where it is another job's.
    """
    row = await must_answer(do.row(str(record.generation_id)), record)
    if row is not None and is_another(record.body, row):
        raise OxenRecordError(
            f"The hub's row of generation {record.generation_id} is of the model {row.model!r}, but this "
            f"task asked for {record.body.get('model')!r}: it belongs to somebody else.",
            remedy="Check the account's history; then delete the record and clear the task.",
        )
    return row


async def find_again(do: Effects, task: Task, now: float, kept: Record | None) -> Record | Again:
    """Look for what earlier tries may have sent and left no record of.

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
    # As if an earlier try had died right after sending.
    intent = intent.to("intent", time=task.began or 0.0)
    if task.has_store:
        await do.write(intent)
    since = None if is_identifiable(intent) else task.began
    return await look_up(do, task, intent, now, since, later)


async def look_again(do: Effects, task: Task, record: Record, now: float) -> Record | Again:
    """Look up an intent that an earlier try has left.

    Whoever may write there may have altered it, so that nothing is found by what it tells: what was sent is
    made of the arguments anew, and looked for, too.
    """
    try:
        anew = await _remade(do, task, record)
    except OxenError as error:
        # What is found was paid for all the same. What is not found must not be sent again.
        return await look_up(do, task, record, now, record.time, refusal=not_learnt(record, error))
    if len(anew) == 1 and is_same(record.body, anew[0].body):
        return await look_up(do, task, record, now, record.time)
    if record.counter is not None and is_other_job(record.body, anew[0].body):
        if task.on_unknown_outcome == "adopt":
            # The user takes what the record tells of, such as where the task's folder was moved.
            return await look_up(do, task, record, now, record.time, anew, refusal=_altered(record))
        return await look_up(do, task, anew[0], now, record.time, refusal=_altered(record))
    return await look_up(do, task, record, now, record.time, anew)


async def _remade(do: Effects, task: Task, record: Record) -> list[Record]:
    """Return what the record may have been before somebody altered it; it tells which job of the task it is.

    Earlier versions did not tell that, and drew the seed at random.
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
) -> Record | Again:
    """Look for a request that may have been accepted; only where it provably was not, it is sent again.

    :param since: unix seconds before which it was not sent.
    :param later: what may have been sent instead, after it: of those that are found, the last one counts.
    :param refusal: why nothing is sent, whatever is not found.
    """
    if now < record.time - _BACK:
        # The clock was set back: it does not prove that a row is too old.
        since = None
    rows = await must_answer(do.rows(record, later), record)
    record, found = _match(record, later, rows, since)
    if (later or not _taken(task, found)) and record.phase == "intent":
        # The whole grace from now on: the request may have gone out long after the intent, behind waits that
        # a rate limit asked for, and nobody can tell when the try that sent it died. Where several may have
        # been sent, the last one may be the one that is not listed yet.
        now = await do.pause(task.lookup_grace)
        rows = await must_answer(do.rows(record, later), record)
        record, found = _match(record, later, rows, since)
    row = certain = _taken(task, found)
    if row is None and task.on_unknown_outcome == "adopt" and len(found.possible) == 1:
        row = found.possible[0]
    if row is not None:
        facts = {"generation_id": row.generation_id, "submitted_at": min(row.enqueued_at or now, now)}
        ours = record.unique and certain is not None
        # Another deployment, with the same names, derives the same seeds.
        derived = ours and record.counter is not None
        adopted = record.to("submitted", found=not ours, looked_up=derived, **facts, **marks(task))
        if task.has_store:
            await do.write(adopted)
        return adopted
    if refusal is not None:
        raise refusal
    # Only the queue must show what it took; and a row that could be the job leaves it open.
    absent = record.endpoint == task.endpoint == "queue" and record.phase == "intent" and not found.possible
    if absent:
        # It was never accepted, and so is not to be counted.
        unbilled = record.to("intent", number=record.order, submissions=max(record.submissions - 1, 0))
        return Again(unbilled, now)
    if task.on_unknown_outcome == "resubmit":
        return Again(record, now)
    raise _cannot_tell(record, found)


def _match(
    record: Record, later: Sequence[Record], rows: list[Generation], since: float | None
) -> tuple[Record, Matches]:
    """Return the last of several requests that has a row which is it, or may be, and those rows."""
    matches = [
        (asked, look(asked.body, rows, since, **_known(asked))) for asked in [*reversed(later), record]
    ]
    certain = [match for match in matches if match[1].certain]
    possible = [match for match in matches if match[1].possible]
    return next(iter([*certain, *possible]), (record, Matches([], [])))


def _taken(task: Task, found: Matches) -> Generation | None:
    """Return the row to go on with."""
    row = found.best
    passing = row is not None and not is_final(row.error_message, row.error_retryable)
    if row is not None and row.status == "failed" and not task.has_store and passing:
        # An earlier try has told of it already, and left no record of that.
        return None
    return row


async def seek(do: Effects, task: Task, record: Record, now: float) -> Record | Again:
    """Look on for a request whose found generation ended badly: it may have been somebody else's."""
    sought = record.to("intent", generation_id=None, found=False, past=past_of(record))
    return await look_again(do, task, sought, now)


def _known(record: Record) -> dict[str, Any]:
    return {"past": record.past, "unique": record.unique}


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
