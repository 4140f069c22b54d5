"""Carries out what the protocol asks: the record, the hub, the output, the waiting.

What is to be done, and in which order, is decided in :mod:`~airflow_provider_oxen.jobs.resolve` and
:mod:`~airflow_provider_oxen.jobs.complete`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenGenerationNotFound,
    OxenImageError,
    OxenPollError,
    OxenStoreUnavailable,
    OxenUnavailable,
)
from airflow_provider_oxen.api.models import GenerateRequest, Generation, ImageItem
from airflow_provider_oxen.api.retries import insist
from airflow_provider_oxen.jobs import steps
from airflow_provider_oxen.jobs.homes import Home
from airflow_provider_oxen.jobs.polling import End, Poll, pace
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.links import OxenGenerationLink
from airflow_provider_oxen.operators.asking import Asking
from airflow_provider_oxen.operators.output import Output

__all__ = ["Driver"]

_SLICE = 0.2
"""Seconds of an uninterrupted pause: a signal handler only sets a flag, which is looked at in between."""

_ATTEMPTS = 4
"""Attempts at writing a record after the money was spent, some 4 s in all. Then the work goes on without: the
image is worth more than the record, and the log tells the id."""


@dataclass
class Driver(Asking):
    """One try's hands. Safe to be stopped at any instant: what counts is in the record.

    :param tell: pushes a fact to XCom.
    :param timeout: seconds from submission that a generation may take; None for ever.
    :ivar prepare: checks the request against the model and settles the seed.
    :ivar defer: leaves the worker until the generation has ended, by raising; None waits here.
    :ivar record: the last that was written.
    :ivar stopping: whether the task was told to stop.
    :ivar driving: whether a protocol is under way.
    """

    home: Home
    output: Output
    tell: Callable[[str, str], None]
    poll_interval: float
    timeout: float | None
    lookup_grace: float
    cancel_on_kill: bool
    prepare: Callable[[], steps.Prepared] = field(init=False)
    defer: Callable[[Record, float | None], None] | None = field(init=False)
    record: Record | None = field(default=None, init=False)
    stopping: bool = field(default=False, init=False)
    driving: bool = field(default=False, init=False)
    _status: str = field(default="", init=False)
    _announced: str = field(default="", init=False)
    _images: dict[str, list[ImageItem]] = field(default_factory=dict, init=False)

    @property
    def sender(self) -> Client:
        """What sends the requests that cost money."""
        return self.client

    def drive(self, protocol: Generator[steps.Step, Any, Any]) -> Any:
        """Carry out a protocol's steps and return its result."""
        self.driving = True
        try:
            step = next(protocol)
            while True:
                try:
                    outcome = self._do(step)
                except Exception as error:
                    step = protocol.throw(error)
                else:
                    step = protocol.send(outcome)
        except StopIteration as end:
            return end.value
        finally:
            self.driving = False
            if self.stopping:
                self.stop()

    def _do(self, step: steps.Step) -> Any:
        if self.stopping and isinstance(step, steps.Create | steps.Send):
            raise OxenUnavailable(
                "The task was told to stop before it sent its request. Nothing was sent by this try."
            )
        match step:
            case steps.Read():
                return self.home.read()
            case steps.Create(record):
                return self.home.create(record)
            case steps.Write(record):
                return self._write(record)
            case steps.Delete():
                return self._insist("removed", self.home.delete)
            case steps.Close(record):
                return self.close(record)
            case steps.Prepare():
                return self.prepare()
            case steps.Send(record):
                return self._send(record)
            case steps.Look(record):
                return list(self._rows(record))
            case steps.Row(generation_id):
                return self._row(generation_id)
            case steps.Pause(seconds):
                self.log.info("Looking again in %.0f s.", seconds)
                self._pause(seconds)
                return time.time()
            case steps.Wait(record):
                return self._wait(record)
            case steps.Cancel(generation_id):
                return self._cancel(self.client, generation_id)
            case steps.Keep(record):
                return self._keep(record)

    def close(self, record: Record) -> None:
        """Write the record of a job that is done in its last form."""
        self.record = record
        self._insist("closed", lambda: self.home.close(record))

    def _write(self, record: Record) -> None:
        self.record = record
        if record.phase == "intent":
            # Before the money: any doubt stops.
            self.home.write(record)
            return
        self._insist(f"written ({record.phase})", lambda: self.home.write(record))
        if record.phase == "submitted":
            self._announce(record)

    def _insist(self, done: str, write: Callable[[], None]) -> None:
        try:
            insist(_again, write)
        except OxenStoreUnavailable as error:
            job = self.record.job if self.record else "a request"
            self.log.error("The record of %s could not be %s; going on. %s", job, done, error)

    def _announce(self, record: Record) -> None:
        """Tell where the generation can be followed, once, as soon as that is known."""
        generation_id = str(record.generation_id)
        if generation_id == self._announced:
            return
        self._announced = generation_id
        link = queue.location(record.origin, generation_id, queued=record.endpoint == "queue")
        self.log.info("The hub accepted generation %s. Follow it (with the key) at %s", generation_id, link)
        try:
            self.tell("generation_id", generation_id)
            self.tell("generation_link", link)
            self.tell(OxenGenerationLink.key, link)
        except Exception as error:
            self.log.warning("The generation's id could not be pushed to XCom: %s", error)

    def _send(self, record: Record) -> steps.Accepted:
        request = GenerateRequest.model_validate(record.body)
        self.log.info(
            "Asking %s for an image of %s (seed %s) by way of %s. This costs money once it is accepted.",
            record.origin,
            request.model,
            request.seed,
            "the queue" if record.endpoint == "queue" else "the synchronous endpoint",
        )
        self.log.debug("Prompt: %s", request.prompt)
        self.record = record
        try:
            if record.endpoint == "queue":
                return self._accepted(self.sender.send(queue.enqueue(request)))
            answer = self.sender.send(calls.generate(request))
        except OxenError as error:
            if error.spent != "no":
                self.log.warning("%s Looking for it on the hub.", error)
            raise
        self._images[record.nonce] = answer.images
        # The text of an image is too much for a record.
        items = [{"url": item.url} if item.url else {"b64_json": True} for item in answer.images]
        return steps.Accepted(items=items, model=answer.model, created=answer.created)

    def _accepted(self, rows: list[Generation]) -> steps.Accepted:
        for extra in rows[1:]:
            self.log.warning(
                "The hub made a further generation, %s, that was not asked for.", extra.generation_id
            )
        return steps.Accepted(generation_id=rows[0].generation_id)

    def _wait(self, record: Record) -> End:
        since = record.submitted_at or record.time
        deadline = None if self.timeout is None else since + self.timeout
        poll = Poll(deadline, since + self.lookup_grace)
        self.record = record
        self._announce(record)
        return self._poll(str(record.generation_id), poll, deadline, record)

    def _poll(self, generation_id: str, poll: Poll, deadline: float | None, record: Record) -> End:
        # A synchronous call is in the history only, where the trigger does not look.
        defer = self.defer if record.endpoint == "queue" else None
        look = 0
        while True:
            if look or defer is None or not self._is_fresh(record):
                end = self._look(generation_id, poll)
                if end is not None:
                    return end
            if defer is not None:
                defer(record, deadline)
            self._pause(pace(self.poll_interval, look))
            look += 1

    def _look(self, generation_id: str, poll: Poll) -> End | None:
        try:
            row = self._row(generation_id)
            if row is None:
                raise OxenGenerationNotFound("The hub does not know it.")
        except OxenError as error:
            self.log.warning("Generation %s could not be looked at: %s", generation_id, error)
            return poll.failed(error, time.time())
        if row.status != self._status:
            self._status = row.status
            self.log.info("Generation %s is %s.", generation_id, row.status[:50])
        return poll.seen(row, time.time())

    def _is_fresh(self, record: Record) -> bool:
        """Whether it was submitted just now, so that there is nothing to look at yet."""
        return 0 <= time.time() - (record.submitted_at or record.time) < self.poll_interval

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stopping:
                raise OxenPollError("The task was told to stop while it waited.")
            time.sleep(min(_SLICE, left))

    def stop(self) -> None:
        """Do what a kill asks for; called from a signal handler, or when ``execution_timeout`` has struck.

        While the protocol is under way, it is not the handler that writes and asks: it may have struck in
        the middle of just that.
        """
        self.stopping = True
        record = self.record
        if self.driving or record is None or record.phase in ("kept", "ended"):
            return
        if record.generation_id is None:
            self.log.warning("The task is stopped. The next try looks up what became of %s.", record.job)
        elif self.cancel_on_kill and record.phase == "submitted" and not record.found:
            self._insist("written (cancelling)", lambda: self.home.write(record.to("cancelling")))
            with Client(self.client.settings) as client:
                self._cancel(client, record.generation_id)
        else:
            self.log.warning(
                "The task is stopped; generation %s goes on. The next try finds it.", record.generation_id
            )

    def _keep(self, record: Record) -> tuple[Record, dict[str, Any]]:
        images = self._images.get(record.nonce) or [
            ImageItem(url=item["url"]) for item in record.items if "url" in item
        ]
        if not images:
            raise OxenImageError(f"The record of {record.job} names no image. It may have been paid for.")
        names = list(record.files)

        def claim(name: str) -> None:
            if name not in names:
                names.append(name)
                self._write(record.to(record.phase, files=list(names)))

        self.record = record
        return self.output.keep(self.client, record, images, cost=self._cost(record), claim=claim)


def _again() -> Any:
    import tenacity

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=0.5),
        reraise=True,
    )
