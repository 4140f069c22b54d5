"""Has all threads of a batch wait by one watch: one list request a tick, however many jobs wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from weakref import WeakValueDictionary

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.watch import SHORTEST, Key, Watch

__all__ = ["Watching"]


_FAREWELL = 2.0
"""Seconds that closing the connections may take."""


class Watching:
    """The triggers' watch, on an event loop of its own; it begins with the first who waits.

    :param interval: seconds between two looks.
    """

    def __init__(self, conn_id: str, settings: Settings, interval: float) -> None:
        self._conn_id = conn_id
        self._settings = settings
        self._interval = max(interval, SHORTEST)
        self._watches: WeakValueDictionary[Key, Watch] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._waiting: set[concurrent.futures.Future[End]] = set()

    def wait(self, generation_id: str, namespace: str | None, poll: Poll) -> End:
        """Wait until a generation has ended.

        :raises OxenPollError: where the task is told to stop meanwhile.
        """
        with self._lock:
            if self._closed:
                raise _stopped()
            loop = self._begun()
            future = asyncio.run_coroutine_threadsafe(self._wait(generation_id, namespace, poll), loop)
            self._waiting.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _stopped() from None
        finally:
            with self._lock:
                self._waiting.discard(future)

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for future in self._waiting:
                future.cancel()
            if self._thread is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
                self._thread.join(_FAREWELL)

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._thread is None:
            running: concurrent.futures.Future[None] = concurrent.futures.Future()
            thread = threading.Thread(target=self._run, args=(running,), name="oxen-batch-watch", daemon=True)
            thread.start()
            running.result()
            self._thread = thread
        return self._loop

    def _run(self, running: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self._serve(running))
        except Exception as error:
            # Such as too many open files: whoever waits for a loop must not wait for ever.
            if not running.done():
                running.set_exception(
                    OxenPollError(f"The worker cannot wait for generations: {type(error).__name__}: {error}.")
                )

    async def _serve(self, running: concurrent.futures.Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        running.set_result(None)
        # What still runs then, above all the watch itself, asyncio.run() cancels and waits for.
        await self._stop.wait()

    async def _wait(self, generation_id: str, namespace: str | None, poll: Poll) -> End:
        key = Key(self._conn_id, namespace, self._settings)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(self._watches, key)
        waiter = watch.enter(generation_id, self._interval, poll)
        try:
            return await waiter.future
        finally:
            watch.leave(waiter)


def _stopped() -> OxenPollError:
    return OxenPollError("The task was told to stop while the generation was on its way.")
