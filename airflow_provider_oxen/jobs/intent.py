"""The record of a request that is about to be sent, and the check of its budget."""

from __future__ import annotations

from airflow_provider_oxen.api.errors import OxenBudgetError
from airflow_provider_oxen.jobs.effects import Effects
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, nonce_of, try_facts

__all__ = ["check_budget", "intend", "nothing_sent", "past_of", "repeat"]


def nothing_sent(task: Task, now: float, kept: Record | None = None) -> Record:
    """Return the first record of a task, which says that nothing was sent.

    :param kept: the job whose image is to be replaced.
    """
    return Record(
        phase="not_sent",
        nonce=nonce_of(task, 0),
        identity=task.identity,
        time=now,
        endpoint=task.endpoint,
        body={},
        origin=task.origin,
        namespace=task.namespace,
        fingerprint=task.fingerprint,
        submissions=0,
        counter=(kept.counter or 0) + 1 if kept else 0,
        past=past_of(kept) if kept else [],
        **try_facts(task),
    )


async def intend(
    do: Effects,
    task: Task,
    submissions: int,
    replaced: Record | None = None,
    *,
    ahead: int = 0,
    same: bool = False,
) -> Record:
    """Return the record of a request that is ready to be sent.

    :param submissions: how many requests for the job may have been billed, including this one.
    :param replaced: the record that this one replaces.
    :param ahead: how many jobs may have been between the two.
    :param same: whether it repeats the same request.
    """
    counter, number = 0, 1
    if replaced:
        # If nothing was sent, the new request need not differ from it.
        counter = (replaced.counter or 0) + (replaced.phase != "not_sent" and not same)
        number = replaced.order + 1
    counter += ahead
    prepared = await do.prepare(counter)
    return Record(
        phase="intent",
        nonce=nonce_of(task, number),
        identity=task.identity,
        time=prepared.now,
        endpoint=task.endpoint,
        body=prepared.body,
        origin=task.origin,
        namespace=task.namespace,
        fingerprint=task.fingerprint,
        number=number,
        submissions=submissions,
        past=past_of(replaced) if replaced else [],
        # This task may overwrite the files that the replaced job left unfinished.
        files=replaced.files if replaced and replaced.phase != "kept" else [],
        unique=prepared.unique,
        counter=counter,
        price=prepared.price,
        **try_facts(task),
    )


def repeat(task: Task, intent: Record, now: float, *, after: int, sent: int) -> Record:
    """Return the intent to send the same body once more.

    :param after: number of the last intent.
    """
    facts = {"number": after + 1, "nonce": nonce_of(task, after + 1), "time": now, "submissions": sent + 1}
    return intent.to("intent", **facts, **try_facts(task))


def check_budget(task: Task, intent: Record) -> None:
    if task.max_cost is None:
        return
    if intent.price is None:
        raise OxenBudgetError(
            f"max_cost is set, but the catalogue has no price for {intent.body.get('model')}.",
            remedy="Leave max_cost out, or choose a model with a price.",
        )
    total = intent.price * intent.submissions
    if total > task.max_cost + 1e-9:
        cause = f"The image would cost ${intent.price:g}, and max_cost is ${task.max_cost:g}."
        if intent.submissions > 1:
            cause = (
                f"This would be submission {intent.submissions} of this task at ${intent.price:g} each, "
                f"${total:g} in all, and max_cost is ${task.max_cost:g}."
            )
        raise OxenBudgetError(cause, remedy="To allow it, raise max_cost.")


def past_of(record: Record) -> list[str]:
    return [*record.past, record.generation_id] if record.generation_id else record.past
