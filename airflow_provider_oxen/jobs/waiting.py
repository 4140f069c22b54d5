"""Waiting for a generation, by the watch that all who wait in this process share."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.watch import SHORTEST, Key, Watch

if TYPE_CHECKING:
    from airflow_provider_oxen.hooks.oxen import OxenHook

__all__ = ["wait"]

FRESH = 5.0
"""Seconds for which a connection that was read serves further triggers: a triggerer that starts with
thousands of them reads it once."""


async def wait(
    hook: OxenHook, generation_id: str, *, namespace: str | None, interval: float, poll: Poll
) -> End:
    """Wait until a generation has ended, by the watch that all who wait in this process share.

    :param hook: of the connection.
    :param namespace: whose queue the job is in; None: the connection's.
    :param interval: seconds between two looks at most; the watch follows the shortest of all.
    :param poll: judges what the looks bring.
    :raises OxenError: where the connection cannot be read.
    """
    room = _room()
    settings = await room.settings(hook)
    watch = room.watch(Key(hook.oxen_conn_id, namespace or settings.target_namespace, settings))
    # Ten thousand may wait here: what is not needed any more is not kept.
    del hook, room, settings
    waiter = watch.enter(generation_id, max(interval, SHORTEST), poll)
    try:
        return await waiter.future
    finally:
        watch.leave(waiter)


class _Room:
    """The watches of one event loop. It only finds them: what keeps a watch alive is its own task."""

    def __init__(self) -> None:
        self.watches: WeakValueDictionary[Key, Watch] = WeakValueDictionary()
        self._known: dict[str, tuple[float, Settings]] = {}
        self._reading: dict[str, asyncio.Task[Settings]] = {}

    def watch(self, key: Key) -> Watch:
        """Return the watch of this key, which is begun if there is none."""
        watch = self.watches.get(key)
        if watch is None:
            watch = self.watches[key] = Watch(self.watches, key)
        return watch

    async def settings(self, hook: OxenHook) -> Settings:
        """Return the connection as it was read within the last :data:`FRESH` seconds."""
        read, settings = self._known.get(hook.oxen_conn_id, (0.0, None))
        if settings is not None and asyncio.get_running_loop().time() < read + FRESH:
            return settings
        if hook.oxen_conn_id not in self._reading:
            self._reading[hook.oxen_conn_id] = asyncio.create_task(self._read(hook))
        # Shielded: who is cancelled while he waits must not take it from the others.
        return await asyncio.shield(self._reading[hook.oxen_conn_id])

    async def _read(self, hook: OxenHook) -> Settings:
        try:
            settings = await hook.asettings()
            self._known[hook.oxen_conn_id] = asyncio.get_running_loop().time(), settings
            return settings
        finally:
            del self._reading[hook.oxen_conn_id]


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()
_pid = os.getpid()


def _room() -> _Room:
    global _rooms, _pid
    if _pid != os.getpid():
        # A forked process has its parent's watches, and shares their sockets: they are not for it.
        _rooms, _pid = WeakKeyDictionary(), os.getpid()
    return _rooms.setdefault(asyncio.get_running_loop(), _Room())
