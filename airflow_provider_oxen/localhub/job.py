"""One generation: what was ordered, how far it is, what becomes of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.ledger import Billed

__all__ = ["Fate", "Job", "Progress"]

End = Literal["succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Fate:
    """What becomes of a job, decided when it is accepted.

    :ivar end: None for a job that never ends.
    :ivar message: the error message of a job that fails.
    :ivar meanwhile: the status that it tells while it is worked on.
    :ivar with_url: whether it tells its result when it has succeeded.
    """

    end: End | None = "succeeded"
    message: str | None = None
    meanwhile: str = "processing"
    with_url: bool = True

    @classmethod
    def of(cls, problem: str | None, fault: Fault | None) -> Fate:
        """Return what the model's answer and the fault make of a job.

        :param problem: what the model says against the request, or None.
        """
        kind = fault.kind if fault else None
        if fault and kind == "fails":
            return cls("failed", fault.message)
        if kind == "hangs":
            return cls(None)
        if kind == "is_cancelled":
            return cls("cancelled")
        fate = cls("failed", problem) if problem else cls()
        if fault and kind == "odd_status":
            return replace(fate, meanwhile=fault.message)
        return replace(fate, with_url=kind != "without_url")


class Progress(NamedTuple):
    """How far a job is: replaced as a whole, so that another thread never reads half of a change.

    :ivar started_at: unix seconds, as is ``completed_at``; None where it is not that far.
    :ivar has_url: whether there is a result to be told.
    :ivar cost: what was billed in USD, or None.
    """

    status: str = "queued"
    started_at: float | None = None
    completed_at: float | None = None
    error_message: str | None = None
    has_url: bool = False
    cost: float | None = None


_QUEUED = Progress()


@dataclass(eq=False)
class Job:
    """One generation.

    :ivar billed: its entry in the ledger, which stands there once it is paid for.
    :ivar enqueued_at: unix seconds, by the hub's clock.
    :ivar queue_wait: seconds that it waits at least, as it was set when the job came.
    :ivar latency: seconds that it is worked on, likewise.
    :ivar prepaid: billed when it was accepted, whatever becomes of it.
    :ivar told: a progress and the text of the row that tells it; see :mod:`.rows`.
    """

    body: dict[str, Any]
    billed: Billed
    enqueued_at: float
    queue_wait: float = 0.0
    latency: float = 0.0
    fate: Fate = Fate()
    prepaid: bool = False
    progress: Progress = _QUEUED
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    told: tuple[Progress, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.prepaid:
            self.progress = Progress(cost=self.billed.cost)

    @property
    def is_over(self) -> bool:
        return self.progress.completed_at is not None

    def start(self, moment: float) -> None:
        self.progress = self.progress._replace(status=self.fate.meanwhile, started_at=moment)

    def end(self, status: End, moment: float) -> None:
        self.progress = Progress(
            status,
            self.progress.started_at,
            moment,
            self.fate.message if status == "failed" else None,
            self.fate.with_url and status == "succeeded",
            self.billed.cost if status == "succeeded" else self.progress.cost,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the job as plain JSON values, for tests: the hub's own words are in :mod:`.rows`."""
        progress = self.progress
        return {
            "generation_id": self.id,
            "model": self.billed.picture.model,
            "namespace": self.billed.namespace,
            "status": progress.status,
            "enqueued_at": self.enqueued_at,
            "started_at": progress.started_at,
            "completed_at": progress.completed_at,
            "error_message": progress.error_message,
            "cost": progress.cost,
            "request": self.body,
        }
