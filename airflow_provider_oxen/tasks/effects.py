"""What a try at one image does in its worker: the record, the hub, the output, the waiting.

:mod:`~airflow_provider_oxen.jobs.resolve` and :mod:`~airflow_provider_oxen.jobs.complete` decide what to do,
and in which order.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.deadline import Deadline, for_look
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenGenerationNotFound,
    OxenImageError,
    OxenPollError,
    OxenUnavailable,
)
from airflow_provider_oxen.api.models import Generation, ImageItem
from airflow_provider_oxen.api.statuses import in_words
from airflow_provider_oxen.jobs.effects import Accepted, End, Prepared, Remade
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.sealed import SEALED, unseal
from airflow_provider_oxen.jobs.stores import RecordStore
from airflow_provider_oxen.tasks.arguments import TaskArguments
from airflow_provider_oxen.tasks.generations import Costs, cancel, candidates, find_row
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.recording import JobRecorder
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.runtime import BlockingRuntime, Runtime
from airflow_provider_oxen.tasks.sending import Sender
from airflow_provider_oxen.tasks.xcoms import TaskXComs
from airflow_provider_oxen.waiting.polling import Poll, pace

__all__ = ["WorkerEffects"]

T = TypeVar("T")

_KILL = 30.0
"""Seconds that cancelling may take when the task is killed; Airflow ends its process after a minute."""

_SLICE = 0.2
"""Seconds of an uninterrupted pause: a signal handler only sets a flag, which is checked in between."""


@dataclass
class WorkerEffects:
    """:class:`~.jobs.effects.Effects` that never suspend.

    They can be stopped at any instant: the record has everything that matters.

    :param xcoms: pushes where the generation can be followed; None pushes nothing.
    :param builds: checks the request against the model and derives the seed from the given counter.
    :param rebuilds: returns only that request.
    :param closes_kept: also closes the record when the images are kept, which saves a hop to a thread;
        :meth:`close` then finds it done.
    :param defers: defers the task until the generation has ended, by raising; None waits here.
    :ivar stopping: whether the task was told to stop.
    :ivar driving: whether a protocol is running.
    """

    runtime: Runtime
    log: Any
    store: RecordStore
    output: Output
    costs: Costs
    builds: Callable[[int], Awaitable[Prepared]]
    rebuilds: Callable[[int], Awaitable[Remade]]
    arguments: TaskArguments
    running: Running
    cancel_on_kill: bool = False
    closes_kept: bool = False
    defers: Callable[[Record, float | None], None] | None = None
    xcoms: TaskXComs | None = None
    recorder: JobRecorder = field(init=False)
    sender: Sender = field(init=False)
    stopping: bool = field(default=False, init=False)
    driving: bool = field(default=False, init=False)
    _status: str = field(default="", init=False)
    _announced: str = field(default="", init=False)
    _closed: Record | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.recorder = JobRecorder(self.store, self.running, self.log)
        self.sender = Sender(self.runtime, self.log, self.output, self.recorder)

    def drive(self, protocol: Coroutine[Any, Any, T]) -> T:
        """Run a protocol; afterwards do what a kill has asked for meanwhile."""
        self.driving = True
        try:
            return unsuspended(protocol)
        finally:
            self.driving = False
            if self.stopping:
                self.stop()

    def _may_spend(self) -> None:
        if self.stopping:
            raise OxenUnavailable("The task was stopped before it sent its request.")

    async def prepare(self, counter: int) -> Prepared:
        return await self.builds(counter)

    async def remake(self, counter: int) -> Remade:
        return await self.rebuilds(counter)

    async def close(self, record: Record) -> None:
        if self.store.keeps and (self._closed is None or self._closed != record):
            await self.runtime.blocking(lambda: self.recorder.close(record))

    async def write(self, record: Record) -> None:
        if not self.store.keeps:
            return
        if record.phase == "intent":
            self._may_spend()
        await self.runtime.blocking(lambda: self._write(record))

    def _write(self, record: Record) -> None:
        self.recorder.write(record)
        if record.phase == "submitted":
            self._announce(record)

    def _announce(self, record: Record) -> None:
        """Say once, as soon as it is known, where the generation can be followed."""
        generation_id = str(record.generation_id)
        if generation_id == self._announced:
            return
        self._announced = generation_id
        link = queue.location(record.origin, generation_id, queued=record.endpoint == "queue")
        self.log.info("The hub accepted generation %s. Follow it (with the key) at %s", generation_id, link)
        if self.xcoms is not None:
            self.xcoms.push_generation(generation_id, link)

    async def send(self, record: Record) -> Accepted:
        self._may_spend()
        return await self.sender.send(record)

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        self.log.info("Looking for %s in the hub's queue and history.", record.job)
        bodies = [record.body, *(other.body for other in others)]
        return await candidates(self.runtime, record.namespace, bodies)

    async def row(self, generation_id: str) -> Generation | None:
        return await find_row(self.runtime, generation_id)

    async def cancel(self, generation_id: str) -> None:
        await cancel(self.runtime, generation_id, self.log)

    async def wait(self, record: Record) -> End:
        arguments, since = self.arguments, record.submitted_at or record.time
        deadline = None if arguments.timeout is None else record.since + arguments.timeout
        poll = Poll(deadline, since + arguments.lookup_grace)
        self.recorder.record = record
        self._announce(record)
        # A synchronous call is only in the history, which the trigger does not read.
        defer = self.defers if record.endpoint == "queue" else None
        look = 0
        while True:
            # There is nothing to look at yet if it was submitted just now.
            is_fresh = 0 <= time.time() - since < arguments.poll_interval
            if look or defer is None or not is_fresh:
                # A job that is already late gets one look in any case.
                is_late = not look and deadline is not None and deadline <= time.time()
                end = await self._look(str(record.generation_id), poll, None if is_late else deadline)
                if end is not None:
                    return end
            if defer is not None:
                defer(record, deadline)
            seconds = pace(arguments.poll_interval, look)
            await self._pause(
                seconds if deadline is None else min(seconds, max(0.01, deadline - time.time()))
            )
            look += 1

    async def _look(self, generation_id: str, poll: Poll, deadline: float | None) -> End | None:
        try:
            async with self.runtime.within(for_look(deadline)):
                row = await self.row(generation_id)
            if row is None:
                raise OxenGenerationNotFound("The hub does not know it.")
        except OxenError as error:
            self.log.warning(
                "The status of generation %s could not be read: %s", generation_id, error.message
            )
            return poll.failed(error, time.time())
        if row.status != self._status:
            self._status = row.status
            self.log.info("Generation %s %s.", generation_id, in_words(row.status))
        return poll.seen(row, time.time())

    async def pause(self, seconds: float) -> float:
        self.log.info("Looking again in %.0f s.", seconds)
        await self._pause(seconds)
        return time.time()

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        self.log.warning("%s Asking for it again in %.0f s.", error.message, seconds)
        await self._pause(seconds)
        return True

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stopping:
                raise OxenPollError("The task was stopped while it waited.")
            await self.runtime.sleep(min(_SLICE, left))

    def stop(self) -> None:
        """Do what a kill asks for. Called from a signal handler, or after ``execution_timeout``.

        While the protocol runs, the handler itself does not write or send requests: it may have interrupted
        exactly that.
        """
        self.stopping = True
        record = self.recorder.record
        if self.driving or record is None or record.phase in ("kept", "ended", "not_sent"):
            return
        if record.generation_id is None:
            self.log.warning("The task is stopped. The next try looks up what became of %s.", record.job)
        elif self.cancel_on_kill and record.phase == "submitted" and record.may_be_cancelled:
            self.recorder.call_with_retries(
                "written (cancelling)", lambda: self.store.write(record.to("cancelling"))
            )
            # Use a separate connection: the handler may have interrupted a request on the other one.
            with Client(self.runtime.settings) as client, Deadline(_KILL):
                unsuspended(cancel(BlockingRuntime(client), record.generation_id, self.log))
        else:
            self.log.warning(
                "The task is stopped; generation %s continues. The next try finds it.", record.generation_id
            )

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        key = self.runtime.settings.api_key
        images = self.sender.images.get(record.nonce) or [
            ImageItem(url=link) for item in record.items if (link := unseal(item, key))
        ]
        if not images and any(SEALED in item for item in record.items):
            raise OxenImageError(
                f"The link to the image of {record.job} was encrypted with the API key that the connection "
                "had then, and it has another now. There is no other link to it.",
                remedy="Put the former key back and clear the task to fetch it without paying again.",
            )
        if not images:
            raise OxenImageError(
                f"The record of {record.job} names no image.", money="It may have been paid for."
            )
        record = self.recorder.claimed(record)
        names = list(record.files)

        def claim(name: str) -> None:
            if name not in names:
                names.append(name)
                self._write(record.to(record.phase, files=list(names)))

        self.recorder.record = record
        links = [image.url for image in images if image.url and not image.b64_json]
        async with (
            self.runtime.beside(self.costs.cost(record)) as coming,
            self.runtime.downloads(links, self.output.max_bytes) as download,
        ):
            cost = await coming
            return await self.runtime.blocking(
                lambda: self._keep(record, images, cost=cost, download=download, claim=claim, same=same)
            )

    def _keep(self, record: Record, images: Sequence[ImageItem], **how: Any) -> tuple[Record, dict[str, Any]]:
        kept, result = self.output.keep(self.runtime.settings, record, images, **how)
        if self.closes_kept:
            self.recorder.close(kept)
            self._closed = kept
        return kept, result
