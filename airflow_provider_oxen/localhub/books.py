"""Credits, ledger and queue of one hub: they change together, under one lock."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.job import Fate, Job
from airflow_provider_oxen.localhub.ledger import Billed, Damage, Ledger
from airflow_provider_oxen.localhub.picture import Picture, number_of_images
from airflow_provider_oxen.localhub.problems import Refused
from airflow_provider_oxen.localhub.queue import Queue
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["Books"]

_LARGEST_SEED = 2**31 - 1


class Books:
    """What was ordered and what was paid. Everything told is up to date by the hub's clock.

    Safe to use from several threads.

    :param now: tells unix seconds by the hub's clock.
    """

    def __init__(self, settings: HubSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._lock = threading.RLock()
        self._ledger = Ledger()
        self._queue = Queue()
        self._late: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._ended: list[Job] = []

    @property
    def ledger(self) -> Ledger:
        self.settle()
        return self._ledger

    def clear(self) -> None:
        """Forget everything; the credits stay as they are."""
        with self._lock:
            self._ledger.clear()
            self._queue = Queue()
            self._late.clear()
            self._ended.clear()

    def settle(self) -> None:
        """Let every job get as far as it is by now, and enter what that costs or gives back."""
        with self._lock:
            now = self._now()
            while self._late and self._late[0][0] <= now:
                _, _, job = heapq.heappop(self._late)
                if job.billed.cost <= self._settings.credits + 1e-9:
                    self._accept(job)
            for job in self._queue.settle(now, self._settings.workers):
                self._close(job)

    def need_credits(self, usd: float) -> None:
        """:raises Refused: 402."""
        with self._lock:
            self.settle()
            if usd > self._settings.credits + 1e-9:
                raise Refused(402, "You have run out of credits.", shape="typed")

    def bill(self, entry: Mapping[str, Any], body: dict[str, Any]) -> list[Billed]:
        """Accept a synchronous call: take its cost and enter its images into the ledger.

        :param entry: the model.
        :raises Refused: 402, with nothing taken.
        """
        with self._lock:
            number = number_of_images(entry, body)
            self.need_credits(models.cost(entry, body) * number)
            billed = self._entries(entry, body, [self._seed(body)] * number)
            for item in billed:
                self._take(item.cost)
                call = Job(body, item, item.time)
                call.start(item.time)
                call.end("succeeded", item.time)
                self._queue.add_call(call)
            self._ledger.add(billed)
            return billed

    def enqueue(
        self,
        entry: Mapping[str, Any],
        body: dict[str, Any],
        number: int,
        fate: Fate,
        *,
        damage: Damage | None = None,
        late: float | None = None,
    ) -> list[Job]:
        """Accept jobs: their cost is taken at once, and billed when it is known what becomes of them.

        :param number: how many jobs.
        :param damage: what is wrong with the bytes of their images.
        :param late: seconds until they come into being, and cost something; then there are no
            jobs where the credits do not reach any more.
        :raises Refused: 402, with nothing taken.
        """
        with self._lock:
            if late is None:
                self.need_credits(models.cost(entry, body) * number)
            settings, jobs = self._settings, []
            for billed in self._entries(entry, body, [self._seed(body) for _ in range(number)]):
                billed.route, billed.damage = "queue", damage
                job = Job(
                    body,
                    billed,
                    billed.time + (late or 0.0),
                    settings.queue_wait,
                    settings.latency,
                    fate,
                    settings.queue_bills == "enqueue",
                )
                billed.time, billed.generation_id = job.enqueued_at, job.id
                jobs.append(job)
                if late is None:
                    self._accept(job)
                else:
                    heapq.heappush(self._late, (job.enqueued_at, next(self._numbers), job))
            return jobs

    def cancel(self, job: Job) -> bool:
        """End a job and give its credits back; return False where it was over already."""
        with self._lock:
            self.settle()
            if job.is_over:
                return False
            self._queue.cancel(job, self._now())
            self._close(job)
            # Who waits for a worker starts now, not when somebody looks next.
            self.settle()
            return True

    def find(self, id: str) -> Job | None:
        """Return the job of that id, whatever has become of it."""
        with self._lock:
            self.settle()
            return self._queue.find(id)

    def find_call(self, id: str) -> Job | None:
        """Return the synchronous call that the history knows by that id."""
        return self._queue.find_call(id)

    def jobs(self) -> list[Job]:
        """Return every job ever accepted, oldest first."""
        with self._lock:
            self.settle()
            return self._queue.jobs()

    def active(self) -> list[Job]:
        """Return the jobs that wait or are worked on, oldest first."""
        with self._lock:
            self.settle()
            return self._queue.active()

    def number_ended(self) -> int:
        """Return how many jobs of the queue have ended so far."""
        with self._lock:
            self.settle()
            return len(self._ended)

    def ended(self, after: int) -> list[Job]:
        """Return the jobs of the queue that have ended, in that order, without the first ``after``."""
        with self._lock:
            self.settle()
            return self._ended[after:]

    def calls(self) -> list[Job]:
        """Return the synchronous calls as the history tells them, oldest first."""
        with self._lock:
            return self._queue.calls()

    def _accept(self, job: Job) -> None:
        self._take(job.billed.cost)
        self._queue.add(job)
        if job.prepaid:
            self._ledger.add([job.billed])

    def _close(self, job: Job) -> None:
        self._ended.append(job)
        if job.prepaid:
            return
        if job.progress.cost is None:
            self._take(-job.billed.cost)
        else:
            job.billed.time = job.progress.completed_at or job.billed.time
            self._ledger.add([job.billed])

    def _take(self, usd: float) -> None:
        self._settings.credits = max(0.0, round(self._settings.credits - usd, 6))

    def _seed(self, body: Mapping[str, Any]) -> int:
        given = body.get("seed")
        return given if type(given) is int else random.randint(0, _LARGEST_SEED)

    def _entries(self, entry: Mapping[str, Any], body: dict[str, Any], seeds: list[int]) -> list[Billed]:
        """Return an entry for each seed; none is in the ledger yet."""
        settings, price, now = self._settings, models.cost(entry, body), self._now()
        namespace = body.get("target_namespace") or settings.namespaces[0]
        least = settings.ready_made_bytes if settings.ready_made else None
        pictures = (
            Picture.of(entry, body, seed, index, settings.default_size, least)
            for index, seed in enumerate(seeds)
        )
        return [Billed(now, price, namespace, picture, body) for picture in pictures]
