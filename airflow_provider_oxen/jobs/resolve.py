"""Before spending: is there a job of this task already, and what is to be done about it?

The first half of the protocol, as a generator. It yields :mod:`.steps` (read the record, send the
request, list the queue…), whoever drives it carries them out and sends back what came of them, and it
returns the record of a job that was accepted; :mod:`.complete` is the other half. So every order of
events, and a death between any two steps, can be played through with plain values.

The steps that others must not see half done come in this order: the intent is written, read back
and found to be ours; only then is the request sent; and what was answered is written before anything
else is done with it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_oxen.api.errors import (
    OxenBudgetError,
    OxenChangedRequest,
    OxenError,
    OxenGenerationCancelled,
    OxenGenerationError,
    OxenGenerationFailed,
    OxenGenerationNotFound,
    OxenOutcomeUnknown,
    OxenPollError,
    OxenRecordError,
    OxenRefused,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import Found, is_another, look
from airflow_provider_oxen.jobs.record import Endpoint, Record
from airflow_provider_oxen.jobs.steps import (
    Accepted,
    Create,
    Delete,
    Look,
    Pause,
    Prepare,
    Prepared,
    Read,
    Row,
    Send,
    Step,
    Write,
)

__all__ = ["Task", "ask", "changed", "resolve", "row_of", "stopped"]

OnUnknown = Literal["fail", "adopt", "resubmit"]
OnChanged = Literal["fail", "submit"]

_BACK = 1.0
"""Seconds that a clock may seem to have gone back by rounding."""

_NOT_BILLED = "Whether the hub bills a generation that gave no image is not documented."


@dataclass(frozen=True)
class Task:
    """What the protocol must know of a task and of what its user wants.

    :param identity: key of the task instance.
    :param fingerprint: of the request.
    :param origin: of the hub.
    :param namespace: that is billed.
    :param endpoint: where a new request goes.
    :param nonce: a fresh secret for this try.
    :param try_number: from 1.
    :param clearing: number of the first try since the task was last cleared.
    :param has_home: whether a record can be kept.
    :param began: unix seconds before which this task has sent nothing, where no record tells.
    :param overwrite: make another image in place of one that is kept.
    :param lookup_grace: seconds after which a request that was accepted must be in the hub's lists.
    :param max_cost: USD that all submissions for one image may cost.
    """

    identity: str
    fingerprint: str
    origin: str
    namespace: str | None
    endpoint: Endpoint
    nonce: str
    try_number: int = 1
    clearing: int = 1
    has_home: bool = True
    began: float | None = None
    overwrite: bool = False
    on_unknown_outcome: OnUnknown = "fail"
    on_changed_request: OnChanged = "fail"
    lookup_grace: float = 60.0
    max_cost: float | None = None

    @property
    def comes_back(self) -> bool:
        """Whether the next try finds the job again: by the record, or in the lists of the queue."""
        return self.has_home or self.endpoint == "queue"


def resolve(task: Task, record: Record | None, now: float) -> Generator[Step, Any, Record]:
    """Find this task's job or submit one; return its record, submitted, answered or kept.

    :param record: as it was just read; None where there is none.
    :param now: unix seconds.
    :raises OxenError: which says whether money was spent, and what a retry will do.
    """
    if record is None:
        if task.has_home or task.try_number == 1:
            return (yield from _submit(task, now))
        # Earlier tries have left no trace: as if the last had died right after sending.
        intent = yield from _intended(task, 1, [])
        return (yield from _lost(task, intent, now, None if _names_itself(intent) else task.began))
    if record.phase == "ended" and (changed(task, record) or record.clearing < task.clearing):
        # Nothing is running, nothing was kept, and somebody has changed the request or cleared the task.
        return (yield from _submit(task, now, replaced=record))
    if record.phase == "kept" and task.overwrite and record.clearing < task.clearing:
        return (yield from _submit(task, now, replaced=record))
    if differs := changed(task, record):
        if task.on_changed_request == "fail":
            raise OxenChangedRequest(_other(record, differs))
        return (yield from _submit(task, now, replaced=record))
    if record.phase == "intent":
        return (yield from _lost(task, record, now, record.time))
    if record.phase == "ended":
        if record.final or record.status == "cancelled":
            raise stopped(record)
        if record.found:
            # It may have been somebody else's with the same seed, and says nothing of our own.
            sought = record.to("intent", generation_id=None, found=False, past=_past(record))
            return (yield from _lost(task, sought, now, record.time))
        return (yield from _submit(task, now, replaced=record))
    if record.phase in ("submitted", "cancelling"):
        return (yield from _attach(task, record, now))
    if not record.can_be_fetched:
        # The images came with the answer itself, and are not where they were kept, or never were.
        return (yield from _lost(task, record, now, record.time))
    return record.to(record.phase, clearing=task.clearing)


def changed(task: Task, record: Record) -> list[str]:
    """Return in what a record's job differs from what is asked for now."""
    pairs = {
        "request": (task.fingerprint, record.fingerprint),
        "hub": (task.origin, record.origin),
        "namespace": (task.namespace, record.namespace),
    }
    return [name for name, (wanted, found) in pairs.items() if wanted != found]


def stopped(record: Record) -> OxenGenerationError:
    """Return the error of a job that gave no image."""
    why = record.reason or "the hub gave no reason"
    job = record.job[0].upper() + record.job[1:]
    if record.status == "cancelled":
        return OxenGenerationCancelled(
            f"{job} was cancelled ({why}). {_NOT_BILLED} Clear the task to ask anew."
        )
    coming = "Another one would fail in the same way." if record.final else "The next try submits another."
    return OxenGenerationFailed(f"{job} failed: {why}. {_NOT_BILLED} {coming}", retry_helps=not record.final)


