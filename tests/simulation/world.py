"""The world that the protocol is played in: a hub, places for records and images, and one clock.

Small enough to be read in one go, and only as kind as the hub's contract. What the contract leaves open is
played both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import _latest

__all__ = ["GRACE", "Home", "Hub", "Job", "Output", "World"]

GRACE = 60.0
"""Seconds after which the hub's lists must show what was accepted: the task's ``lookup_grace``."""

LATE = 50.0
"""Seconds after which a late hub does show it: within the grace."""

TOO_LATE = 3_600.0
"""Seconds after which a hub that breaks the rule does."""

RUNS = 10.0
"""Seconds that a job runs."""

PAGE = 2
"""Rows of a page of the history."""


@dataclass
class Job:
    """What the hub has accepted, and bills.

    :ivar owner: name of the task that sent it.
    :ivar sent_by: nonce of the try.
    :ivar nonce: of the intent.
    :ivar fate: how it ends, in the words of :data:`~.hands.FATES`.
    :ivar listed_at: when lists and rows begin to show it.
    :ivar unwanted: whether its task has tried to cancel it.
    :ivar recorded: whether a record has told its id.
    :ivar kept: whether a task has had its image.
    :ivar gone: whether its image was found to be unfit, and that was said.
    :ivar vain: whether its only link was asked in vain, and that was said.
    """

    id: str
    owner: str
    sent_by: str
    clearing: int
    policy: str
    request: str
    body: dict[str, Any]
    endpoint: str
    accepted_at: float
    listed_at: float
    nonce: str
    fate: str = "succeeds"
    unwanted: bool = False
    cancelled_at: float | None = None
    recorded: bool = False
    kept: bool = False
    gone: bool = False
    vain: bool = False

    def status(self, now: float) -> str:
        if self.cancelled_at is not None and now >= self.cancelled_at:
            return "cancelled"
        if now < self.accepted_at + RUNS or self.fate == "does not end":
            return "processing"
        words = {"fails": "failed", "fails for good": "failed", "is cancelled": "cancelled"}
        return words.get(self.fate, "succeeded")

    def is_known(self, now: float) -> bool:
        forgotten = self.fate == "is forgotten" and now >= self.accepted_at + RUNS
        return now >= self.listed_at and not forgotten


@dataclass
class Hub:
    """Keeps jobs, lists and a bill.

    :ivar shows_calls: whether the history shows calls of the synchronous endpoint.
    :ivar echoes: whether rows repeat the seed and the directory.
    :ivar dead: links that have expired.
    :ivar bad: ids of jobs whose image is damaged.
    """

    shows_calls: bool = False
    echoes: bool = True
    jobs: list[Job] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    links: int = 0
    strangers: list[Generation] = field(default_factory=list)

    def job(self, generation_id: str) -> Job:
        return next(job for job in self.jobs if job.id == generation_id)

    def link(self, job: Job) -> str:
        """Sign a new link."""
        self.links += 1
        return f"https://hub.example/{job.id}?signature={self.links}"

    def job_of(self, link: str) -> Job:
        return self.job(link.removeprefix("https://hub.example/").partition("?")[0])

    def row(self, generation_id: str, now: float) -> Generation | None:
        found = [job for job in self.jobs if job.id == generation_id and job.is_known(now)]
        return self._row(found[0], now) if found else None

    def queue(self, now: float) -> list[Generation]:
        return [row for row in self._rows(now) if row.status == "processing"]

    def history(self, now: float, page: int) -> list[Generation]:
        """Return a page of what has ended, newest first."""
        ended = [row for row in self._rows(now) if row.status != "processing"] + self.strangers
        ended.sort(key=lambda row: -(row.enqueued_at or 0))
        return ended[page * PAGE : (page + 1) * PAGE]

    def cancel(self, generation_id: str, now: float) -> None:
        job = self.job(generation_id)
        if job.is_known(now) and job.status(now) == "processing":
            job.cancelled_at = now

    def arrive(self, now: float) -> None:
        """Let somebody else's job end: it shifts every page of the history by a row."""
        number = len(self.strangers)
        row = {"generation_id": f"stranger-{number}", "status": "succeeded", "model": "m", "prompt": "a pear"}
        self.strangers.append(Generation.model_validate({**row, "enqueued_at": now}))

    def _rows(self, now: float) -> list[Generation]:
        shown = [job for job in self.jobs if job.is_known(now)]
        return [self._row(job, now) for job in shown if job.endpoint == "queue" or self.shows_calls]

    def _row(self, job: Job, now: float) -> Generation:
        status = job.status(now)
        reasons = {"fails": "upstream is busy", "fails for good": "Insufficient credits"}
        return Generation.model_validate(
            {
                **{
                    name: value
                    for name, value in job.body.items()
                    if self.echoes or name in ("model", "prompt")
                },
                "generation_id": job.id,
                "status": status,
                "enqueued_at": job.accepted_at,
                "completed_at": None if status == "processing" else job.accepted_at + RUNS,
                "result_url": self.link(job)
                if status == "succeeded" and job.fate != "finishes without a link"
                else None,
                "error_message": reasons.get(job.fate) if status == "failed" else None,
            }
        )


@dataclass
class Home:
    """Where a record lives.

    :ivar kind: ``store`` (overwrites), ``file`` (creates an intent exclusively), ``both`` or ``none``.
    :ivar places: what each place holds.
    """

    kind: str
    places: dict[str, Record | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = {"both": ("file", "store"), "none": ()}.get(self.kind, (self.kind,))
        self.places = dict.fromkeys(kinds)

    @property
    def keeps(self) -> bool:
        return bool(self.places)

    def read(self, *, overtaken: bool = False) -> Record | None:
        """Return the record, as the product's homes put it together; a try that is over sees no store."""
        store = None if overtaken else self.places.get("store")
        return _latest(store, self.places.get("file"))

    def create(self, record: Record) -> None:
        for place in self.places:
            self.places[place] = self.places[place] or record

    def write(self, record: Record, *, seen: Record | None = None, overtaken: bool = False) -> None:
        """Write a record: into the file an intent only over what was seen, and nothing over a later one."""
        there = self.places.get("file")
        newer = there is not None and there.nonce != record.nonce and there.order >= record.order
        if record.phase == "intent":
            newer |= there is not seen
        if "file" in self.places:
            if newer:
                raise OxenOvertaken("Another try has written since.")
            self.places["file"] = record
        if "store" in self.places:
            if overtaken:
                raise OxenStoreUnavailable("Airflow takes nothing from a try that is over.")
            self.places["store"] = record

    def close(self, record: Record, **how: Any) -> None:
        """Write the last form; beside a finished output a file tells nothing more."""
        self.write(record, **how)
        if record.phase == "kept" and "file" in self.places:
            self.places["file"] = None


@dataclass
class Output:
    """The place of an image, with the sidecar that commits it.

    :ivar sidecar: id of the job, and its record.
    """

    sidecar: tuple[str, Record] | None = None

    def commit(self, job: str, record: Record, overwrite: bool) -> None:
        """Say what is there. Where another task was first, the image has gone to a name of its own."""
        if self.sidecar is None or self.sidecar[1].identity == record.identity or overwrite:
            self.sidecar = (job, record)


@dataclass
class World:
    """One clock, one hub, and a story."""

    hub: Hub = field(default_factory=Hub)
    now: float = 1_000_000.0
    nonces: int = 0
    story: list[str] = field(default_factory=list)

    def nonce(self) -> str:
        self.nonces += 1
        return f"nonce-{self.nonces}"
