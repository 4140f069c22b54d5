"""One image that costs something, and one generation: its order, its progress, its outcome."""

from __future__ import annotations

import asyncio
import copy
import functools
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.pictures import Picture, draw, ready_made

__all__ = ["NOT_AN_IMAGE", "Charge", "Damage", "Job", "PlannedOutcome", "Progress"]

Damage = Literal["not_an_image", "truncated"]
End = Literal["succeeded", "failed", "cancelled"]

NOT_AN_IMAGE = b"<!doctype html><html><title>Sign in</title><h1>Please sign in</h1></html>"


@dataclass
class Charge:
    """One image in the ledger.

    The image is drawn when its bytes are requested, so that no image is drawn that nobody fetches.

    :ivar time: unix seconds, by the hub's clock.
    :ivar cost: in USD.
    :ivar request: the whole body of the call.
    :ivar generation_id: the job that made it; None for a synchronous call.
    :ivar damage: what is wrong with the bytes that the hub sends.
    :ivar not_ready: the fault ``not_yet``, whose ``looks`` are counted down here.
    """

    time: float
    cost: float
    namespace: str
    picture: Picture
    request: dict[str, Any]
    route: Literal["generate", "queue"] = "generate"
    generation_id: str | None = None
    damage: Damage | None = None
    not_ready: Fault | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @functools.cached_property
    def sha256(self) -> str:
        """Hexadecimal hash of the undamaged bytes."""
        return hashlib.sha256(self._image()).hexdigest()

    async def content(self, damage: Damage | None = None) -> bytes:
        """Return the bytes that the hub sends; drawing happens in a thread."""
        damage = damage or self.damage
        if damage == "not_an_image":
            return NOT_AN_IMAGE
        is_drawn = self.picture.ready_made is None
        content = await asyncio.to_thread(self._image) if is_drawn else self._image()
        return content[: len(content) // 2] if damage == "truncated" else content

    def spoil(self, fault: Fault) -> None:
        """Apply a fault to the image, if it is about images."""
        if fault.kind == "not_an_image" or fault.kind == "truncated":
            self.damage = fault.kind
        if fault.kind == "not_yet":
            self.not_ready = copy.copy(fault)

    def is_ready(self, now: float) -> bool:
        """Return whether the image is available by now; this counts as a look."""
        fault = self.not_ready
        if fault is None:
            return True
        if fault.looks is None:
            return now >= self.time + fault.seconds
        fault.looks -= 1
        return fault.looks < 0

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as plain JSON. May have to draw the image: do not call it on an event loop."""
        own = ("id", "time", "cost", "namespace", "sha256", "route", "generation_id", "request")
        shown = ("model", "prompt", "seed", "index", "width", "height", "media_type")
        return {
            **{name: getattr(self, name) for name in own},
            **{name: getattr(self.picture, name) for name in shown},
        }

    def _image(self) -> bytes:
        return draw(self.picture) if self.picture.ready_made is None else ready_made(self.picture)


@dataclass(frozen=True)
class PlannedOutcome:
    """The outcome of a job, decided when the job is accepted.

    :ivar end: None for a job that never ends.
    :ivar message: the error message of a failing job.
    :ivar retryable: ``error_retryable`` of its row, if it has one.
    :ivar meanwhile: its status while it runs.
    :ivar with_url: whether the row of a succeeded job has a result.
    """

    end: End | None = "succeeded"
    message: str | dict[str, Any] | None = None
    retryable: bool | None = None
    meanwhile: str = "processing"
    with_url: bool = True

    @classmethod
    def of(cls, problem: str | None, fault: Fault | None) -> PlannedOutcome:
        """Return the outcome of a job from the model's objection and the fault.

        :param problem: the model's objection to the request, or None.
        """
        kind = fault.kind if fault else None
        if fault and kind == "fails":
            return cls("failed", fault.message, fault.retryable)
        if kind == "hangs":
            return cls(None)
        if kind == "is_cancelled":
            return cls("cancelled")
        meanwhile = str(fault.message) if fault and kind == "odd_status" else "processing"
        end: End = "failed" if problem else "succeeded"
        return cls(end, problem, None, meanwhile, with_url=kind != "without_url")


class Progress(NamedTuple):
    """The progress of a job. It is replaced as a whole, so that another thread never reads half of a change.

    :ivar started_at: unix seconds, like ``completed_at``; None if it is not that far yet.
    :ivar has_url: whether its row has a result.
    :ivar cost: what was billed in USD, or None.
    """

    status: str = "queued"
    started_at: float | None = None
    completed_at: float | None = None
    error_message: str | dict[str, Any] | None = None
    has_url: bool = False
    cost: float | None = None
    error_retryable: bool | None = None


@dataclass(eq=False)
class Job:
    """One generation.

    :ivar charge: its entry for the ledger, which is added once it is paid for.
    :ivar enqueued_at: unix seconds, by the hub's clock.
    :ivar queue_wait: seconds that it waits at least, as set when the job came.
    :ivar latency: seconds that it runs, likewise.
    :ivar prepaid: whether it was billed when it was accepted, whatever its outcome.
    :ivar row_text: a progress and the text of the row that shows it; see :mod:`.queue`.
    """

    body: dict[str, Any]
    charge: Charge
    enqueued_at: float
    queue_wait: float = 0.0
    latency: float = 0.0
    outcome: PlannedOutcome = PlannedOutcome()
    prepaid: bool = False
    progress: Progress = field(default_factory=Progress)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    row_text: tuple[Progress, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.prepaid:
            self.progress = Progress(cost=self.charge.cost)

    @property
    def is_over(self) -> bool:
        return self.progress.completed_at is not None

    def start(self, moment: float) -> None:
        self.progress = self.progress._replace(status=self.outcome.meanwhile, started_at=moment)

    def end(self, status: End, moment: float) -> None:
        self.progress = Progress(
            status,
            self.progress.started_at,
            moment,
            self.outcome.message if status == "failed" else None,
            self.outcome.with_url and status == "succeeded",
            self.charge.cost if status == "succeeded" else self.progress.cost,
            self.outcome.retryable if status == "failed" else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the job as plain JSON for tests; :mod:`.queue` has the hub's own format."""
        shown = ("status", "started_at", "completed_at", "error_message", "cost")
        return {
            "generation_id": self.id,
            "model": self.charge.picture.model,
            "namespace": self.charge.namespace,
            "enqueued_at": self.enqueued_at,
            **{name: getattr(self.progress, name) for name in shown},
            "request": self.body,
        }
