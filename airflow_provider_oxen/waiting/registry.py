"""Wait for one or many generations, with the poller that everything on this event loop shares."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.waiting.asking import Key
from airflow_provider_oxen.waiting.listener import Connection, EventListener
from airflow_provider_oxen.waiting.poller import SHORTEST, QueuePoller
from airflow_provider_oxen.waiting.polling import Poll
from airflow_provider_oxen.waiting.waiters import STEP, Waiter
from airflow_provider_oxen.waiting.wakeups import Wakeups

__all__ = ["KnownConnection", "Tally", "current", "wait", "wait_for_all"]

FRESH = 5.0
"""Seconds for which a connection that was read serves further triggers, so that a triggerer that starts
thousands of them reads it once."""


@dataclass(frozen=True)
class KnownConnection:
    """A connection that was already read."""

    oxen_conn_id: str
    settings: Settings

    async def asettings(self) -> Settings:
        """Return the settings as they were read."""
        return self.settings


async def wait(
    connection: Connection, generation_id: str, *, namespace: str | None, interval: float, poll: Poll
) -> End:
    """Wait until a generation has ended, with the poller that everything on this event loop shares.

    :param connection: such as an ``OxenHook``.
    :param namespace: namespace whose queue holds the job; None: the connection's.
    :param interval: longest time in seconds between two looks; the poller uses the shortest of all.
    :param poll: judges the results of the looks.
    :raises OxenError: if the connection cannot be read.
    """
    registry = current()
    settings = await registry.settings(connection)
    key = Key(connection.oxen_conn_id, namespace or settings.target_namespace, settings)
    poller = registry.poller(key, connection)
    # Ten thousand may wait here: drop what is no longer needed.
    del connection, registry, settings, key
    waiter = poller.enter(generation_id, max(interval, SHORTEST), poll)
    try:
        return await waiter.future
    finally:
        poller.waiters.remove(waiter)


class Tally:
    """Counts how many of many generations have ended, as each ends.

    :ivar jobs: how many are waited for.
    :ivar ended: for how many the waiting has ended, for any reason except the deadline.
    :ivar unreachable: how many of those could not be asked for.
    :ivar message: the message of the first of those.
    :ivar over: done when none is waited for any more.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.ended = self.unreachable = 0
        self.message = ""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = jobs
        if not jobs:
            self.over.set_result(None)

    def count(self, future: asyncio.Future[End]) -> None:
        """Count one more; call this when its future is done."""
        end = future.result()
        self.ended += end.status != "timed_out"
        if end.status == "unreachable":
            self.unreachable += 1
            self.message = self.message or end.message
        self._left -= 1
        if not self._left:
            self.over.set_result(None)


async def wait_for_all(
    connection: Connection,
    ids: Mapping[str | None, Sequence[str]],
    *,
    interval: float,
    deadline: float | None,
    not_found_until: float,
    report: Callable[[Tally], object],
    every: float,
) -> Tally:
    """Wait until many generations have ended, or the deadline has passed; :func:`wait` for many.

    There is no task and no client for each generation: ten thousand cost some megabytes, and the poller's one
    list request a tick.

    :param ids: ids by namespace; None: the connection's.
    :param deadline: unix seconds when waiting ends; None: never. There is always at least one look.
    :param not_found_until: unix seconds until which an id that the hub does not know is waited for.
    :param report: called with the tally at intervals.
    :param every: seconds between two such calls.
    :raises OxenError: if the connection cannot be read.
    """
    registry = current()
    settings = await registry.settings(connection)
    tally = Tally(sum(map(len, ids.values())))
    entered: list[tuple[QueuePoller, list[Waiter]]] = []
    try:
        for namespace, names in ids.items():
            key = Key(connection.oxen_conn_id, namespace or settings.target_namespace, settings)
            for start in range(0, len(names), STEP):
                # Look it up each time: while other tasks ran, the poller may have ended.
                poller = registry.poller(key, connection)
                waiters: list[Waiter] = []
                entered.append((poller, waiters))
                for id in names[start : start + STEP]:
                    waiter = poller.enter(
                        id, max(interval, SHORTEST), Poll(deadline=deadline, not_found_until=not_found_until)
                    )
                    waiter.future.add_done_callback(tally.count)
                    waiters.append(waiter)
                await asyncio.sleep(0)
        while not (await asyncio.wait([tally.over], timeout=every))[0]:
            report(tally)
        return tally
    finally:
        for poller, waiters in entered:
            for waiter in waiters:
                if not waiter.future.done():
                    poller.waiters.remove(waiter)


class PollerRegistry:
    """The pollers and listeners of one event loop. It holds weak references: their tasks keep them alive.

    :ivar wakeups: those that several watchers share, by connection.
    """

    def __init__(self) -> None:
        self.listeners: WeakValueDictionary[str, EventListener] = WeakValueDictionary()
        self.pollers: WeakValueDictionary[Key, QueuePoller] = WeakValueDictionary()
        self.wakeups: WeakValueDictionary[str, Wakeups] = WeakValueDictionary()
        self._known: dict[str, tuple[float, Settings]] = {}
        self._reading: dict[str, asyncio.Task[Settings]] = {}

    def listener(self, connection: Connection) -> EventListener:
        """Return the listener of a connection."""
        listener = self.listeners.get(connection.oxen_conn_id)
        if listener is None:
            listener = self.listeners[connection.oxen_conn_id] = EventListener(connection)
        return listener

    def poller(self, key: Key, connection: Connection) -> QueuePoller:
        """Return the poller of this key; start it if there is none."""
        poller = self.pollers.get(key)
        if poller is None:
            poller = self.pollers[key] = QueuePoller(self.pollers, key, self.listener(connection))
        return poller

    async def settings(self, connection: Connection) -> Settings:
        """Return the connection as it was read within the last :data:`FRESH` seconds."""
        read, settings = self._known.get(connection.oxen_conn_id, (0.0, None))
        if settings is not None and asyncio.get_running_loop().time() < read + FRESH:
            return settings
        if connection.oxen_conn_id not in self._reading:
            self._reading[connection.oxen_conn_id] = asyncio.create_task(self._read(connection))
        # Shielded: if one waiter is cancelled, the others must still get the result.
        return await asyncio.shield(self._reading[connection.oxen_conn_id])

    async def _read(self, connection: Connection) -> Settings:
        try:
            settings = await connection.asettings()
            self._known[connection.oxen_conn_id] = asyncio.get_running_loop().time(), settings
            return settings
        finally:
            del self._reading[connection.oxen_conn_id]


_registries: WeakKeyDictionary[asyncio.AbstractEventLoop, PollerRegistry] = WeakKeyDictionary()
_pid = os.getpid()


def current() -> PollerRegistry:
    """Return the registry of the running event loop."""
    global _registries, _pid
    if _pid != os.getpid():
        # A forked process must not use its parent's pollers, whose sockets it shares.
        _registries, _pid = WeakKeyDictionary(), os.getpid()
    return _registries.setdefault(asyncio.get_running_loop(), PollerRegistry())
