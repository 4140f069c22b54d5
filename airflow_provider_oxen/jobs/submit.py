"""Send a paid request once.

The order matters: write the intent, where possible so that nobody else can write the same one; read it back
right before the first byte and find it unchanged; only then send the request; and record the answer before
anything else is done with it.
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
from airflow_provider_oxen.jobs.intent import check_budget, intend, repeat
from airflow_provider_oxen.jobs.lookups import Resend, look_up
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, cleared, is_recoverable

__all__ = ["continue_or_resend", "first", "submit"]


async def first(do: Effects, task: Task, now: float) -> Record:
    """Submit if nothing was submitted before."""
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


async def continue_or_resend(do: Effects, task: Task, found: Record | Resend) -> Record:
    """Continue with the job that was looked for; if it was not accepted, send its request again."""
    return found if isinstance(found, Record) else await submit(do, task, found.now, again=found.intent)


async def submit(
    do: Effects, task: Task, now: float, *, again: Record | None = None, replaced: Record | None = None
) -> Record:
    """Write the intent, make sure that it is there and ours, and send.

    :param again: the intent whose request is to be sent once more.
    :param replaced: the record that a new one replaces.
    """
    old = again or replaced
    counts = old is not None and old.phase != "kept" and not cleared(task, old)
    sent = old.submissions if old and counts else 0
    # What is sent again is made from the arguments, too, and its price from the catalogue: a record is
    # untrusted.
    intent = await intend(do, task, sent + 1, old, same=again is not None)
    intent, answer = await _send(do, task, intent, sent)
    return await _learnt(do, task, intent, answer, repeated=again is not None)


async def _learnt(
    do: Effects, task: Task, intent: Record, answer: Accepted | OxenOutcomeUnknown, *, repeated: bool
) -> Record:
    """Record what the hub has accepted; if the outcome is not known, look it up."""
    if isinstance(answer, Accepted):
        facts = answer._asdict() | {"items": list(answer.items), "submitted_at": intent.time}
        record = intent.to("answered" if answer.items else "submitted", **facts)
        await do.write(record)
        return record
    if repeated:
        # This is the second time in a row: a later look may show more.
        answer.retry_helps = is_recoverable(task, intent)
        raise answer
    if answer.unread:
        intent = intent.to("intent", reason=answer.message)
    try:
        return await continue_or_resend(do, task, await look_up(do, task, intent, intent.time, intent.time))
    except OxenError as refused:
        if refused.spent != "no":
            raise
        overtaken = isinstance(refused, OxenOvertaken)
        raise OxenOutcomeUnknown(
            refused.message,
            # The error is about the second request; the first may still have been accepted.
            money="An earlier request of this try, whose answer was lost, may have been paid for.",
            retry_helps=refused.retry_helps and (overtaken or is_recoverable(task, intent)),
            retry_after=refused.retry_after,
        ) from None


async def _send(
    do: Effects, task: Task, intent: Record, sent: int
) -> tuple[Record, Accepted | OxenOutcomeUnknown]:
    """Send; if the request is refused for now, send it again, each time with an intent of its own.

    While it waits, the record says that nothing was sent. So a try that starts meanwhile need not look, and
    one that wakes up late sees what others have written.

    :param sent: how many earlier requests may have been billed.
    :return: the intent whose request was sent, and what the hub accepted, or why that is not known.
    """
    attempt = 0
    while True:
        check_budget(task, intent)
        await _write_down(do, intent, sent)
        try:
            return intent, await do.send(intent)
        except OxenOutcomeUnknown as error:
            return intent, error
        except OxenRefused as error:
            await _take_back(do, intent, sent)
            if attempt >= task.max_retries or not may_repeat(error):
                raise
            try:
                now = await do.pause(backoff(attempt, error.retry_after))
            except OxenPollError:
                # The task was told to stop meanwhile.
                raise error from None
        attempt += 1
        intent = repeat(task, intent, now, after=intent.order, sent=sent)


async def _write_down(do: Effects, intent: Record, sent: int) -> None:
    """Write the intent where others find it; without it nothing is sent."""
    try:
        await do.write(intent)
    except OxenRefused:
        # One of the two places may have it, or the only one may have it despite the error.
        await _take_back(do, intent, sent)
        raise


async def _take_back(do: Effects, intent: Record, sent: int) -> None:
    """Record for an intent whose request was not accepted that nothing was sent."""
    await do.write(intent.to("not_sent", submissions=sent))
