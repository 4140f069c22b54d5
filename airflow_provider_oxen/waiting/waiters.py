"""Who waits for which job, and until when. Each waiter is woken separately, in time, and with an end."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from airflow_provider_oxen.api.deadline import LAST, LOOK
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.waiting.polling import Poll

__all__ = ["Waiter", "Waiters"]

STEP = 100
"""Jobs that are judged, and perhaps woken, before other work of the event loop gets its turn."""


@dataclass(eq=False, slots=True)
class Waiter:
    """One waiting caller. Its future is its own, so that cancelling it harms no other.

    :ivar timer: the timer of its deadline.
    """

    id: str
    interval: float
    poll: Poll
    future: asyncio.Future[End]
    timer: asyncio.TimerHandle | None = None


class Waiters:
    """All waiters for the jobs of one connection and namespace.

    :param settings: settings of the connection; no end shows its key.
    :param look: requests a last look at a job whose waiting is about to end.
    :param forget: called with a job that nobody waits for any more.
    :ivar by_id: the waiters of each job.
    """

    def __init__(
        self, settings: Settings, look: Callable[[str], None], forget: Callable[[str], None]
    ) -> None:
        self.by_id: dict[str, list[Waiter]] = {}
        self._settings = settings
        self._look = look
        self._forget = forget
        self._intervals: Counter[float] = Counter()

    def shortest_interval(self, default: float) -> float:
        """Return the shortest interval in seconds of all waiters."""
        return min(self._intervals, default=default)

    def all(self) -> list[Waiter]:
        """Return all waiters."""
        return [waiter for waiters in self.by_id.values() for waiter in waiters]

    def of(self, ids: Iterable[str]) -> list[Waiter]:
        """Return the waiters for these jobs."""
        return [waiter for id in ids for waiter in self.by_id.get(id, ())]

    def add(self, id: str, interval: float, poll: Poll) -> Waiter:
        """Add a waiter."""
        waiter = Waiter(id, interval, poll, asyncio.get_running_loop().create_future())
        self.by_id.setdefault(id, []).append(waiter)
        self._intervals[interval] += 1
        if poll.deadline is not None and math.isfinite(poll.deadline):
            self._set_timer(waiter, poll.deadline)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter."""
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiters = self.by_id.get(waiter.id, [])
        if waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del self.by_id[waiter.id]
            self._forget(waiter.id)
        self._intervals[waiter.interval] -= 1
        if not self._intervals[waiter.interval]:
            del self._intervals[waiter.interval]

    async def judge(self, waiters: Iterable[Waiter], judge: Callable[[Waiter], End | None]) -> None:
        """Wake the waiters whose generation has ended, a few at a time: each then has work to do."""
        for number, waiter in enumerate(list(waiters), 1):
            end = judge(waiter)
            if end is not None:
                self._wake(waiter, end)
            if number % STEP == 0:
                await asyncio.sleep(0)

    def _wake(self, waiter: Waiter, end: End) -> None:
        message = without_queries(self._settings.redact(end.message))
        if not waiter.future.done():
            waiter.future.set_result(end._replace(message=message))
        # Remove it now, not when it runs: the next tick may come first, and would request the row again.
        self.remove(waiter)

    def _set_timer(self, waiter: Waiter, deadline: float) -> None:
        """End the waiting in time, however long an answer or the time until the next tick takes."""
        left = deadline - time.time()
        loop = asyncio.get_running_loop()
        if left > 0:
            waiter.timer = loop.call_later(left, self._at_deadline, waiter, deadline)
        else:
            # Allow one look in any case.
            waiter.timer = loop.call_later(LOOK, self._overdue, waiter, deadline)

    def _at_deadline(self, waiter: Waiter, deadline: float) -> None:
        if time.time() < deadline:
            self._set_timer(waiter, deadline)  # The clock was set back.
            return
        self._look(waiter.id)
        waiter.timer = asyncio.get_running_loop().call_later(LAST, self._overdue, waiter, deadline)

    def _overdue(self, waiter: Waiter, deadline: float) -> None:
        end = waiter.poll.late(time.time())
        if end is None:
            self._set_timer(waiter, deadline)
        else:
            self._wake(waiter, end)