def ask(step: Look | Row, record: Record) -> Generator[Step, Any, Any]:
    """Put a free question about a job that may have been paid for.

    :raises OxenPollError: where there is no answer, so that nobody takes the job for one that cost nothing.
    """
    try:
        return (yield step)
    except OxenError as error:
        failed = OxenPollError(
            f"What became of {record.job} could not be learnt: {error} It may have been paid for; nothing "
            "more was sent.",
            status=error.status,
            retry_after=error.retry_after,
        )
        failed.retry_helps = error.retry_helps
        raise failed from None


def row_of(record: Record) -> Generator[Step, Any, Generation | None]:
    """Ask for the row of the record's generation.

    :raises OxenRecordError: where it is another job's.
    """
    row: Generation | None = yield from ask(Row(str(record.generation_id)), record)
    if row is not None and is_another(record.body, row):
        raise OxenRecordError(
            f"The hub's row of generation {record.generation_id} tells the model {row.model!r}; this task "
            f"has asked for {record.body.get('model')!r}: it is another's. One image may have been paid for; "
            "nothing more was sent. Look at the account's history; then delete the record and clear the task."
        )
    return row


def _submit(
    task: Task, now: float, *, again: Record | None = None, replaced: Record | None = None
) -> Generator[Step, Any, Record]:
    """Write the intent, make sure that it is there and ours, and send.

    :param again: the intent whose request is to be sent once more, as it is.
    :param replaced: the record that a new one takes the place of.
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
            items=[],
            past=_past(again),
        )
    else:
        intent = yield from _intended(task, sent + 1, _past(replaced) if replaced else [])
        if replaced and replaced.phase != "kept":
            # What it wrote and did not finish is this task's to write over.
            intent = intent.to("intent", files=replaced.files)
    _afford(task, intent)
    if task.has_home:
        found = yield from _write_down(intent, over=old is not None)
        if found is not None:
            return (yield from resolve(task, found, now))
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
            error.retry_helps = task.comes_back
            raise
    else:
        return (yield from _took(task, intent, accepted))
    try:
        return (yield from _lost(task, intent, intent.time, intent.time))
    except OxenRefused as error:
        # It speaks of the second request; the first may have been accepted all the same.
        unknown = OxenOutcomeUnknown(
            f"{error} An earlier request of this try, whose answer was lost, may have been paid for.",
            retry_after=error.retry_after,
        )
        unknown.retry_helps = error.retry_helps and task.comes_back
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


def _intended(task: Task, submissions: int, past: list[str]) -> Generator[Step, Any, Record]:
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


def _lost(task: Task, record: Record, now: float, since: float | None) -> Generator[Step, Any, Record]:
    """Look for a request that may have been accepted.

    :param since: unix seconds before which it was not sent.
    """
    if now < record.time - _BACK:
        # The clock was set back: it does not prove that a row is too old.
        since = None
    found = look(record.body, (yield from ask(Look(record), record)), since, **_known(record))
    if not found.best and record.phase == "intent":
        # The whole grace from now on: the request may have gone out long after the intent, behind waits that
        # a rate limit asked for, and nobody can tell when the try that sent it died.
        now = yield Pause(task.lookup_grace)
        found = look(record.body, (yield from ask(Look(record), record)), since, **_known(record))
    row = found.best
    if row is None and task.on_unknown_outcome == "adopt" and len(found.possible) == 1:
        row = found.possible[0]
    if row is not None:
        facts = {"generation_id": row.generation_id, "submitted_at": row.enqueued_at or now}
        adopted = record.to("submitted", found=not record.unique, **facts)
        if task.has_home:
            yield Write(adopted)
        return adopted
    # Only the queue must show what it took; and a row that could be the job leaves it open.
    absent = record.endpoint == "queue" and record.phase == "intent" and not found.possible
    if absent or task.on_unknown_outcome == "resubmit":
        return (yield from _submit(task, now, again=record))
    raise OxenOutcomeUnknown(_cannot_tell(record, found))


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
            return (yield from _submit(task, now, again=record))
        raise OxenGenerationNotFound(
            f"The hub does not know {record.job} any more, which it once accepted: one image may have been "
            "paid for. Nothing more was sent. Look at the account's history; on_unknown_outcome='resubmit' "
            "would pay for another."
        )
    stopped_by_us = record.phase == "cancelling" and row.status == "cancelled"
    if row.status in ("failed", "cancelled") and (stopped_by_us or record.clearing < task.clearing):
        # We stopped it ourselves, or somebody has cleared the task since: anew, on purpose.
        return (yield from _submit(task, now, replaced=record))
    return record.to("submitted", clearing=task.clearing)


def _past(record: Record) -> list[str]:
    return [*record.past, record.generation_id] if record.generation_id else record.past


def _known(record: Record) -> dict[str, Any]:
    return {"past": record.past, "unique": record.unique}


def _names_itself(record: Record) -> bool:
    return record.body.get("seed") is not None or record.body.get("target_directory") is not None


def _other(record: Record, differs: list[str]) -> str:
    return (
        f"This task already has {record.job} ({record.phase}, fingerprint {record.fingerprint[:12]}), and "
        f"its {' and '.join(differs)} changed since. Nothing was sent by this try. "
        "on_changed_request='submit' gives that job up and pays for another"
        + (", overwrite=True replaces what is kept." if record.phase == "kept" else ".")
    )


def _cannot_tell(record: Record, found: Found) -> str:
    if found.possible:
        why = f"{len(found.possible)} generation(s) of the hub's lists could be it, or another task's"
    elif record.endpoint == "generate":
        why = "the hub's lists do not show it, and need not: it was no request to the queue"
    else:
        why = "the hub's lists do not show it"
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
