"""One stream of events for all watchers of a connection, and where each keeps how far it has got.

For Airflow 3.3 and newer, which shares the stream, and has state stores for assets. It says when all that a
wakeup led to is in its database: only then do the watchers' positions move. So a triggerer that dies at any
instant repeats, but loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.listener import reason
from airflow_provider_oxen.waiting.registry import current
from airflow_provider_oxen.waiting.wakeups import Wakeup, Wakeups

__all__ = ["EventProducer", "Positions", "wake_now"]

log = logging.getLogger(__name__)

_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, Wakeups]] = WeakKeyDictionary()


class EventProducer(SharedStreamProducer):
    """Wakeups for all watchers of a connection.

    :param conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._wakeups = Wakeups(current().listener(OxenHook(conn_id)))
        loop = asyncio.get_running_loop()
        _shared.setdefault(loop, WeakValueDictionary())[conn_id] = self._wakeups

    async def open_stream(self) -> AsyncIterator[tuple[Wakeup, Wakeup]]:
        """Hand out each wakeup: to the watchers, and to be handed back when it is dealt with."""
        async for wakeup in self._wakeups:
            yield wakeup, wakeup

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Move the positions of those watchers that a wakeup has moved."""
        moved: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        for item in batch:
            # Otherwise a watcher's events may not have been stored: it starts again where it was.
            if item.outcome.is_clean:
                moved |= item.broker_payload.after
        for move in moved.values():
            await move()

    async def aclose(self) -> None:
        """Have no more wakeups."""
        await self._wakeups.aclose()


def wake_now(conn_id: str) -> None:
    """Have a wakeup now, for a watcher that has joined others: there may be none for long otherwise."""
    shared = _shared.get(asyncio.get_running_loop())
    wakeups = None if shared is None else shared.get(conn_id)
    if wakeups is not None:
        wakeups.again(0)


_PAUSES = (1.0, 5.0, 30.0)
"""Seconds before each further try to read a position; the last one again and again."""


class Positions:
    """A watcher's position, under a key of its own, with each of its assets.

    One trigger serves all assets that are watched with the same arguments: they move together.

    :param accessors: what the triggerer has given the trigger; None where there is none.
    :param key: tells watchers of one asset apart.
    """

    def __init__(self, accessors: Any, key: str) -> None:
        self._stores = _each(accessors)
        self._key = key
        self._last: dict[str, Any] | None = None

    async def load(self, lookback: float) -> Cursor:
        """Return where to go on from; where there is none, ``lookback`` seconds ago.

        It comes back when all stores could be read: a position that could not be read is not "none".
        """
        values = [await self._read(store) for store in self._stores]
        cursors = []
        for value in values:
            if value is None:
                continue
            try:
                cursors.append(Cursor.from_json(value))
            except ValueError as error:
                log.warning("A watcher's position cannot be used: %s. Beginning anew.", error)
        # An asset that has joined later has an older one, or none.
        newest = max(cursors, key=lambda cursor: cursor.since, default=None)
        return Cursor(time.time() - lookback) if newest is None else newest

    async def save(self, position: dict[str, Any]) -> None:
        """Keep a position; where that fails, the next one will do, and until then repeats are possible."""
        if position == self._last:
            return
        try:
            for store in self._stores:
                if hasattr(store, "aset"):
                    await store.aset(self._key, position)
                else:
                    # Airflow 3.3.0 and 3.3.1 can only block.
                    await asyncio.to_thread(store.set, self._key, position)
        except Exception as error:
            log.warning("A watcher's position was not kept: %s", reason(error))
        else:
            self._last = position

    async def _read(self, store: Any) -> Any:
        tries = 0
        while True:
            try:
                if hasattr(store, "aget"):
                    return await store.aget(self._key)
                return await asyncio.to_thread(store.get, self._key)
            except Exception as error:
                pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
                log.warning(
                    "A watcher's position cannot be read: %s Trying again in %g s.", reason(error), pause
                )
                tries += 1
                await asyncio.sleep(pause)


def _each(accessors: Any) -> list[Any]:
    """Return an accessor for each asset; Airflow gives one thing, which serves a single asset only."""
    if accessors is None:
        return []
    stores = [store for name in ("_by_name", "_by_uri") for store in getattr(accessors, name, {}).values()]
    return stores or [accessors]
