"""The course of all jobs in time, computed when somebody looks: no task runs in the background."""

from __future__ import annotations

import heapq
import itertools
from collections import deque

from airflow_provider_oxen.localhub.job import Job

__all__ = ["Queue"]


class Queue:
    """Jobs in the order they came. It is told the time, handles no money and locks nothing.

    What happens to a job next waits in a heap by its moment, so that a look costs nothing for jobs
    that nothing has happened to.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._active: dict[str, Job] = {}
        self._calls: dict[str, Job] = {}
        self._next: list[tuple[float, int, Job]] = []
        self._ready: deque[Job] = deque()
        self._running = 0
        self._numbers = itertools.count()

    def add(self, job: Job) -> None:
        """Let a job wait."""
        self._jobs[job.id] = self._active[job.id] = job
        self._schedule(job, job.enqueued_at + job.queue_wait)

    def add_call(self, job: Job) -> None:
        """Remember a synchronous call, which was never in the queue, for the history."""
        self._calls[job.id] = job

    def settle(self, now: float, workers: int | None) -> list[Job]:
        """Let everything happen that is due, in its order, and return the jobs that ended.

        :param workers: how many are worked on at once, or None for any number.
        """
        ended = []
        # Somebody may wait since before the last look, where there are more workers now.
        self._start(now, workers)
        while self._next and self._next[0][0] <= now:
            moment, _, job = heapq.heappop(self._next)
            if job.is_over:
                continue
            if job.progress.started_at is None:
                self._ready.append(job)
            elif job.fate.end:
                self._running -= 1
                job.end(job.fate.end, moment)
                del self._active[job.id]
                ended.append(job)
            self._start(moment, workers)
        return ended

    def cancel(self, job: Job, now: float) -> None:
        """End a job that is not over."""
        if job.progress.started_at is not None:
            self._running -= 1
        job.end("cancelled", now)
        del self._active[job.id]

    def find(self, id: str) -> Job | None:
        """Return the job of that id, whatever has become of it."""
        return self._jobs.get(id)

    def find_call(self, id: str) -> Job | None:
        """Return the synchronous call of that id."""
        return self._calls.get(id)

    def jobs(self) -> list[Job]:
        """Return every job there ever was."""
        return list(self._jobs.values())

    def active(self) -> list[Job]:
        """Return the jobs that are not over."""
        return list(self._active.values())

    def calls(self) -> list[Job]:
        """Return every synchronous call."""
        return list(self._calls.values())

    def _start(self, moment: float, workers: int | None) -> None:
        while self._ready and (workers is None or self._running < workers):
            job = self._ready.popleft()
            if not job.is_over:
                self._running += 1
                job.start(moment)
                if job.fate.end:
                    self._schedule(job, moment + job.latency)

    def _schedule(self, job: Job, moment: float) -> None:
        heapq.heappush(self._next, (moment, next(self._numbers), job))
