"""The events between triggers and tasks: one function makes each kind, and one reads it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast, get_args

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import redacted_line, without_queries
from airflow_provider_oxen.jobs.effects import End, Status

__all__ = [
    "BATCH",
    "ENDED",
    "GENERATION",
    "MODEL",
    "BatchEnd",
    "ModelEnd",
    "batch_event",
    "ended_event",
    "generation_event",
    "model_event",
    "read_batch_event",
    "read_event",
    "read_model_event",
]

GENERATION = "airflow-provider-oxen/generation/1"
"""The name of a generation's event; a changed format gets a new number."""

MODEL = "airflow-provider-oxen/model/1"
"""The name of a model's event."""

BATCH = "airflow-provider-oxen/batch/1"
"""The name of a batch's event."""

ENDED = "airflow-provider-oxen/ended/1"
"""The name of an asset's event: a generation has ended, whoever asked for it."""

_LONGEST = 300
"""Characters of the hub's message that are passed on, since it may quote a prompt."""

_NAMES = 20
"""How many field names the error for an unreadable event lists."""

_MOST = 2_000
"""Characters of a message that are read; our longest message is the one for a look that failed."""

ModelStatus = Literal["ready", "never", "timed_out", "unreachable"]

BatchStatus = Literal["ended", "timed_out", "unreachable"]


class ModelEnd(NamedTuple):
    """How waiting for a model ended.

    :ivar status: ``never`` means that waiting will not help, as the message says.
    """

    status: ModelStatus
    message: str = ""


class BatchEnd(NamedTuple):
    """How waiting for a batch's generations ended. Only the hub knows how each of them ended.

    :ivar status: ``ended``: none of the generations is worth waiting for any longer. ``unreachable``: the
        batch's record could not be read, or the hub could not be asked; the generations may go on.
    """

    status: BatchStatus
    message: str = ""


def generation_event(
    generation_id: str, status: Status, message: str = "", retryable: bool | None = None
) -> dict[str, Any]:
    """Return the event that says how a generation ended, without a link: a link gives access for a while."""
    event = {"event": GENERATION, "generation_id": generation_id, "status": status, "message": message}
    return event if retryable is None else event | {"retryable": retryable}


def model_event(model: str, status: ModelStatus, message: str = "") -> dict[str, Any]:
    """Return the event that says whether a model can be used."""
    return {"event": MODEL, "model": model, "status": status, "message": message}


def batch_event(
    record: str, jobs: int, status: BatchStatus, message: str = "", ended: int = 0
) -> dict[str, Any]:
    """Return the event that says how waiting for a batch ended. Its size does not depend on the batch's.

    :param record: file name of the batch's record.
    :param jobs: how many generations were waited for.
    :param ended: how many of them no longer need waiting for.
    """
    return {
        "event": BATCH,
        "record": record,
        "status": status,
        "message": message,
        "jobs": jobs,
        "ended": ended,
    }


def ended_event(row: Generation, namespace: str | None, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return the event that tells a Dag which generation has ended: always the same keys, and no link.

    :param row: from the history, or with only what the stream tells.
    :param namespace: whose list the row is in; None if only the row may say.
    :param redact: takes the key, and what may be a signature, out of a text from the hub.
    """
    message = redacted_line(redact(row.error_message or ""), _LONGEST) or ""
    return {
        "event": ENDED,
        "generation_id": row.generation_id,
        "status": row.status,
        "model": redacted_line(redact(row.model or "")),
        "namespace": namespace or redacted_line(row.echo().get("target_namespace")),
        "media_type": redacted_line(redact(row.media_type or "")),
        "message": message,
        "retryable": row.error_retryable,
        "cost": row.charged,
        "enqueued_at": row.enqueued_at,
        "completed_at": row.completed_at,
    }


def read_event(event: Any, generation_id: str) -> End:
    """Return what the event says about a generation.

    :param event: as Airflow passes it to the resumed task. It may be of another version, or damaged.
    :raises OxenPollError: if the event cannot be understood.
    """
    status, message = _read(
        event,
        GENERATION,
        ("generation_id", generation_id),
        get_args(Status),
        retry="The next try looks for it.",
    )
    verdict = event.get("retryable")
    return End(cast(Status, status), message, verdict if isinstance(verdict, bool) else None)


def read_model_event(event: Any, model: str) -> ModelEnd:
    """Return what the event says about a model.

    :raises OxenPollError: if the event cannot be understood.
    """
    status, message = _read(event, MODEL, ("model", model), get_args(ModelStatus), spent="no")
    return ModelEnd(cast(ModelStatus, status), message)


def read_batch_event(event: Any, record: str) -> BatchEnd:
    """Return what the event says about a batch's generations.

    :raises OxenPollError: if the event cannot be understood.
    """
    status, message = _read(
        event,
        BATCH,
        ("record", record),
        get_args(BatchStatus),
        money="The batch's generations may have been paid for.",
        retry="The next try looks for them.",
    )
    return BatchEnd(cast(BatchStatus, status), message)


def _read(
    event: Any, kind: str, about: tuple[str, str], statuses: tuple[str, ...], **facts: Any
) -> tuple[str, str]:
    """Return the status and the message of an event.

    :param about: the name of a field in the event, and the value it must have.
    :param facts: facts for the error if the event is another one.
    """
    name, expected = about
    if isinstance(event, dict) and event.get("event") == kind and event.get(name) == expected:
        status, message = event.get("status"), event.get("message", "")
        if status in statuses and isinstance(message, str):
            # It comes from Airflow's database, and may be of an earlier version.
            return str(status), without_queries(message[:_MOST])
    raise OxenPollError(
        f"The task was resumed with an unknown event ({_field_names(event)}); expected was one of "
        f"{kind} about {expected}.",
        **facts,
    )


def _field_names(event: Any) -> str:
    """Describe an event by its field names only: its values may hold anything, a secret too."""
    if not isinstance(event, dict):
        return type(event).__name__
    names = ", ".join(sorted(repr(str(name)[:50]) for name in list(event)[:_NAMES]))
    return f"an object with {names or 'nothing in it'}"
