"""Credits, ledger and queue of one hub: they change together, under one lock.

The course of the jobs is computed when somebody looks: no task runs in the background.
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
"""USD that adding floats may leave: it is nobody's debt."""


class Billing:
    """What was ordered and what was paid.

    What happens to a job next waits in a heap by its moment, so that a look costs nothing for jobs
    that nothing has happened to. Safe to use from several threads: who goes through one of the
    collections takes a copy first.

    :param now: returns unix seconds by the hub's clock.
    :ivar ledger: every billed image by its id, oldest first.
    :ivar jobs: every job ever accepted, likewise.
    :ivar active: the jobs that wait or are worked on.
    :ivar calls: the synchronous calls by the ids that the history has for them.
    :ivar ended: the jobs that are over, in the order in which they ended.
    """

    def __init__(self, settings: HubSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self.clear()

    def clear(self) -> None:
        """Forget everything; the credits stay as they are."""
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
        """Let every job get as far as it is by now, and enter what that costs or gives back; return self."""
        with self._lock:
            now = self._now()
            # Somebody may wait since before the last look, where there are more workers now.
            self._start_ready(now)
            while self._due and self._due[0][0] <= now:
                moment, _, job = heapq.heappop(self._due)
                if job.is_over:
                    continue
                if job.id not in self.jobs:
                    # A late one comes into being, where the credits still reach.
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
        :raises Refused: 402, with nothing taken.
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
        """Accept jobs: their cost is taken at once, and billed when it is known what becomes of them.

        :param number: how many jobs; each costs as much as all images that are made for it.
        :param late: seconds until they come into being, and cost something; then there are no
            jobs where the credits do not reach any more.
        :raises Refused: 402, with nothing taken.
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
        """End a job and give its credits back; return False where it was over already."""
        with self._lock:
            self.settled()
            if job.is_over:
                return False
            if job.progress.started_at is not None:
                self._running -= 1
            job.end("cancelled", self._now())
            self._close(job)
            # Who waits for a worker starts now, not when somebody looks next.
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
        """Return a charge for each seed; none is in the ledger yet."""
        price, now = catalogue.cost(entry, body), self._now()
        namespace = body.get("target_namespace") or self._settings.namespaces[0]
        pictures = (Picture.of(self._settings, entry, body, *item) for item in enumerate(seeds))
        return [Charge(now, price, namespace, picture, body) for picture in pictures]
