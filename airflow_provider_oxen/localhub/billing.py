"""Credits, ledger and queue of one hub: they change together, under one lock.

The progress of the jobs is computed when it is read: no task runs in the background.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_oxen.localhub import catalogue
from airflow_provider_oxen.localhub.answers import Refused
from airflow_provider_oxen.localhub.jobs import Charge, Job, PlannedOutcome
from airflow_provider_oxen.localhub.pictures import Picture, number_of_images
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["Billing"]

_LARGEST_SEED = 2**31 - 1

_DUST = 1e-9
"""USD that may be left from adding floats; it is no debt."""


class Billing:
    """What was ordered and what was paid.

    The next change of each job waits in a heap, sorted by time, so that a read costs nothing for jobs without
    a change. Thread-safe; to iterate over one of the collections, copy it first.

    :param now: returns unix seconds by the hub's clock.
    :ivar ledger: every billed image by its id, oldest first.
    :ivar jobs: every job ever accepted, likewise.
    :ivar active: the jobs that wait or run.
    :ivar calls: the synchronous calls by their ids in the history.
    :ivar ended: the jobs that have ended, in the order of their ends.
    """

    def __init__(self, settings: HubSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self.clear()

    def clear(self) -> None:
        """Forget everything except the credits."""
        with self._lock:
            self.ledger: dict[str, Charge] = {}
            self.jobs: dict[str, Job] = {}
            self.active: dict[str, Job] = {}
            self.calls: dict[str, Job] = {}
            self.ended: list[Job] = []
            self._due: list[tuple[float, int, Job]] = []
            self._ready: deque[Job] = deque()
            self._running = 0

    def settled(self) -> Billing:
        """Bring every job up to date, book its costs and refunds, and return self."""
        with self._lock:
            now = self._now()
            # If there are more workers now, a job may have been waiting since before the last look.
            self._start_ready(now)
            while self._due and self._due[0][0] <= now:
                moment, _, job = heapq.heappop(self._due)
                if job.is_over:
                    continue
                if job.id not in self.jobs:
                    # A late job is created now, if the credits are still enough.
                    if job.charge.cost <= self._settings.credits + _DUST:
                        self._accept(job)
                elif job.progress.started_at is None:
                    self._ready.append(job)
                elif job.outcome.end:
                    self._running -= 1
                    job.end(job.outcome.end, moment)
                    self._close(job)
                self._start_ready(moment)
        return self

    def need_credits(self, usd: float) -> None:
        """:raises Refused: 402."""
        with self._lock:
            self.settled()
            if usd > self._settings.credits + _DUST:
                raise Refused(402, "You have run out of credits.", shape="typed")

    def bill(self, entry: Mapping[str, Any], body: dict[str, Any]) -> list[Charge]:
        """Accept a synchronous call: take its cost and enter its images into the ledger.

        :param entry: the model.
        :raises Refused: 402, without taking anything.
        """
        with self._lock:
            number = number_of_images(entry, body)
            self.need_credits(catalogue.cost(entry, body) * number)
            charges = self._charges_for(entry, body, [self._seed(body)] * number)
            for charge in charges:
                self._take(charge.cost)
                self.ledger[charge.id] = charge
                call = Job(body, charge, charge.time)
                call.start(charge.time)
                call.end("succeeded", charge.time)
                self.calls[call.id] = call
            return charges

    def enqueue(
        self,
        entry: Mapping[str, Any],
        body: dict[str, Any],
        number: int,
        outcome: PlannedOutcome,
        late: float | None = None,
    ) -> list[Job]:
        """Accept jobs: their cost is taken at once, and billed when their outcome is known.

        :param number: how many jobs; each costs as much as all images that are made for it.
        :param late: seconds until they are created, and cost something; if the credits are not enough by
            then, there are no jobs.
        :raises Refused: 402, without taking anything.
        """
        with self._lock:
            # A job has one result, however many images the model makes for it.
            made = number_of_images(entry, body)
            if late is None:
                self.need_credits(catalogue.cost(entry, body) * made * number)
            settings, jobs = self._settings, []
            prepaid = settings.queue_bills == "enqueue"
            for charge in self._charges_for(entry, body, [self._seed(body) for _ in range(number)]):
                charge.route, charge.cost = "queue", round(charge.cost * made, 6)
                charge.time += late or 0.0
                job = Job(body, charge, charge.time, settings.queue_wait, settings.latency, outcome, prepaid)
                charge.generation_id = job.id
                jobs.append(job)
                if late is None:
                    self._accept(job)
                else:
                    self._schedule(job, job.enqueued_at)
            return jobs

    def cancel(self, job: Job) -> bool:
        """End a job and refund its credits; return False if it has already ended."""
        with self._lock:
            self.settled()
            if job.is_over:
                return False
            if job.progress.started_at is not None:
                self._running -= 1
            job.end("cancelled", self._now())
            self._close(job)
            # A job that waits for a worker starts now, and not at the next look.
            self.settled()
            return True

    def spent(self) -> float:
        """Return the sum of the ledger in USD."""
        return round(sum(charge.cost for charge in list(self.settled().ledger.values())), 6)

    def _accept(self, job: Job) -> None:
        self._take(job.charge.cost)
        self.jobs[job.id] = self.active[job.id] = job
        self._schedule(job, job.enqueued_at + job.queue_wait)
        if job.prepaid:
            self.ledger[job.charge.id] = job.charge

    def _schedule(self, job: Job, moment: float) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), job))

    def _start_ready(self, moment: float) -> None:
        workers = self._settings.workers
        while self._ready and (workers is None or self._running < workers):
            job = self._ready.popleft()
            if not job.is_over:
                self._running += 1
                job.start(moment)
                if job.outcome.end:
                    self._schedule(job, moment + job.latency)

    def _close(self, job: Job) -> None:
        del self.active[job.id]
        self.ended.append(job)
        if job.prepaid:
            return
        if job.progress.cost is None:
            self._take(-job.charge.cost)
        else:
            job.charge.time = job.progress.completed_at or job.charge.time
            self.ledger[job.charge.id] = job.charge

    def _take(self, usd: float) -> None:
        self._settings.credits = max(0.0, round(self._settings.credits - usd, 6))

    def _seed(self, body: Mapping[str, Any]) -> int:
        given = body.get("seed")
        return given if type(given) is int else random.randint(0, _LARGEST_SEED)

    def _charges_for(self, entry: Mapping[str, Any], body: dict[str, Any], seeds: list[int]) -> list[Charge]:
        """Return a charge for each seed; they are not in the ledger yet."""
        price, now = catalogue.cost(entry, body), self._now()
        namespace = body.get("target_namespace") or self._settings.namespaces[0]
        pictures = (Picture.of(self._settings, entry, body, *item) for item in enumerate(seeds))
        return [Charge(now, price, namespace, picture, body) for picture in pictures]
