"""What a try can do in the simulated world, as far as nothing comes in between.

Death before an effect is death after the one before it, so each has one death: when it is done, and before
anybody has seen its result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenConnectionError,
    OxenDownloadError,
    OxenError,
    OxenExpiredURL,
    OxenGenerationNotFound,
    OxenImageError,
    OxenInvalidRequest,
    OxenOutcomeUnknown,
    OxenOvertaken,
    OxenRateLimited,
    OxenServerError,
    OxenStorageError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs import evidence
from airflow_provider_oxen.jobs.effects import Accepted, End, Prepared, Remade
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task
from airflow_provider_oxen.waiting.polling import Poll

from .choices import WELL
from .scenario import Attempt
from .world import GRACE, LATE, RUNS, TOO_LATE, Job

if TYPE_CHECKING:
    from .play import Life

__all__ = ["FREEZE", "At", "Death", "Deferred", "Hands", "Turn", "effect"]

P = ParamSpec("P")
T = TypeVar("T")

Turn = Coroutine[float, None, T]
"""What a task does; where it awaits :class:`At`, it tells from when on it can go on."""


class At:
    """A time from which a task can go on, in unix seconds."""

    def __init__(self, when: float) -> None:
        self.when = when

    def __await__(self) -> Generator[float, None, None]:
        yield self.when


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


FREEZE = -1.0
"""What a turn yields when its process is stopped."""


class Deferred(BaseException):
    """The process has left its worker; another goes on when the job has ended."""

    def __init__(self, record: Record, end: End) -> None:
        self.record, self.end = record, end


def effect(act: Callable[P, Awaitable[T]]) -> Callable[P, Turn[T]]:
    """Let time pass and others act before an effect, and its process perhaps be stopped after it."""

    @wraps(act)
    async def acting(*arguments: P.args, **options: P.kwargs) -> T:
        hands: Any = arguments[0]
        await At(hands.world.now)
        hands.world.now += 0.5
        hands.life.wakes()
        done = await act(*arguments, **options)
        if hands.may_freeze and hands.life.choices.take((WELL, "freezes")) != WELL:
            hands.life.tell(f"freezes after {act.__name__}")
            await At(FREEZE)
        return done

    return acting


class Hands:
    """One try's access to the world: :class:`~.jobs.effects.Effects`, and reading and creating the record."""

    def __init__(self, life: Life, attempt: Attempt) -> None:
        self.life, self.attempt = life, attempt
        self.world, self.hub, self.home = life.world, life.world.hub, life.home
        self.scenario = life.scenario
        self.images: dict[str, str] = {}
        self.resumed = 0
        self.seen: Record | None = None
        plan = attempt.plan
        self.task = Task(
            identity=life.name,
            fingerprint=plan.request,
            origin="https://hub.example",
            namespace=None,
            endpoint=self.scenario.endpoint,  # type: ignore[arg-type]
            nonce=attempt.nonce,
            try_number=attempt.number,
            clear_count=attempt.clearing,
            clear_number=attempt.clearing,
            has_store=self.home.keeps,
            unsure=attempt.number > 1,
            max_retries=1,
            began=1_000_000.0,
            overwrite=plan.overwrite,
            cancel_on_timeout=self.scenario.cancels,
            on_unknown_outcome=plan.on_unknown,  # type: ignore[arg-type]
            on_changed_request=plan.on_changed,  # type: ignore[arg-type]
            lookup_grace=GRACE,
            max_cost=self.scenario.max_cost,
            asked={
                "model": "m",
                "prompt": f"an {plan.request}",
                **({"seed": 4711} if self.scenario.seed == "user's" else {}),
            },
        )

    @property
    def may_freeze(self) -> bool:
        return self.scenario.freezes and not self.attempt.frozen and not self.life.frozen

    @property
    def overtaken(self) -> bool:
        """Whether Airflow has taken this try for dead."""
        return self.attempt.frozen

    def happens(self, where: str, *troubles: str) -> str:
        """Choose what happens at an effect."""
        what = self.life.choices.take((WELL, *troubles))
        self.life.tell(where if what == WELL else f"{where}: {what}")
        return what

    @effect
    async def read(self) -> Record | None:
        what = self.happens("read", "fails", "death")
        if what == "death":
            raise Death
        if what == "fails":
            self.attempt.blind = True
            raise OxenStoreUnavailable("The store did not answer.")
        return self.there()

    def there(self) -> Record | None:
        self.seen = self.home.places.get("file")
        return self.home.read(overtaken=self.overtaken)

    @effect
    async def create(self, record: Record) -> None:
        self.put("create", record, lambda record, **how: self.home.create(record), insists=False)

    async def write(self, record: Record) -> None:
        if self.home.keeps:
            await self.written(record)

    @effect
    async def written(self, record: Record) -> None:
        self.put("write", record, self.home.write, insists=record.phase != "intent")

    async def close(self, record: Record) -> None:
        if self.home.keeps:
            await self.closed(record)

    @effect
    async def closed(self, record: Record) -> None:
        if record.phase == "ended":
            for job in self.hub.jobs:
                mine = job.nonce == record.nonce or job.id == record.generation_id
                # What was only not there yet is not gone, whatever the record says.
                job.gone |= mine and job.id in self.hub.bad
        self.put("close", record, self.home.close, insists=True)

    def put(self, where: str, record: Record, write: Callable[..., None], *, insists: bool) -> None:
        """Write a record. After the money is spent, the work goes on without: see the product's effects."""
        what = self.happens(f"{where}({record.phase})", "fails", "fails, but is there", "vanishes", "death")
        taking_back = record.phase == "not_sent" and where != "create"
        if taking_back and self.scenario.asked and self.overtaken:
            raise OxenOvertaken("Airflow no longer runs this try.")
        if what not in ("fails", "vanishes"):
            try:
                write(record, seen=self.seen, overtaken=self.overtaken)
                self.seen = self.home.places.get("file")
                for job in self.hub.jobs:
                    mine = self.home.keeps and not self.overtaken
                    job.recorded |= mine and job.id == record.generation_id
                    job.vain |= record.is_in_vain and job.nonce == record.nonce
            except OxenOvertaken:
                if taking_back or not insists:
                    raise
            except OxenStoreUnavailable:
                if not insists:
                    raise
        if what == "death":
            raise Death
        if what.startswith("fails") and not insists:
            raise OxenStoreUnavailable("The store did not answer.")

    @effect
    async def prepare(self, counter: int) -> Prepared:
        what = self.happens("prepare", "fails", "death")
        if what == "death":
            raise Death
        if what == "fails":
            self.attempt.blind = True
            raise OxenServerError("The model could not be asked for.")
        made = self.made(counter)
        return Prepared(made.body, 1.0, self.world.now, made.unique)

    @effect
    async def remake(self, counter: int) -> Remade:
        what = self.happens("remake", "fails", "death")
        if what == "death":
            raise Death
        if what == "fails":
            raise OxenServerError("The model could not be asked for.")
        return self.made(counter)

    def made(self, counter: int) -> Remade:
        """Return what the arguments make."""
        body: dict[str, Any] = dict(self.task.asked or {})
        if self.scenario.seed == "drawn":
            body["seed"] = 9000 + 10 * ord(self.life.name[-1]) + counter
        elif self.scenario.seed == "directory":
            body["target_directory"] = f"airflow/{self.life.name}/{counter}"
        return Remade(body, unique=self.scenario.seed == "drawn")

    @effect
    async def send(self, record: Record) -> Accepted:
        self.look_last(record)
        options = TOO_LATE_SENDS if self.scenario.too_late else SENDS
        what = self.life.choices.take(options)
        self.life.tell(f"send {what}")
        if "after a while" in what:
            await At(self.world.now + LATE)
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
            nonce=record.nonce,
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
            return Accepted(generation_id=job.id)
        self.images[record.nonce] = job.id
        item = {"url": self.hub.link(job)} if self.scenario.answers == "url" else {"b64_json": True}
        return Accepted(items=[item], model="m", created=int(self.world.now))

    def look_last(self, record: Record) -> None:
        """See that nobody else is at work. What may come between this and the first byte is confessed."""
        found = self.there()
        if self.scenario.asked and self.overtaken:
            raise OxenOvertaken("Airflow no longer runs this try.")
        if self.home.keeps and (doubt := evidence.send_conflict(record, found)):
            raise OxenOvertaken(doubt)

    def ask(self, where: str, *troubles: str) -> str:
        """Ask the hub something that costs nothing."""
        what = self.happens(where, "fails", "is refused", "death", *troubles)
        if what == "death":
            raise Death
        if what == "fails":
            raise OxenServerError("The hub did not answer.")
        if what == "is refused":
            raise OxenRateLimited("Too many requests.")
        return what

    @effect
    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        what = self.ask("rows", "others come in between", "the job ends in between")
        rows = self.hub.queue(self.world.now)
        for page in range(20):
            if what == "others come in between":
                self.hub.arrive(self.world.now)
                self.world.now += 0.01
            elif what == "the job ends in between" and page == 0:
                await At(self.world.now + RUNS)
            found = self.hub.history(self.world.now, page)
            rows += found
            if not found:
                break
        return [row for row in rows if row.model == record.body["model"]]

    @effect
    async def row(self, generation_id: str) -> Generation | None:
        self.ask("row")
        return self.hub.row(generation_id, self.world.now)

    @effect
    async def pause(self, seconds: float) -> float:
        what = self.happens("pause", "death")
        await At(self.world.now + seconds)
        if what == "death":
            raise Death
        return self.world.now

    @effect
    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        what = self.happens("linger", "no patience", "death")
        if what == "death":
            raise Death
        if what == "no patience":
            return False
        await At(self.world.now + seconds)
        return True

    @effect
    async def wait(self, record: Record) -> End:
        troubles = ["nobody answers", "death"]
        if self.scenario.cancels and record.may_be_cancelled:
            troubles += ["killed, cancelled", "killed, cancelling is lost", "killed, cancelled in a while"]
        what = self.happens("wait", *troubles)
        if what.startswith("killed"):
            with contextlib.suppress(OxenError):
                self.home.write(record.to("cancelling"), overtaken=self.overtaken)
            self.hub.job(str(record.generation_id)).unwanted = True
            if "lost" not in what:
                self.hub.cancel(str(record.generation_id), self.world.now)
            if "while" in what and self.hub.job(str(record.generation_id)).cancelled_at:
                self.hub.job(str(record.generation_id)).cancelled_at = self.world.now + 8.0
        if what.startswith("killed") or what == "death":
            raise Death
        began = self.world.now
        end = await (self.ended(record) if what == WELL else self.nobody())
        self.life.tell(f"  it is {end.status}")
        if self.scenario.deferred and self.world.now > began:
            raise Deferred(record, end)
        return end

    async def nobody(self) -> End:
        await At(self.world.now + RUNS)
        return End("unreachable", "Nobody answered.")

    async def ended(self, record: Record) -> End:
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
            await At(self.world.now + RUNS)

    def bad(self, image: str, record: Record, same: str | None, what: str) -> OxenBadImage:
        """Return the error of bytes that are no image: damaged for ever, or something in between."""
        error = OxenBadImage("No image came of it.")
        error.damaged = what != "page"
        error.sha256 = f"{what} {image}" if what == "page" else image
        error.not_yet = record.can_be_fetched and error.sha256 != same
        return error

    @effect
    async def cancel(self, generation_id: str) -> None:
        what = self.happens("cancel", "is lost", "death")
        self.hub.job(generation_id).unwanted = True
        if what != "is lost":
            self.hub.cancel(generation_id, self.world.now)
        if what == "death":
            raise Death

    @effect
    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        troubles = ["link expired", "page", "bad image", "cannot be fetched", "cannot be written", "death"]
        folder = self.scenario.folder
        what = self.happens("keep", *troubles, *(("death after the image",) if folder else ()))
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
        if what == "bad image":
            self.hub.bad.add(image)
        if image in self.hub.bad or what == "page":
            raise self.bad(image, record, same, what)
        if what == "cannot be fetched":
            raise OxenDownloadError("No image came of it.")
        if folder:
            record = record.to(record.phase, files=["image.png"])
            self.put("write", record, self.home.write, insists=True)
            if what == "cannot be written":
                raise OxenStorageError("The store did not take it.")
            if what == "death after the image":
                raise Death
            self.life.output.commit(image, record, self.task.overwrite)
        self.hub.job(image).kept = True
        if what == "death":
            raise Death
        return record.to("kept", **({"items": []} if folder else {})), {"job": image}
