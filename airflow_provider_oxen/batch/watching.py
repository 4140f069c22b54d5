"""Has all threads of a batch wait by one watch: one list request a tick, however many jobs wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any
from weakref import WeakValueDictionary

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.watch import SHORTEST, Key, Watch

__all__ = ["Watching"]


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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._waiting: set[concurrent.futures.Future[End]] = set()

    def wait(self, generation_id: str, namespace: str | None, poll: Poll) -> End:
        """Wait until a generation has ended.

        :raises OxenPollError: where the task is told to stop meanwhile.
        """
        with self._lock:
            if self._closed:
                raise _stopped()
            future = asyncio.run_coroutine_threadsafe(
                self._wait(generation_id, namespace, poll), self._begun()
            )
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
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=[self._loop], name="oxen-batch-watch", daemon=True).start()
        return self._loop

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


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    # Told to stop: what still runs there is the watch itself.
    loop.run_until_complete(_end(asyncio.all_tasks(loop)))
    loop.close()


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stopped() -> OxenPollError:
    return OxenPollError("The task was told to stop while the generation was on its way.")
