"""The driver's hands: carries out each step that the protocol asks for, as far as nothing comes in between.

Death before a step is death after the one before it, so each step has one death: after its effect, and
before anybody has seen its result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenConnectionError,
    OxenDownloadError,
    OxenExpiredURL,
    OxenGenerationNotFound,
    OxenImageError,
    OxenInvalidRequest,
    OxenOutcomeUnknown,
    OxenRateLimited,
    OxenServerError,
    OxenStorageError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.jobs import steps
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task

from .choices import WELL
from .scenario import Attempt
from .world import GRACE, LATE, RUNS, TOO_LATE, Job

if TYPE_CHECKING:
    from .play import Life

__all__ = ["Death", "Deferred", "Hands", "Turn"]

Turn = Generator[float, None, Any]
"""What a task does, yielding the time from which it can go on."""

FATES = (
    "succeeds",
    "fails",
    "fails for good",
    "is cancelled",
    "finishes without a link",
    "is forgotten",
    "does not end",
)
SENDS = (
    "is answered",
    "is accepted, answer lost",
    "is accepted, answer lost, listed late",
    "is accepted after a while, answer lost, listed late",
    "is accepted, listed late",
    "is lost",
    "is refused for now",
    "is refused",
    "is not sent",
    "is accepted; death",
    "is accepted, listed late; death",
    "is accepted after a while, listed late; death",
)
TOO_LATE_SENDS = ("is answered", "is accepted, answer lost, listed too late")


class Death(BaseException):
    """The process is no more."""


class Deferred(BaseException):
    """The process has left its worker; another goes on when the job has ended."""

    def __init__(self, record: Record, end: End) -> None:
        self.record, self.end = record, end


class Hands:
    """One try's access to the world."""

    def __init__(self, life: Life, attempt: Attempt) -> None:
        self.life, self.attempt = life, attempt
        self.world, self.hub, self.home = life.world, life.world.hub, life.home
        self.scenario = life.scenario
        self.images: dict[str, str] = {}
        self.resumed = 0
        plan = attempt.plan
        self.task = Task(
            identity=life.name,
            fingerprint=plan.request,
            origin="https://hub.example",
            namespace=None,
            endpoint=self.scenario.endpoint,  # type: ignore[arg-type]
            nonce=attempt.nonce,
            try_number=attempt.number,
            clearing=attempt.clearing,
            has_home=self.home.keeps,
            began=1_000_000.0,
            overwrite=plan.overwrite,
            on_unknown_outcome=plan.on_unknown,  # type: ignore[arg-type]
            on_changed_request=plan.on_changed,  # type: ignore[arg-type]
            lookup_grace=GRACE,
            max_cost=self.scenario.max_cost,
        )

    def do(self, step: steps.Step) -> Turn:
        yield self.world.now
        self.world.now += 0.5
        name = type(step).__name__
        return (yield from getattr(self, f"_{name.lower()}")(step))

    def happens(self, step: steps.Step, *troubles: str) -> str:
        """Choose what happens at a step."""
        what = self.life.choices.take((WELL, *troubles))
        said = type(step).__name__
        if isinstance(step, steps.Write | steps.Create | steps.Close):
            said += f"({step.record.phase})"
        self.life.tell(said if what == WELL else f"{said}: {what}")
        return what

    def _read(self, step: steps.Read) -> Turn:
        yield from ()
        what = self.happens(step, "fails", "death")
        if what == "death":
            raise Death
        if what == "fails":
            self.attempt.blind = True
            raise OxenStoreUnavailable("The store did not answer.")
        return self.home.record

    def _create(self, step: steps.Create) -> Turn:
        yield from ()
        self.put(step, self.home.create, insists=False)

    def _write(self, step: steps.Write) -> Turn:
        yield from ()
        self.put(step, self.home.write, insists=step.record.phase != "intent")

    def _close(self, step: steps.Close) -> Turn:
        yield from ()
        if step.record.phase == "ended":
            for job in self.hub.jobs:
                job.gone |= job.sent_by == step.record.nonce or job.id == step.record.generation_id
        self.put(step, self.home.close, insists=True)

    def _delete(self, step: steps.Delete) -> Turn:
        yield from ()
        what = self.happens(step, "fails", "death")
        if what != "fails":
            self.home.delete()
        if what == "death":
            raise Death

    def put(self, step: Any, write: Callable[[Record], None], *, insists: bool) -> None:
        """Write a record. After the money is spent, the work goes on without: see the product's driver."""
        what = self.happens(step, "fails", "fails, but is there", "vanishes", "death")
        if what not in ("fails", "vanishes"):
            write(step.record)
            for job in self.hub.jobs:
                job.recorded |= self.home.keeps and job.id == step.record.generation_id
        if what == "death":
            raise Death
        if what.startswith("fails") and not insists:
            raise OxenStoreUnavailable("The store did not answer.")

    def _prepare(self, step: steps.Prepare) -> Turn:
        yield from ()
        what = self.happens(step, "fails", "death")
        if what == "death":
            raise Death
        if what == "fails":
            self.attempt.blind = True
            raise OxenServerError("The model could not be asked for.")
        body: dict[str, Any] = {"model": "m", "prompt": f"an {self.task.fingerprint}"}
        if self.scenario.seed == "user's":
            body["seed"] = 4711
        elif self.scenario.seed == "drawn":
            body["seed"] = self.world.draw() if self.home.keeps else 9000 + ord(self.life.name[-1])
        elif self.scenario.seed == "directory":
            body["target_directory"] = f"{self.life.name}/{self.attempt.nonce if self.home.keeps else 0}"
        return steps.Prepared(body, 1.0, self.world.now, unique=self.scenario.seed == "drawn")

    def _send(self, step: steps.Send) -> Turn:
        record = step.record
        options = TOO_LATE_SENDS if self.scenario.too_late else SENDS
        what = self.life.choices.take(options)
        self.life.tell(f"Send {what}")
        if "after a while" in what:
            yield self.world.now + LATE
        if "accepted" not in what and "answered" not in what:
            raise {
                "is lost": OxenOutcomeUnknown,
                "is refused for now": OxenRateLimited,
                "is refused": OxenInvalidRequest,
                "is not sent": OxenConnectionError,
            }[what]("The hub did not take it, or so it may seem.")
        delay = TOO_LATE if "too late" in what else LATE if "late" in what else 0.0
        job = Job(
            id=f"job-{len(self.hub.jobs) + 1}",
            owner=self.life.name,
            sent_by=self.attempt.nonce,
            clearing=self.attempt.clearing,
            policy=self.task.on_unknown_outcome,
            request=self.task.fingerprint,
            body=record.body,
            endpoint=record.endpoint,
            accepted_at=self.world.now,
            listed_at=self.world.now + delay,
        )
        self.hub.jobs.append(job)
        if record.endpoint == "queue":
            job.fate = self.life.choices.take(FATES)
            self.life.tell(f"  {job.id} {job.fate}")
        if "death" in what:
            raise Death
        if "answer lost" in what:
            raise OxenOutcomeUnknown("The answer was lost.")
        if record.endpoint == "queue":
            return steps.Accepted(generation_id=job.id)
        self.images[record.nonce] = job.id
        item = {"url": self.hub.link(job)} if self.scenario.answers == "url" else {"b64_json": True}
        return steps.Accepted(items=[item], model="m", created=int(self.world.now))

    def ask(self, step: steps.Step, *troubles: str) -> str:
        """Ask the hub something that costs nothing."""
        what = self.happens(step, "fails", "is refused", "death", *troubles)
        if what == "death":
            raise Death
        if what == "fails":
            raise OxenServerError("The hub did not answer.")
        if what == "is refused":
            raise OxenRateLimited("Too many requests.")
        return what

    def _look(self, step: steps.Look) -> Turn:
        what = self.ask(step, "others come in between", "the job ends in between")
        rows = self.hub.queue(self.world.now)
        for page in range(20):
            if what == "others come in between":
                self.hub.arrive(self.world.now)
                self.world.now += 0.01
            elif what == "the job ends in between" and page == 0:
                yield self.world.now + RUNS
            found = self.hub.history(self.world.now, page)
            rows += found
            if not found:
                break
        return [row for row in rows if row.model == step.record.body["model"]]

    def _row(self, step: steps.Row) -> Turn:
        yield from ()
        self.ask(step)
        return self.hub.row(step.generation_id, self.world.now)

    def _pause(self, step: steps.Pause) -> Turn:
        what = self.happens(step, "death")
        yield self.world.now + step.seconds
        if what == "death":
            raise Death
        return self.world.now

    def _wait(self, step: steps.Wait) -> Turn:
        record = step.record
        troubles = ["nobody answers", "death"]
        if self.scenario.cancels and not record.found:
            troubles += ["killed, cancelled", "killed, cancelling is lost", "killed, cancelled in a while"]
        what = self.happens(step, *troubles)
        if what.startswith("killed"):
            self.home.write(record.to("cancelling"))
            self.hub.job(str(record.generation_id)).unwanted = True
            if "lost" not in what:
                self.hub.cancel(str(record.generation_id), self.world.now)
            if "while" in what and self.hub.job(str(record.generation_id)).cancelled_at:
                self.hub.job(str(record.generation_id)).cancelled_at = self.world.now + 8.0
        if what.startswith("killed") or what == "death":
            raise Death
        began = self.world.now
        end = yield from self.wait(record) if what == WELL else self.nobody()
        self.life.tell(f"  it is {end.status}")
        if self.scenario.deferred and self.world.now > began:
            raise Deferred(record, end)
        return end

    def nobody(self) -> Turn:
        yield self.world.now + RUNS
        return End("unreachable", "Nobody answered.")

    def wait(self, record: Record) -> Turn:
        """Look until it has ended, by the product's own judge."""
        since = record.submitted_at or record.time
        poll = Poll(since + 10 * RUNS, since + GRACE)
        while True:
            row = self.hub.row(str(record.generation_id), self.world.now)
            if row is None:
                end = poll.failed(OxenGenerationNotFound("The hub does not know it."), self.world.now)
            else:
                end = poll.seen(row, self.world.now)
            if end is not None:
                return end
            yield self.world.now + RUNS

    def _cancel(self, step: steps.Cancel) -> Turn:
        yield from ()
        what = self.happens(step, "is lost", "death")
        self.hub.job(step.generation_id).unwanted = True
        if what != "is lost":
            self.hub.cancel(step.generation_id, self.world.now)
        if what == "death":
            raise Death

    def _keep(self, step: steps.Keep) -> Turn:
        yield from ()
        record = step.record
        troubles = ["link expired", "bad image", "cannot be fetched", "cannot be written", "death"]
        folder = self.scenario.folder
        what = self.happens(step, *troubles, *(("death after the image",) if folder else ()))
        image = self.images.get(record.nonce)
        if image is None:
            if not record.items:
                raise OxenImageError("The record names no image.")
            link = record.items[0]["url"]
            if what == "link expired":
                self.hub.dead.add(link)
            if link in self.hub.dead:
                raise OxenExpiredURL("The link is dead.")
            image = self.hub.job_of(link).id
        kind = {"bad image": OxenBadImage, "cannot be fetched": OxenDownloadError}.get(what)
        if kind:
            raise kind("No image came of it.")
        if folder:
            record = record.to(record.phase, files=["image.png"])
            self.put(steps.Write(record), self.home.write, insists=True)
            if what == "cannot be written":
                raise OxenStorageError("The store did not take it.")
            if what == "death after the image":
                raise Death
            self.life.output.commit(
                image, self.task.fingerprint, self.life.name, self.attempt.number, self.task.overwrite
            )
        self.hub.job(image).kept = True
        if what == "death":
            raise Death
        return record.to("kept", **({"items": []} if folder else {})), image
