"""Listening for what ends on the hub: one stream of events, kept open, for all who follow it.

The stream rings a bell, and the history tells the rest: what an event leaves out (times, cost, often the
model and the namespace), and what ended while the stream was down.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.bulk import BulkClient
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.client import ssl_context
from airflow_provider_oxen.api.errors import OxenAuthenticationError, OxenError, OxenPermissionError
from airflow_provider_oxen.api.events import events
from airflow_provider_oxen.api.models import Generation, HistoryPage
from airflow_provider_oxen.api.redact import without_queries

if TYPE_CHECKING:
    from airflow_provider_oxen.hooks.oxen import OxenHook

__all__ = ["Listener", "Ring", "said"]

T = TypeVar("T")

log = logging.getLogger(__name__)

GATHER = 0.1
"""Seconds in which further events join the first: many end together, and the history gets a moment."""

FIRST_PAUSE = 0.5
"""Seconds before a lost stream is opened again; doubled with each failure."""

LONGEST_PAUSE = 60.0
"""Seconds between two such tries at most, but for what the hub asks for."""

STEADY = 10.0
"""Seconds after which a stream counts as one that works."""

TELL = 10
"""Of the failures after the first three, one in so many gets a line in the log."""

AT_ONCE = 10
"""Rows that are asked for side by side."""

KEPT = 5
"""Pages of the history that followers who ring together share; further ones each reads by itself."""


class Ring:
    """A moment at which those who follow should look.

    :ivar ended: what the stream has told since the last.
    :ivar connected: whether the stream was opened anew, so that ends may have been missed.
    :ivar after: what to do when all that this ring led to is safe, by who wants it.
    """

    def __init__(self, listener: Listener, ended: tuple[Generation, ...], connected: bool) -> None:
        self.ended = ended
        self.connected = connected
        self.after: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        self._listener = listener
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}

    async def namespace(self) -> str | None:
        """Return the connection's namespace."""
        return await self._listener.namespace()

    async def row(self, id: str) -> Generation:
        """Return a generation's row of the history, which is asked for once for all who want it.

        :raises OxenError: where it cannot be had.
        """
        return await self._once(id, queue.get_history(id))

    async def page(self, namespace: str | None, number: int) -> HistoryPage:
        """Return a page of the history, newest first; the first few are asked for once for all.

        :raises OxenError: where it cannot be had.
        """
        call = queue.list_history(namespace, number)
        if number > KEPT:
            return await self._listener.send(call)
        return await self._once((namespace, number), call)

    def again(self, seconds: float) -> None:
        """Have another ring in so many seconds, or before."""
        self._listener.again(seconds)

    def hide(self, text: str) -> str:
        """Return a text of the hub's without the key, and without what may be a signature."""
        return self._listener.hide(text)

    async def _once(self, what: Hashable, call: Call[T]) -> T:
        if what not in self._asked:
            self._asked[what] = asking = asyncio.create_task(self._listener.send(call))
            # Perhaps nobody waits for it any more when it fails: no word about that from asyncio.
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: who is cancelled while he waits must not take it from the others.
        result: T = await asyncio.shield(self._asked[what])
        return result


class Listener:
    """Keeps a stream of events open, and rings.

    :param hook: of the connection, which is read anew each time that the stream is opened.
    """

    def __init__(self, hook: OxenHook) -> None:
        self._hook = hook
        self._client: BulkClient | None = None
        self._lock = asyncio.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._bell = asyncio.Event()
        self._ended: dict[str, Generation] = {}
        self._connected = False
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.Task[None] | None = None

    async def rings(self) -> AsyncIterator[Ring]:
        """Ring until it is closed: it neither ends by itself nor raises an error."""
        self._reader = asyncio.create_task(self._listen(), name=f"oxen-events-{self._hook.oxen_conn_id}")
        while True:
            await self._bell.wait()
            await asyncio.sleep(GATHER)
            self._bell.clear()
            ring = Ring(self, tuple(self._ended.values()), self._connected)
            self._ended, self._connected = {}, False
            yield ring

    def again(self, seconds: float) -> None:
        """Ring in so many seconds, or before."""
        loop = asyncio.get_running_loop()
        if self._timer is not None and loop.time() <= self._timer.when() <= loop.time() + seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._bell.set)

    def hide(self, text: str) -> str:
        """Return a text of the hub's without the key, and without what may be a signature."""
        return without_queries(self._client.settings.hide(text) if self._client else text)

    async def namespace(self) -> str | None:
        """Return the connection's namespace."""
        return (await self._open()).settings.target_namespace

    async def send(self, call: Call[T]) -> T:
        """Ask the hub, some side by side; with another key where the one that was read is wrong by now."""
        async with self._gate:
            client = await self._open()
            try:
                return await client.send(call)
            except OxenAuthenticationError:
                newer = await self._open(anew=True)
                if newer is client:
                    raise
                return await newer.send(call)

    async def aclose(self) -> None:
        """Listen no more, and close the connections."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _open(self, anew: bool = False) -> BulkClient:
        async with self._lock:
            if anew or self._client is None:
                # Not sent again by the client: the next ring is the next try.
                settings = replace(await self._hook.asettings(), max_retries=0)
                if self._client is None or settings != self._client.settings:
                    # The first context of a process reads the CA bundle: off the loop.
                    await asyncio.to_thread(ssl_context, settings.verify)
                    old, self._client = self._client, BulkClient(settings)
                    if old is not None:
                        await old.aclose()
            return self._client

    async def _listen(self) -> None:
        clock, failures = asyncio.get_running_loop().time, 0
        while True:
            began, asked = clock(), 0.0
            try:
                problem = await self._hear()
            except Exception as error:
                problem, asked = said(error), getattr(error, "retry_after", None) or 0.0
                if _has_history(error):
                    self._ring(connected=True)
            failures = 0 if clock() - began >= STEADY else failures + 1
            pause = max(_pause(failures), min(asked, 5 * LONGEST_PAUSE))
            if failures <= 3 or failures % TELL == 0:
                level = logging.WARNING if failures else logging.INFO
                log.log(
                    level, "%s Listening again in %.1f s; what ends meanwhile is looked up.", problem, pause
                )
            await asyncio.sleep(pause)

    async def _hear(self) -> str:
        client = await self._open(anew=True)
        async with events(client) as stream:
            log.info("Listening to what ends on %s.", client.settings.base_url)
            # Not before the stream is open: what ends from now on is told, what ended before is looked up.
            self._ring(connected=True)
            async for generation in stream:
                self._ended[generation.generation_id] = generation
                self._ring()
        return "The hub ended the stream of events."

    def _ring(self, connected: bool = False) -> None:
        self._connected |= connected
        self._bell.set()


def said(error: Exception) -> str:
    """Return what a log says of an error: a sentence without a signed link."""
    if isinstance(error, OxenError):
        return str(error)
    return f"{type(error).__name__}: {without_queries(str(error))}"


def _has_history(error: Exception) -> bool:
    """Whether a hub that refuses the stream may still tell its history: then that has to do."""
    if isinstance(error, OxenAuthenticationError | OxenPermissionError):
        return False
    return isinstance(error, OxenError) and error.status is not None


def _pause(failures: int) -> float:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 20))
    # Many triggerers lose their streams together, and should not come back together.
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
