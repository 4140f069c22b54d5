"""Gets a batch's rows done: hands them to threads, notes what becomes of them, and knows when to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.batch.policy import Policy
from airflow_provider_oxen.batch.pool import Pool
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.batch.spool import Job
from airflow_provider_oxen.batch.working import Done, Working

__all__ = ["Engine"]

_TICK = 0.2
"""Seconds after which the flag is looked at that a signal handler sets."""

GRACE = 10.0
"""Seconds that what is under way gets when the task is told to stop: Airflow kills after a minute, and an
answer that still comes need not be looked up."""


@dataclass
class Engine:
    """Works on the rows of one try.

    :param results: told what came of each row, in the thread that called :meth:`run`.
    :ivar told_to_stop: set by a signal handler.
    :ivar broken: what no row should have raised.
    """

    working: Working
    policy: Policy
    progress: Progress
    results: Results
    log: Any
    size: int
    told_to_stop: bool = False
    broken: Exception | None = None
    _pool: Pool[Job, Done] = field(init=False)

    def run(self, paid: Iterator[Job], fresh: Iterator[Job]) -> None:
        """Bring rows to their end, and come back when nothing is under way any more.

        :param paid: rows that may have been paid for: they come first, and even where nothing more is sent.
        :param fresh: rows to be asked for, as long as that makes sense (see :class:`.Policy`).
        """
        self._pool = Pool(self.size, self.working.do)
        try:
            with self.progress:
                self._go(paid, fresh)
        except BaseException:
            # Such as Airflow's timeout, which comes by a signal in the middle of anything.
            self._end("the task is stopped")
            raise
        finally:
            self._pool.close()

    def _go(self, paid: Iterator[Job], fresh: Iterator[Job]) -> None:
        more = True
        gate = self.working.shared.gate
        while not self.told_to_stop and (more or self._pool.in_hand):
            while more and self._pool.in_hand < self.size:
                known = next(paid, None)
                job = known or (None if gate.why else next(fresh, None))
                more = job is not None
                if job is not None:
                    self.results.begins(job, paid=known is not None)
                    self._pool.give(job)
            if self._pool.in_hand:
                self._take(_TICK)
            self.progress.tick()
        if self.told_to_stop:
            self.results.ending.interrupted = True
            self._end("the task was told to stop")

    def _take(self, seconds: float) -> None:
        done = self._pool.take(seconds)
        if done is None:
            return
        self.results.note(done)
        if isinstance(done.error, OxenError):
            if why := self.policy.judge(done.error):
                self._stop(why)
        elif done.error is not None:
            self.broken = self.broken or done.error
            self._stop(f"of an error that nobody foresaw ({type(done.error).__name__})")

    def _stop(self, why: str) -> None:
        if self.working.shared.gate.why is None:
            self.log.warning("Nothing more is sent: %s. What is under way comes to its end.", why)
        self.working.shared.gate.close(why)

    def _end(self, why: str) -> None:
        """Have what is under way end soon, and note what came of it."""
        self.working.shared.gate.close(why)
        self.working.stop()
        end = time.monotonic() + GRACE
        while self._pool.in_hand and time.monotonic() < end:
            # Whatever a thread raises: the others are still at work, and what they were at counts.
            with contextlib.suppress(BaseException):
                if (done := self._pool.take(_TICK)) is not None:
                    self.results.note(done)
