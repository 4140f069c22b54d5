"""Waiting for a generation, or for many, by the watch that all who wait in this process share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.watch import SHORTEST, STEP, Key, Waiter, Watch

if TYPE_CHECKING:
    from airflow_provider_oxen.hooks.oxen import OxenHook

__all__ = ["Tally", "wait", "wait_for_all"]

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
    hook: OxenHook,
    ids: Mapping[str | None, Sequence[str]],
    *,
    interval: float,
    deadline: float | None,
    patience: float,
    tell: Callable[[Tally], object],
    every: float,
) -> Tally:
    """Wait until many generations have ended, or the deadline has passed, as :func:`wait` does for one.

    There is neither a task nor a client for each: ten thousand cost some megabytes, and the watch's one list
    request a tick.

    :param ids: by namespace; None: the connection's.
    :param deadline: unix seconds at which waiting ends; None: never. There is one look in any case.
    :param patience: unix seconds until which an id that the hub does not know is waited for.
    :param tell: called with the tally every so often while it waits.
    :param every: seconds between two such calls.
    :raises OxenError: where the connection cannot be read.
    """
    room = _room()
    settings = await room.settings(hook)
    tally = Tally(sum(map(len, ids.values())))
    entered: list[tuple[Watch, list[Waiter]]] = []
    try:
        for namespace, names in ids.items():
            key = Key(hook.oxen_conn_id, namespace or settings.target_namespace, settings)
            for start in range(0, len(names), STEP):
                # Each time anew: while others had their turn, the watch may have come to its end.
                watch = room.watch(key)
                waiters: list[Waiter] = []
                entered.append((watch, waiters))
                for id in names[start : start + STEP]:
                    waiter = watch.enter(
                        id, max(interval, SHORTEST), Poll(deadline=deadline, patience=patience)
                    )
                    waiter.future.add_done_callback(tally.count)
                    waiters.append(waiter)
                await asyncio.sleep(0)
        while not (await asyncio.wait([tally.over], timeout=every))[0]:
            tell(tally)
        return tally
    finally:
        for watch, waiters in entered:
            for waiter in waiters:
                if not waiter.future.done():
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
