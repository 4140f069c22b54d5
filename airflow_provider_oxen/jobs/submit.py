"""Sending a paid request once, and finding it again where its answer was lost.

The steps that others must not see half done come in this order: the intent is written, read back
and found to be ours; only then is the request sent; and what was answered is written before anything
else is done with it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenBudgetError,
    OxenError,
    OxenOutcomeUnknown,
    OxenRecordError,
    OxenRefused,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import Found, look
from airflow_provider_oxen.jobs.polling import is_final
from airflow_provider_oxen.jobs.questions import ask
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.steps import (
    Accepted,
    Create,
    Delete,
    Look,
    Pause,
    Prepare,
    Prepared,
    Read,
    Send,
    Step,
    Write,
)
from airflow_provider_oxen.jobs.task import Task, comes_back

__all__ = ["Overtaken", "first", "intend", "look_up", "seek", "submit"]

_BACK = 1.0
"""Seconds that a clock may seem to have gone back by rounding."""


class Overtaken(Exception):
    """A record that was not there before is there now, and decides.

    :param record: that record.
    """

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record


def first(task: Task, now: float) -> Generator[Step, Any, Record]:
    """Submit where nothing was submitted before."""
    try:
        return (yield from submit(task, now))
    except OxenError as error:
        if error.spent == "no" and error.retry_helps and not task.has_home and task.endpoint == "generate":
            error.retry_helps = False
            error.message += (
                " No record can be kept of this task, so a retry could not tell that nothing was sent: set "
                "storage_path, or use_queue=True."
            )
        raise


def submit(
    task: Task, now: float, *, again: Record | None = None, replaced: Record | None = None
) -> Generator[Step, Any, Record]:
    """Write the intent, make sure that it is there and ours, and send.

    :param again: the intent whose request is to be sent once more, as it is.
    :param replaced: the record that a new one takes the place of.
    :raises Overtaken: where another record was there first.
    """
    old = again or replaced
    counts = old is not None and old.phase != "kept" and old.clearing == task.clearing
    sent = old.submissions if old and counts else 0
    if again:
        intent = again.to(
            "intent",
            nonce=task.nonce,
            time=now,
            submissions=sent + 1,
            clearing=task.clearing,
            generation_id=None,
            found=False,
            items=[],
            past=_past(again),
        )
    else:
        intent = yield from intend(task, sent + 1, _past(replaced) if replaced else [])
        if replaced and replaced.phase != "kept":
            # What it wrote and did not finish is this task's to write over.
            intent = intent.to("intent", files=replaced.files)
    _afford(task, intent)
    if task.has_home:
        found = yield from _write_down(intent, over=old is not None)
        if found is not None:
            raise Overtaken(found)
    try:
        accepted: Accepted = yield Send(intent)
    except OxenRefused:
        if task.has_home:
            # What was sent before it still counts.
            refused = intent.to("ended", status="refused", reason="it was not accepted", submissions=sent)
            yield Write(refused) if sent or intent.past else Delete()
        raise
    except OxenOutcomeUnknown as error:
        if again:
            # For the second time in a row: a later look may tell more.
            error.retry_helps = comes_back(task, intent)
            raise
    else:
        return (yield from _took(task, intent, accepted))
    try:
        return (yield from look_up(task, intent, intent.time, intent.time))
    except OxenRefused as error:
        # It speaks of the second request; the first may have been accepted all the same.
        unknown = OxenOutcomeUnknown(
            f"{error} An earlier request of this try, whose answer was lost, may have been paid for.",
            retry_after=error.retry_after,
        )
        unknown.retry_helps = error.retry_helps and comes_back(task, intent)
        raise unknown from None


def _took(task: Task, intent: Record, accepted: Accepted) -> Generator[Step, Any, Record]:
    """Remember what the hub has accepted."""
    facts = accepted._asdict() | {"items": list(accepted.items), "submitted_at": intent.time}
    record = intent.to("answered" if accepted.items else "submitted", **facts)
    if task.has_home:
        yield Write(record)
    return record


def _write_down(intent: Record, *, over: bool) -> Generator[Step, Any, Record | None]:
    """Make sure that the intent is what others find; return another's that was there first.

    :param over: whether there is a record that it replaces.
    """
    if over:
        yield Write(intent)
    else:
        yield Create(intent)
    found: Record | None = yield Read()
    if found is not None and found.nonce == intent.nonce:
        return None
    if found is not None and not over:
        return found
    raise OxenRecordError(
        "The record of this task's job was written, and what is there now is "
        f"{'nothing' if found is None else 'of another try'}. Nothing was sent by this try: without the "
        "record an image could be paid for twice."
    )


def intend(task: Task, submissions: int, past: list[str]) -> Generator[Step, Any, Record]:
    """Return the record of a request that is ready to be sent.

    :param submissions: how often one was sent for the job, this one included.
    :param past: ids of the task's earlier generations.
    """
    prepared: Prepared = yield Prepare()
    return Record(
        phase="intent",
        nonce=task.nonce,
        identity=task.identity,
        time=prepared.now,
        endpoint=task.endpoint,
        body=prepared.body,
        origin=task.origin,
        namespace=task.namespace,
        fingerprint=task.fingerprint,
        submissions=submissions,
        past=past,
        unique=prepared.unique,
        price=prepared.price,
        clearing=task.clearing,
    )


def _afford(task: Task, intent: Record) -> None:
    if task.max_cost is None:
        return
    if intent.price is None:
        raise OxenBudgetError(
            f"max_cost is set, and what {intent.body.get('model')} costs is not known from the catalogue. "
            "Nothing was sent by this try: leave max_cost out, or choose a model with a price."
        )
    total = intent.price * intent.submissions
    if total > task.max_cost + 1e-9:
        raise OxenBudgetError(
            f"This would be submission {intent.submissions} of this task at ${intent.price:g} each, "
            f"${total:g} in all, and max_cost is ${task.max_cost:g}. Nothing was sent by this try."
        )


def look_up(task: Task, record: Record, now: float, since: float | None) -> Generator[Step, Any, Record]:
    """Look for a request that may have been accepted; where it provably was not, send it again.

    :param since: unix seconds before which it was not sent.
    """
    if now < record.time - _BACK:
        # The clock was set back: it does not prove that a row is too old.
        since = None
    found = look(record.body, (yield from ask(Look(record), record)), since, **_known(record))
    if not _taken(task, found) and record.phase == "intent":
        # The whole grace from now on: the request may have gone out long after the intent, behind waits that
        # a rate limit asked for, and nobody can tell when the try that sent it died.
        now = yield Pause(task.lookup_grace)
        found = look(record.body, (yield from ask(Look(record), record)), since, **_known(record))
    row = certain = _taken(task, found)
    if row is None and task.on_unknown_outcome == "adopt" and len(found.possible) == 1:
        row = found.possible[0]
    if row is not None:
        facts = {"generation_id": row.generation_id, "submitted_at": row.enqueued_at or now}
        adopted = record.to(
            "submitted", clearing=task.clearing, found=not (record.unique and certain), **facts
        )
        if task.has_home:
            yield Write(adopted)
        return adopted
    # Only the queue must show what it took; and a row that could be the job leaves it open.
    absent = record.endpoint == "queue" and record.phase == "intent" and not found.possible
    if absent or task.on_unknown_outcome == "resubmit":
        return (yield from submit(task, now, again=record))
    raise OxenOutcomeUnknown(_cannot_tell(record, found))


def _taken(task: Task, found: Found) -> Generation | None:
    """Return the row to go on with."""
    row = found.best
    if row is not None and row.status == "failed" and not task.has_home and not is_final(row.error_message):
        # An earlier try has told of it already, and left no record of that.
        return None
    return row


def seek(task: Task, record: Record, now: float) -> Generator[Step, Any, Record]:
    """Look on for a request whose found generation ended badly: it may have been somebody else's."""
    sought = record.to("intent", generation_id=None, found=False, past=_past(record))
    return (yield from look_up(task, sought, now, record.time))


def _past(record: Record) -> list[str]:
    return [*record.past, record.generation_id] if record.generation_id else record.past


def _known(record: Record) -> dict[str, Any]:
    return {"past": record.past, "unique": record.unique}


def _cannot_tell(record: Record, found: Found) -> str:
    if found.possible:
        why = f"{len(found.possible)} generation(s) of the hub's lists could be it, or another task's"
    else:
        why = "the hub's lists do not show it, and need not: it was no request to the queue"
    if record.phase != "intent":
        return (
            f"This task has paid for {record.job}, and the image, which came with the answer, is not where "
            "it was to be kept. The hub gives no link to it. Nothing more was sent. To pay for another, set "
            "overwrite=True or on_unknown_outcome='resubmit', and clear the task."
        )
    return (
        f"An earlier request of this task ({record.job}) may have been sent, and its answer was lost: one "
        f"image may have been paid for; {why}. Nothing more was sent. Look at the account's history. To "
        "go on, set on_unknown_outcome to 'resubmit' (send it again, perhaps pay twice) or to 'adopt' (take "
        "the one generation that matches), and clear the task."
    )
