"""One stream of events for all watchers of a connection in a triggerer (Airflow 3.3 and newer).

Airflow shares the stream, and says when all that a ring led to is in its database: only then do the
watchers' positions move. So a triggerer that dies at any instant repeats, but loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.jobs.listening import Listener, Ring

__all__ = ["EventProducer", "ring_for"]

_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, Listener]] = (
    WeakKeyDictionary()
)


class EventProducer(SharedStreamProducer):
    """Rings for all watchers of a connection.

    :param conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._listener = Listener(OxenHook(conn_id))
        loop = asyncio.get_running_loop()
        _listeners.setdefault(loop, WeakValueDictionary())[conn_id] = self._listener

    async def open_stream(self) -> AsyncIterator[tuple[Ring, Ring]]:
        """Hand out each ring: to the watchers, and to be handed back when it is dealt with."""
        async for ring in self._listener.rings():
            yield ring, ring

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Move the positions of those watchers that a ring has moved."""
        moved: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        for item in batch:
            # Otherwise a watcher's events may not have been stored: it starts again where it was.
            if item.outcome.is_clean:
                moved |= item.broker_payload.after
        for move in moved.values():
            await move()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._listener.aclose()


def ring_for(conn_id: str) -> None:
    """Have a ring now, for a watcher that has joined others: there may be none for long otherwise."""
    listeners = _listeners.get(asyncio.get_running_loop())
    listener = None if listeners is None else listeners.get(conn_id)
    if listener is not None:
        listener.again(0)
