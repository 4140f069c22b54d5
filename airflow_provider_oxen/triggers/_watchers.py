"""One stream of events for all watchers of a connection, and a stored position for each watcher.

For Airflow 3.3 and newer, which shares the stream and has state stores for assets. Airflow says when all
events of a wakeup are in its database; only then do the watchers' positions move. So a triggerer that dies at
any instant repeats events, but loses none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.listener import reason
from airflow_provider_oxen.waiting.registry import current
from airflow_provider_oxen.waiting.wakeups import Wakeup, Wakeups

__all__ = ["EventProducer", "Positions", "wake_now"]

log = logging.getLogger(__name__)


class EventProducer(SharedStreamProducer):
    """Wakeups for all watchers of a connection.

    :param conn_id: the connection of the hub.
    """

    def __init__(self, conn_id: str) -> None:
        registry = current()
        self._wakeups = registry.wakeups[conn_id] = Wakeups(registry.listener(OxenHook(conn_id)))

    async def open_stream(self) -> AsyncIterator[tuple[Wakeup, Wakeup]]:
        """Yield each wakeup twice: for the watchers, and for Airflow to pass back once it is dealt with."""
        async for wakeup in self._wakeups:
            yield wakeup, wakeup

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Move the positions of the watchers that a wakeup has moved."""
        moved: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        for item in batch:
            # Otherwise a watcher's events may not have been stored: it repeats them from its old position.
            if item.outcome.is_clean:
                moved |= item.broker_payload.after
        for move in moved.values():
            await move()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._wakeups.aclose()


def wake_now(conn_id: str) -> None:
    """Send a wakeup now, for a watcher that has joined others; otherwise the next one may be far away."""
    if wakeups := current().wakeups.get(conn_id):
        wakeups.again(0)


_PAUSES = (1.0, 5.0, 30.0)
"""Seconds before each further try to read a position; the last value is repeated."""


class Positions:
    """A watcher's position, stored under its own key with each of its assets.

    One trigger serves all assets that are watched with the same arguments: their positions move together.

    :param accessors: the state stores that the triggerer has given the trigger; None if it has none.
    :param key: tells the watchers of one asset apart.
    """

    def __init__(self, accessors: Any, key: str) -> None:
        self._stores = _each(accessors)
        self._key = key
        self._last: dict[str, Any] | None = None

    async def load(self, lookback: float) -> Cursor:
        """Return the position to go on from; without one, ``lookback`` seconds ago.

        Returns only once all stores could be read: a position that could not be read is not "no position".
        """
        values = [await self._read(store) for store in self._stores]
        cursors = []
        for value in values:
            if value is None:
                continue
            try:
                cursors.append(Cursor.from_json(value))
            except ValueError as error:
                log.warning("A watcher's position cannot be used: %s. Starting again.", error)
        # An asset that has joined later has an older position, or none.
        newest = max(cursors, key=lambda cursor: cursor.since, default=None)
        return Cursor(time.time() - lookback) if newest is None else newest

    async def save(self, position: dict[str, Any]) -> None:
        """Store a position. If that fails, the next one replaces it, and until then repeats are possible."""
        if position == self._last:
            return
        try:
            for store in self._stores:
                if hasattr(store, "aset"):
                    await store.aset(self._key, position)
                else:
                    # The stores of Airflow 3.3.0 and 3.3.1 have only blocking methods.
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
    """Return an accessor for each asset. Airflow passes one object, which serves only a single asset."""
    if accessors is None:
        return []
    stores = [store for name in ("_by_name", "_by_uri") for store in getattr(accessors, name, {}).values()]
    return stores or [accessors]
