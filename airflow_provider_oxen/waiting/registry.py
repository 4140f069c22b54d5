"""Waiting for a generation, or for many, by the poller that all who wait on this event loop share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.ending import End
from airflow_provider_oxen.waiting.asking import Key
from airflow_provider_oxen.waiting.listener import Connection, EventListener
from airflow_provider_oxen.waiting.poller import SHORTEST, QueuePoller
from airflow_provider_oxen.waiting.polling import Poll
from airflow_provider_oxen.waiting.waiters import STEP, Waiter

__all__ = ["KnownConnection", "Tally", "current", "wait", "wait_for_all"]

FRESH = 5.0
"""Seconds for which a connection that was read serves further triggers: a triggerer that starts with
thousands of them reads it once."""


@dataclass(frozen=True)
class KnownConnection:
    """A connection that was read already."""

    oxen_conn_id: str
    settings: Settings

    async def asettings(self) -> Settings:
        """Return it as it was read."""
        return self.settings


async def wait(
    connection: Connection, generation_id: str, *, namespace: str | None, interval: float, poll: Poll
) -> End:
    """Wait until a generation has ended, by the poller that all who wait on this event loop share.

    :param connection: such as an ``OxenHook``.
    :param namespace: whose queue the job is in; None: the connection's.
    :param interval: seconds between two looks at most; the poller follows the shortest of all.
    :param poll: judges what the looks bring.
    :raises OxenError: where the connection cannot be read.
    """
    registry = current()
    settings = await registry.settings(connection)
    key = Key(connection.oxen_conn_id, namespace or settings.target_namespace, settings)
    poller = registry.poller(key, connection)
    # Ten thousand may wait here: what is not needed any more is not kept.
    del connection, registry, settings, key
    waiter = poller.enter(generation_id, max(interval, SHORTEST), poll)
    try:
        return await waiter.future
    finally:
        poller.waiters.remove(waiter)


class Tally:
    """How many of many generations have ended, counted as each ends.

    :ivar jobs: how many are waited for.
    :ivar ended: of how many the waiting has ended, whatever became of them, but not by the deadline.
    :ivar unreachable: how many of those nobody could ask for.
    :ivar message: what the first of those said.
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
        """Count one more: to be called when its future is done."""
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
    tell: Callable[[Tally], object],
    every: float,
) -> Tally:
    """Wait until many generations have ended, or the deadline has passed, as :func:`wait` does for one.

    There is neither a task nor a client for each: ten thousand cost some megabytes, and the poller's one
    list request a tick.

    :param ids: by namespace; None: the connection's.
    :param deadline: unix seconds at which waiting ends; None: never. There is one look in any case.
    :param not_found_until: unix seconds until which an id that the hub does not know is waited for.
    :param tell: called with the tally every so often while it waits.
    :param every: seconds between two such calls.
    :raises OxenError: where the connection cannot be read.
    """
    registry = current()
    settings = await registry.settings(connection)
    tally = Tally(sum(map(len, ids.values())))
    entered: list[tuple[QueuePoller, list[Waiter]]] = []
    try:
        for namespace, names in ids.items():
            key = Key(connection.oxen_conn_id, namespace or settings.target_namespace, settings)
            for start in range(0, len(names), STEP):
                # Each time anew: while others had their turn, the poller may have come to its end.
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
            tell(tally)
        return tally
    finally:
        for poller, waiters in entered:
            for waiter in waiters:
                if not waiter.future.done():
                    poller.waiters.remove(waiter)


class PollerRegistry:
    """The pollers and listeners of one event loop. It only finds them: their tasks keep them alive."""

    def __init__(self) -> None:
        self.listeners: WeakValueDictionary[str, EventListener] = WeakValueDictionary()
        self.pollers: WeakValueDictionary[Key, QueuePoller] = WeakValueDictionary()
        self._known: dict[str, tuple[float, Settings]] = {}
        self._reading: dict[str, asyncio.Task[Settings]] = {}

    def listener(self, connection: Connection) -> EventListener:
        """Return the listener of a connection."""
        listener = self.listeners.get(connection.oxen_conn_id)
        if listener is None:
            listener = self.listeners[connection.oxen_conn_id] = EventListener(connection)
        return listener

    def poller(self, key: Key, connection: Connection) -> QueuePoller:
        """Return the poller of this key, which is begun if there is none."""
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
        # Shielded: who is cancelled while he waits must not take it from the others.
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
        # A forked process has its parent's pollers, and shares their sockets: they are not for it.
        _registries, _pid = WeakKeyDictionary(), os.getpid()
    return _registries.setdefault(asyncio.get_running_loop(), PollerRegistry())
