"""Sending a paid request once.

The steps that others must not see half done come in this order: the intent is written, where it can be so
that nobody else can write the same one; it is read back and found to be ours, last before the first byte;
only then is the request sent; and what was answered is written before anything else is done with it.
"""

from __future__ import annotations

from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenOutcomeUnknown,
    OxenOvertaken,
    OxenPollError,
    OxenRefused,
)
from airflow_provider_oxen.api.retries import backoff, may_repeat
from airflow_provider_oxen.jobs.effects import Accepted, Effects
from airflow_provider_oxen.jobs.intent import afford, anew, intend
from airflow_provider_oxen.jobs.lookups import Again, look_up
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, cleared, is_recoverable

__all__ = ["first", "once_more", "submit"]


async def first(do: Effects, task: Task, now: float) -> Record:
    """Submit where nothing was submitted before."""
    try:
        return await submit(do, task, now)
    except OxenError as error:
        if error.spent == "no" and error.retry_helps and not task.has_store and task.endpoint == "generate":
            error.retry_helps = False
            error.advise(
                "No record can be kept of this task, so a retry could not tell that nothing was sent: set "
                "storage_path, or use_queue=True."
            )
        raise


async def once_more(do: Effects, task: Task, found: Record | Again) -> Record:
    """Go on with the job that was looked for; where it is none, send its request again."""
    return found if isinstance(found, Record) else await submit(do, task, found.now, again=found.intent)


async def submit(
    do: Effects, task: Task, now: float, *, again: Record | None = None, replaced: Record | None = None
) -> Record:
    """Write the intent, make sure that it is there and ours, and send.

    :param again: the intent whose request is to be sent once more.
    :param replaced: the record that a new one takes the place of.
    """
    old = again or replaced
    counts = old is not None and old.phase != "kept" and not cleared(task, old)
    sent = old.submissions if old and counts else 0
    if again:
        # Made of the arguments, and its price of the catalogue: a record is a stranger's word.
        intent = await intend(do, task, sent + 1, again, same=True)
    else:
        intent = await intend(do, task, sent + 1, replaced)
    intent, answer = await _send(do, task, intent, sent)
    return await _learnt(do, task, intent, answer, repeated=again is not None)


async def _learnt(
    do: Effects, task: Task, intent: Record, answer: Accepted | OxenOutcomeUnknown, *, repeated: bool
) -> Record:
    """Go on with what was accepted; where that is not known, look whether it was."""
    if isinstance(answer, Accepted):
        return await _took(do, task, intent, answer)
    if repeated:
        # For the second time in a row: a later look may tell more.
        answer.retry_helps = is_recoverable(task, intent)
        raise answer
    if answer.unread:
        intent = intent.to("intent", reason=answer.message)
    try:
        return await once_more(do, task, await look_up(do, task, intent, intent.time, intent.time))
    except OxenError as refused:
        if refused.spent != "no":
            raise
        overtaken = isinstance(refused, OxenOvertaken)
        raise OxenOutcomeUnknown(
            refused.message,
            # It speaks of the second request; the first may have been accepted all the same.
            money="An earlier request of this try, whose answer was lost, may have been paid for.",
            retry_helps=refused.retry_helps and (overtaken or is_recoverable(task, intent)),
            retry_after=refused.retry_after,
        ) from None


async def _send(
    do: Effects, task: Task, intent: Record, sent: int
) -> tuple[Record, Accepted | OxenOutcomeUnknown]:
    """Send, and where the request is refused for now send it again, each time with an intent of its own.

    While it waits, the record says that nothing was sent: whoever comes meanwhile need not ask, and who wakes
    up late finds what others have written.

    :param sent: how many requests before it may have been billed.
    :return: the intent whose request went out, and what the hub accepted, or why that is not known.
    """
    attempt = 0
    while True:
        afford(task, intent)
        await _write_down(do, task, intent, sent)
        try:
            return intent, await do.send(intent)
        except OxenOutcomeUnknown as error:
            return intent, error
        except OxenRefused as error:
            await _take_back(do, task, intent, sent)
            if attempt >= task.max_retries or not may_repeat(error):
                raise
            try:
                now = await do.pause(backoff(attempt, error.retry_after))
            except OxenPollError:
                # Told to stop meanwhile.
                raise error from None
        attempt += 1
        intent = anew(task, intent, now, after=intent.order, sent=sent)


async def _write_down(do: Effects, task: Task, intent: Record, sent: int) -> None:
    """Have the intent where others find it; without it nothing is sent."""
    if not task.has_store:
        return
    try:
        await do.write(intent)
    except OxenRefused:
        # One of two places may have it, or the only one all the same.
        await _take_back(do, task, intent, sent)
        raise


async def _take_back(do: Effects, task: Task, intent: Record, sent: int) -> None:
    """Say of an intent whose request was not accepted that nothing was sent."""
    if task.has_store:
        await do.write(intent.to("not_sent", submissions=sent))


async def _took(do: Effects, task: Task, intent: Record, accepted: Accepted) -> Record:
    """Remember what the hub has accepted."""
    facts = accepted._asdict() | {"items": list(accepted.items), "submitted_at": intent.time}
    record = intent.to("answered" if accepted.items else "submitted", **facts)
    if task.has_store:
        await do.write(record)
    return record
