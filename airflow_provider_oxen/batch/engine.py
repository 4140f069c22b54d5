"""Work on a batch's rows on one event loop, record the results, and know when to stop.

The loop runs in its own thread. The main thread passes rows to it, waits, and keeps the accounts. Airflow's
signals arrive in the main thread, which then ends the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import OxenError, OxenPollError, OxenUnavailable
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.batch.facts import RowOutcome
from airflow_provider_oxen.batch.outcome import StopRule
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.batch.rowstore import Row
from airflow_provider_oxen.tasks.running import Clocks, clocks

__all__ = ["Engine", "RowLoop"]

TICK = 0.2
"""Seconds between two checks of the flag that a signal handler sets."""

GRACE = 10.0
"""Seconds that requests under way get when the task is told to stop: Airflow kills after a minute, and an
answer that still arrives need not be looked up."""

_AHEAD = 16
"""Most rows in hand beyond those that may be at the hub: images are fetched and kept meanwhile."""

_FAREWELL = 2.0
"""Seconds for cancelling what is under way and closing the connections."""


class RowLoop:
    """An event loop that works on rows side by side, in a thread that dies with the process.

    Only the thread that made it may call its methods; the constructor and the work itself are the exceptions.

    :param worker: entered and left on the loop.
    :ivar in_hand: rows whose outcome was not taken yet.
    """

    def __init__(self, worker: RowWorker) -> None:
        self._worker = worker
        self._outcomes: queue.SimpleQueue[RowOutcome | BaseException] = queue.SimpleQueue()
        # Released when there may be an outcome. SimpleQueue.get(timeout=) is not used: before Python 3.13 it
        # waits for ever if a signal handler runs longer than the timeout.
        self._news = threading.Lock()
        self._news.acquire()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="oxen-batch-loop", daemon=True)
        self.in_hand = 0

    def __enter__(self) -> RowLoop:
        self._thread.start()
        self._loop = self._begun.result()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._over.set)
        self._thread.join(_FAREWELL)

    def give(self, row: Row) -> None:
        """Pass a row to the loop."""
        self.in_hand += 1
        self.call(self._begin, row)

    def take(self) -> RowOutcome | None:
        """Return an outcome as soon as there is one, or None after a tick without one.

        :raises BaseException: what the work raised.
        """
        if self._outcomes.empty():
            self._news.acquire(timeout=TICK)
        try:
            outcome = self._outcomes.get_nowait()
        except queue.Empty:
            return None
        self.in_hand -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def call(self, what: Callable[..., object], *arguments: Any) -> None:
        """Let the loop call a function; does nothing if the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            # Such as too many open files: whoever waits for a loop, or for its rows, must not wait for ever.
            if self._begun.done():
                self._put(
                    OxenPollError(
                        f"The batch's event loop ended unexpectedly: {describe_error(error)}.",
                        money="Running generations may have been paid for.",
                        retry="The next try finds it.",
                    )
                )
            else:
                self._begun.set_exception(
                    OxenUnavailable(f"The batch's event loop cannot run: {describe_error(error)}.")
                )

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with self._worker:
            self._begun.set_result(asyncio.get_running_loop())
            await self._over.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, row: Row) -> None:
        task = asyncio.get_running_loop().create_task(self._do(row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, row: Row) -> None:
        try:
            self._put(await self._worker.do(row))
        except BaseException as error:
            # Without an outcome, the main thread would wait for the row for ever.
            self._put(error)

    def _put(self, outcome: RowOutcome | BaseException) -> None:
        self._outcomes.put(outcome)
        with contextlib.suppress(RuntimeError):
            self._news.release()


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """Keep garbage collection away from all that exists now, which is mostly Airflow.

    A collection visits hundreds of thousands of objects, and would visit them again and again.
    """
    is_ours = not gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


@dataclass
class Engine:
    """Works on the rows of one try.

    :param results: receives the outcome of each row, in the thread that called :meth:`run`.
    :param is_stopped: whether a signal has asked the task to stop.
    :ivar broken: an error that no row should have raised.
    """

    worker: RowWorker
    stop_rule: StopRule
    progress: Progress
    results: Results
    is_stopped: Callable[[], bool]
    broken: Exception | None = None
    _loop: RowLoop = field(init=False)
    _seen: Clocks | None = field(default=None, init=False)

    def run(self, paid: Iterator[Row], fresh: Iterator[Row]) -> None:
        """Finish rows, and return when nothing is under way any more.

        :param paid: rows that may have been paid for: they come first, even if nothing more is sent.
        :param fresh: rows to request, as long as that makes sense (see :class:`.StopRule`).
        """
        with _frozen_heap(), RowLoop(self.worker) as self._loop:
            try:
                with self.progress:
                    self._go(paid, fresh)
            except BaseException:
                # Such as Airflow's timeout, which comes by a signal in the middle of anything.
                self._end("the task is stopped")
                raise

    def _go(self, paid: Iterator[Row], fresh: Iterator[Row]) -> None:
        setup, more = self.worker.setup, True
        most = setup.arguments.max_in_flight
        size = most + min(_AHEAD, most // 4)
        while not self.is_stopped() and (more or self._loop.in_hand):
            while more and self._loop.in_hand < size:
                known = next(paid, None)
                row = known or (None if self.worker.gate.why else next(fresh, None))
                more = row is not None
                if row is not None:
                    self.results.begins(row, paid=known is not None or setup.unsure)
                    self._loop.give(row)
            if self._loop.in_hand:
                self._take()
            self.progress.tick()
            self._look_up()
        if self.is_stopped():
            self.results.outcome.interrupted = True
            self._end("the task was stopped")

    def _look_up(self) -> None:
        """Check that this try still runs, if the clocks show that it was frozen.

        :raises OxenError: if it does not.
        """
        now, seen = clocks(), self._seen
        self._seen = now
        if seen is not None and now.have_jumped(seen):
            self.results.this_try.check()

    def _take(self) -> None:
        done = self._loop.take()
        if done is None:
            return
        self.results.note(done)
        if done.result is not None:
            self.stop_rule.kept()
        if isinstance(done.error, OxenError):
            if why := self.stop_rule.reason_to_stop(done.error):
                self._stop(why)
        elif done.error is not None:
            self.broken = self.broken or done.error
            self._stop(f"an unexpected error ({type(done.error).__name__})")
        # Paid images are still requested, but only once: a later try can wait.
        self.worker.queue.patient = not self.stop_rule.loses_all

    def _stop(self, why: str) -> None:
        if self.worker.gate.why is None:
            log = self.worker.setup.log
            log.warning("The batch sends nothing more: %s. What is running is still waited for.", why)
        self._close(why)

    def _close(self, why: str) -> None:
        # From now on, pass on no row that would only be refused.
        gate = self.worker.gate
        gate.why = gate.why or why
        self._loop.call(gate.close, why)

    def _end(self, why: str) -> None:
        """End what is under way soon, and record the outcomes."""
        self._close(why)
        self._loop.call(self.worker.stop)
        end = time.monotonic() + GRACE
        while self._loop.in_hand and time.monotonic() < end:
            # Whatever a row raises, the others are still running, and their outcomes count.
            with contextlib.suppress(BaseException):
                if (done := self._loop.take()) is not None:
                    self.results.note(done)
