"""Listening for what ends on the hub: one stream of events for each connection, kept open for all.

An event only wakes whoever waits or follows: what is true, the hub's rows tell. So a stream that is broken,
or lies, costs a look.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from dataclasses import replace
from typing import Protocol, TypeVar

from airflow_provider_oxen.api.bulk import BulkClient
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.client import ssl_context
from airflow_provider_oxen.api.errors import OxenAuthenticationError, OxenError, OxenPermissionError
from airflow_provider_oxen.api.events import events
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.api.settings import Settings

__all__ = ["Connection", "EventListener", "Subscriber", "raise_if_cancelled", "reason"]

T = TypeVar("T")

log = logging.getLogger(__name__)

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

RECANCEL = 0.5
"""Seconds after which a task is cancelled again that has not ended; see :func:`raise_if_cancelled`."""

BURST = 1_000
"""Events after which the loop's other work gets a tenth of a second: a hub with 10 ends a second never comes
to that, and a flood is not read faster."""


class Connection(Protocol):
    """What is needed of an ``OxenHook``."""

    @property
    def oxen_conn_id(self) -> str:
        """Id of the Airflow connection."""

    async def asettings(self) -> Settings:
        """Return the connection, read without blocking the event loop."""


class Subscriber(Protocol):
    """Somebody who wants to know what the stream tells. The calls must not block."""

    def opened(self) -> None:
        """What ends from now on is told; what ended before must be looked up."""

    def lost(self, *, is_answering: bool) -> None:
        """Nothing is told until the stream is opened again.

        :param is_answering: whether the hub answers, though it has no stream, so that its rows can be had.
        """

    def told(self, generation: Generation) -> None:
        """Take the end of a generation, as far as the stream tells of it: a stranger's word."""


class EventListener:
    """Keeps a stream of events open for as long as anybody subscribes to it.

    :param connection: is read anew each time that the stream is opened.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: BulkClient | None = None
        self._lock = asyncio.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._subscribers: dict[Subscriber, bool] = {}
        self._is_open = False
        self._reader: asyncio.Task[None] | None = None

    def join(self, subscriber: Subscriber, *, depends: bool) -> None:
        """Tell a subscriber from now on what the stream tells.

        :param depends: whether it has only the stream, so that a failure of it is worth a warning.
        """
        self._subscribers[subscriber] = depends
        if self._is_open:
            subscriber.opened()
        if self._reader is None:
            # In no context: else all that it logs would stand in the log of the task that came first.
            self._reader = asyncio.get_running_loop().create_task(
                self._listen(),
                name=f"oxen-events-{self._connection.oxen_conn_id}",
                context=contextvars.Context(),
            )

    async def leave(self, subscriber: Subscriber) -> None:
        """Tell a subscriber nothing more; with the last one, the connections are closed."""
        self._subscribers.pop(subscriber, None)
        if self._subscribers or self._reader is None:
            return
        reader, self._reader = self._reader, None
        while not reader.done():
            reader.cancel()
            await asyncio.wait([reader], timeout=RECANCEL)
        # Somebody may have come meanwhile, who has a reader of its own and this client.
        if self._reader is None and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @property
    def lag(self) -> float:
        """Seconds that the hub's clock is behind ours, as far as its answers have told."""
        return self._client.clock.lag if self._client else 0.0

    def redact(self, text: str) -> str:
        """Return a text of the hub's without the key, and without what may be a signature."""
        return without_queries(self._client.settings.redact(text) if self._client else text)

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

    async def _open(self, anew: bool = False) -> BulkClient:
        async with self._lock:
            if anew or self._client is None:
                # Not sent again by the client: the next wakeup is the next try.
                settings = replace(await self._connection.asettings(), max_retries=0)
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
            began, asked, is_answering = clock(), 0.0, False
            try:
                await self._hear()
                problem = "The stream of events has ended."
            except Exception as error:
                problem, asked = reason(error), getattr(error, "retry_after", None) or 0.0
                is_answering = _is_answer(error)
            finally:
                self._is_open = False
            for subscriber in list(self._subscribers):
                subscriber.lost(is_answering=is_answering)
            failures = 0 if clock() - began >= STEADY else failures + 1
            pause = max(_pause(failures), min(asked, 5 * LONGEST_PAUSE))
            if failures <= 3 or failures % TELL == 0:
                level = logging.WARNING if failures and any(self._subscribers.values()) else logging.INFO
                log.log(
                    level, "%s Listening again in %.1f s; what ends meanwhile is looked up.", problem, pause
                )
            await asyncio.sleep(pause)

    async def _hear(self) -> None:
        client = await self._open(anew=True)
        async with events(client) as stream:
            raise_if_cancelled()
            log.info("Listening to what ends on %s.", client.settings.base_url)
            # Not before the stream is open: what ends from now on is told, what ended before is looked up.
            self._is_open = True
            for subscriber in list(self._subscribers):
                subscriber.opened()
            number = 0
            async for generation in stream:
                for subscriber in list(self._subscribers):
                    subscriber.told(generation)
                number += 1
                if number % BURST == 0:
                    await asyncio.sleep(0.1)


def raise_if_cancelled() -> None:
    """End a task that was told to end while it connected.

    Where that comes in the very moment in which a connection is made, anyio keeps it to itself. The task
    would go on, and whoever waits for its end, such as an event loop that closes, would wait for ever.

    :raises asyncio.CancelledError: where the task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def reason(error: Exception) -> str:
    """Return what a log, or an event, says of an error: a sentence without a signed link."""
    return error.message if isinstance(error, OxenError) else describe_error(error)


def _is_answer(error: Exception) -> bool:
    """Whether a hub that refuses the stream may still tell its history: then that has to do."""
    if isinstance(error, OxenAuthenticationError | OxenPermissionError):
        return False
    return isinstance(error, OxenError) and error.status is not None


def _pause(failures: int) -> float:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 20))
    # Many triggerers lose their streams together, and should not come back together.
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
