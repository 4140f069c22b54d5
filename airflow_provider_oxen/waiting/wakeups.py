"""When a follower of what ends on the hub should look, and the requests that all followers share.

The stream only wakes. The history gives the rest: what an event leaves out (times, cost, often the model and
the namespace), and what ended while the stream was down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.models import Generation, HistoryPage
from airflow_provider_oxen.waiting.listener import EventListener

__all__ = ["Wakeup", "Wakeups"]

T = TypeVar("T")

GATHER = 0.1
"""Seconds in which further events join the first: many end together, and the history gets a moment to catch
up."""

SHARED_PAGES = 5
"""Pages of the history that followers who wake together share; each reads further pages itself."""

MAX_EVENTS = 10_000
"""Most events kept between two wakeups. With more, the history is read as after a lost stream."""


class Wakeup:
    """A moment at which followers should look.

    :ivar ended: what the stream has reported since the last wakeup.
    :ivar connected: whether the stream was opened again, so that ends may have been missed.
    :ivar listener: listener of the connection.
    :ivar after: what to do when the results of this wakeup are safe, by the follower that wants it.
    """

    def __init__(self, wakeups: Wakeups, ended: tuple[Generation, ...], connected: bool) -> None:
        self.ended = ended
        self.connected = connected
        self.after: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        self.again = wakeups.again
        self.listener = wakeups.listener
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}

    async def row(self, id: str) -> Generation:
        """Return a generation's row in the history; all followers share one request.

        :raises OxenError: if the row cannot be read.
        """
        return await self._once(id, queue.get_history(id))

    async def page(self, namespace: str | None, number: int) -> HistoryPage:
        """Return a page of the history, newest first; all followers share the requests for the first few.

        :raises OxenError: if the page cannot be read.
        """
        call = queue.list_history(namespace, number)
        if number > SHARED_PAGES:
            return await self.listener.send(call)
        return await self._once((namespace, number), call)

    async def _once(self, what: Hashable, call: Call[T]) -> T:
        if what not in self._asked:
            self._asked[what] = asking = asyncio.create_task(self.listener.send(call))
            # Nobody may be waiting any more when it fails: keep asyncio from logging that.
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: if one follower is cancelled, the others must still get the result.
        result: T = await asyncio.shield(self._asked[what])
        return result


class Wakeups:
    """The wakeups of a connection, until they are closed. They neither end by themselves nor raise an error.

    :param listener: listener of the connection; joined when the first wakeup is requested.
    """

    def __init__(self, listener: EventListener) -> None:
        self.listener = listener
        self._bell = asyncio.Event()
        self._ended: dict[str, Generation] = {}
        self._connected = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_listening = False

    def __aiter__(self) -> Wakeups:
        return self

    async def __anext__(self) -> Wakeup:
        if not self._is_listening:
            self._is_listening = True
            self.listener.subscribe(self, depends=True)
        await self._bell.wait()
        await asyncio.sleep(GATHER)
        self._bell.clear()
        wakeup = Wakeup(self, tuple(self._ended.values()), self._connected)
        self._ended, self._connected = {}, False
        return wakeup

    def again(self, seconds: float) -> None:
        """Wake up in this many seconds, or earlier."""
        loop = asyncio.get_running_loop()
        if self._timer is not None and loop.time() <= self._timer.when() <= loop.time() + seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._bell.set)

    def on_open(self) -> None:
        """Wake up to catch up."""
        self._connected = True
        self._bell.set()

    def on_lost(self, *, is_answering: bool) -> None:
        """Catch up anyway if the hub has no stream but answers."""
        if is_answering:
            self.on_open()

    def on_end(self, generation: Generation) -> None:
        """Keep an event for the next wakeup."""
        if len(self._ended) < MAX_EVENTS:
            self._ended[generation.generation_id] = generation
        else:
            self._connected = True
        self._bell.set()

    async def aclose(self) -> None:
        """Stop all wakeups."""
        if self._timer is not None:
            self._timer.cancel()
        await self.listener.unsubscribe(self)
