"""What a trigger tells the task that it wakes: made here, and understood here. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast, get_args

from airflow_provider_oxen.api.errors import OxenError, OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.jobs.polling import End, Status

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
    "reason",
]

GENERATION = "airflow-provider-oxen/generation/1"
"""The word for an event of a generation; another shape gets another number."""

MODEL = "airflow-provider-oxen/model/1"
"""The word for an event of a model."""

BATCH = "airflow-provider-oxen/batch/1"
"""The word for an event of a batch."""

ENDED = "airflow-provider-oxen/ended/1"
"""The word for an event of an asset: a generation has ended, whoever asked for it."""

_LONGEST = 300
"""Characters of the hub's message that are passed on: it may quote a prompt."""

ModelStatus = Literal["ready", "never", "timed_out", "unreachable"]

BatchStatus = Literal["ended", "timed_out", "unreachable"]


class ModelEnd(NamedTuple):
    """How waiting for a model ended.

    :ivar status: ``never``: waiting will not help, as the message says.
    """

    status: ModelStatus
    message: str = ""


class BatchEnd(NamedTuple):
    """How waiting for a batch's generations ended. What became of each, only the hub tells.

    :ivar status: ``ended``: none of them is worth waiting for any more. ``unreachable``: the record of the
        batch could not be read, or nobody could be asked; the generations may go on.
    """

    status: BatchStatus
    message: str = ""


def generation_event(generation_id: str, end: End) -> dict[str, str]:
    """Return the payload that tells how a generation ended. It holds no link: links are short-lived keys."""
    return {
        "event": GENERATION,
        "generation_id": generation_id,
        "status": end.status,
        "message": end.message,
    }


def model_event(model: str, end: ModelEnd) -> dict[str, str]:
    """Return the payload that tells whether a model can be used."""
    return {"event": MODEL, "model": model, "status": end.status, "message": end.message}


def batch_event(record: str, end: BatchEnd, jobs: int, ended: int) -> dict[str, str | int]:
    """Return the payload that tells how waiting for a batch's generations ended; as small for ten thousand.

    :param record: file name of the batch's record.
    :param jobs: how many were waited for.
    :param ended: of how many the waiting has ended before the deadline.
    """
    return {
        "event": BATCH,
        "record": record,
        "status": end.status,
        "message": end.message,
        "jobs": jobs,
        "ended": ended,
    }


def ended_event(row: Generation, namespace: str | None, hide: Callable[[str], str]) -> dict[str, Any]:
    """Return the payload that tells a Dag what has ended: always with the same keys, and with no link.

    :param row: of the history, or as far as the stream tells.
    :param namespace: whose list it is in; None where the row may tell.
    :param hide: takes the key, and what may be a signature, out of a text of the hub's.
    """
    message = " ".join(hide(row.error_message or "").split())
    return {
        "event": ENDED,
        "generation_id": row.generation_id,
        "status": row.status,
        "model": row.model,
        "namespace": namespace or row.echo().get("target_namespace"),
        "media_type": row.media_type,
        "message": message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…",
        "cost": row.charged,
        "enqueued_at": _finite(row.enqueued_at),
        "completed_at": _finite(row.completed_at),
    }


def read_event(event: Any, generation_id: str) -> End:
    """Return what the event tells about a generation.

    :param event: as Airflow hands it to the resumed task; it may be of another version, or damaged.
    :raises OxenPollError: where it is not understood.
    """
    facts = _facts(event, GENERATION, "generation_id", generation_id, get_args(Status))
    if facts is None:
        raise OxenPollError(
            f"The task was resumed with an event that is not understood ({_shape(event)}); expected was one "
            f"of {GENERATION} about generation {generation_id}. Nothing was spent by this. The generation "
            "may have been paid for, but it is known and not lost: the next try looks at it again."
        )
    return End(cast(Status, facts[0]), facts[1])


def read_model_event(event: Any, model: str) -> ModelEnd:
    """Return what the event tells about a model.

    :raises OxenPollError: where it is not understood.
    """
    facts = _facts(event, MODEL, "model", model, get_args(ModelStatus))
    if facts is None:
        raise OxenPollError(
            f"The sensor was resumed with an event that is not understood ({_shape(event)}); expected was "
            f"one of {MODEL} about model {model!r}. Nothing was spent."
        )
    return ModelEnd(cast(ModelStatus, facts[0]), facts[1])


def read_batch_event(event: Any, record: str) -> BatchEnd:
    """Return what the event tells about a batch's generations.

    :raises OxenPollError: where it is not understood.
    """
    facts = _facts(event, BATCH, "record", record, get_args(BatchStatus))
    if facts is None:
        raise OxenPollError(
            f"The task was resumed with an event that is not understood ({_shape(event)}); expected was one "
            f"of {BATCH} about {record}. Nothing was spent by this. The batch's generations may have been "
            "paid for, but they are known and not lost: the next try looks at them again."
        )
    return BatchEnd(cast(BatchStatus, facts[0]), facts[1])


def reason(error: Exception) -> str:
    """Return what an event says of an error: a sentence without a signed link."""
    if isinstance(error, OxenError):
        return str(error)
    return f"{type(error).__name__}: {without_queries(str(error))}"


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _facts(event: Any, word: str, about: str, who: str, statuses: tuple[str, ...]) -> tuple[str, str] | None:
    if not isinstance(event, dict) or event.get("event") != word or event.get(about) != who:
        return None
    status, message = event.get("status"), event.get("message", "")
    if status not in statuses or not isinstance(message, str):
        return None
    return str(status), message


def _shape(event: Any) -> str:
    """Describe an event without its values: who knows what stands in it."""
    if not isinstance(event, dict):
        return type(event).__name__
    return f"an object with {', '.join(sorted(map(repr, event))) or 'nothing in it'}"
