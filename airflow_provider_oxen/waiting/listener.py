"""Listen to what ends on the hub: one stream of events for each connection, shared by all.

An event only wakes the code that waits or follows; the hub's rows say what is true. So a stream that is
broken or lies costs only an extra look.
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
from airflow_provider_oxen.api.errors import OxenAuthenticationError, OxenError, OxenPermissionError
from airflow_provider_oxen.api.events import events
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.tls import ssl_context

__all__ = ["Connection", "EventListener", "Subscriber", "raise_if_cancelled", "reason"]

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
"""Seconds before a lost stream is opened again; doubled with each failure."""

LONGEST_PAUSE = 60.0
"""Longest time in seconds between two such tries, unless the hub asks for more."""

STEADY = 10.0
"""Seconds after which a stream counts as working."""

LOG_EVERY = 10
"""After the first three failures, one failure in this many is logged."""

AT_ONCE = 10
"""Rows that are requested at the same time."""

RECANCEL = 0.5
"""Seconds after which a task that has not ended is cancelled again; see :func:`raise_if_cancelled`."""

BURST = 1_000
"""Events after which the event loop's other work gets a tenth of a second. A hub with 10 ends a second never
reaches it; a flood is read no faster."""


class Connection(Protocol):
    """The parts of an ``OxenHook`` that are needed here."""

    @property
    def oxen_conn_id(self) -> str:
        """Id of the Airflow connection."""

    async def asettings(self) -> Settings:
        """Return the connection, read without blocking the event loop."""


class Subscriber(Protocol):
    """Receives what the stream reports. The methods must not block."""

    def on_open(self) -> None:
        """The stream reports what ends from now on; earlier ends must be looked up."""

    def on_lost(self, *, is_answering: bool) -> None:
        """Nothing is reported until the stream is open again.

        :param is_answering: whether the hub answers although it has no stream, so that its rows can be read.
        """

    def on_end(self, generation: Generation) -> None:
        """Receive the end of a generation, with what the stream knows about it; untrusted."""


class EventListener:
    """Keeps a stream of events open while it has subscribers.

    :param connection: read again each time the stream is opened.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: BulkClient | None = None
        self._lock = asyncio.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._subscribers: dict[Subscriber, bool] = {}
        self._is_open = False
        self._reader: asyncio.Task[None] | None = None

    def subscribe(self, subscriber: Subscriber, *, depends: bool) -> None:
        """Report to a subscriber from now on.

        :param depends: whether the subscriber has only the stream; then a failure is worth a warning.
        """
        self._subscribers[subscriber] = depends
        if self._is_open:
            subscriber.on_open()
        if self._reader is None:
            # Use an empty context: otherwise its log lines would go to the log of the first task.
            self._reader = asyncio.get_running_loop().create_task(
                self._listen(),
                name=f"oxen-events-{self._connection.oxen_conn_id}",
                context=contextvars.Context(),
            )

    async def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop reporting to a subscriber; when the last one leaves, close the connections."""
        self._subscribers.pop(subscriber, None)
        if self._subscribers or self._reader is None:
            return
        reader, self._reader = self._reader, None
        while not reader.done():
            reader.cancel()
            await asyncio.wait([reader], timeout=RECANCEL)
        # A new subscriber may have joined meanwhile, with its own reader and this client.
        if self._reader is None and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @property
    def lag(self) -> float:
        """Seconds that the hub's clock is behind ours, as far as its answers show."""
        return self._client.clock.lag if self._client else 0.0

    def redact(self, text: str) -> str:
        """Return a text from the hub without the key and without possible signatures."""
        return without_queries(self._client.settings.redact(text) if self._client else text)

    async def namespace(self) -> str | None:
        """Return the connection's namespace."""
        return (await self._open()).settings.target_namespace

    async def send(self, call: Call[T]) -> T:
        """Send a call, several at the same time. If the key is wrong by now, read it again."""
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
                # The client does not retry: the next wakeup is the next try.
                settings = replace(await self._connection.asettings(), max_retries=0)
                if self._client is None or settings != self._client.settings:
                    # The first TLS context of a process reads the CA bundle: do it off the loop.
                    await asyncio.to_thread(ssl_context, settings.verify)
                    old, self._client = self._client, BulkClient(settings)
                    if old is not None:
                        await old.aclose()
            return self._client

    async def _listen(self) -> None:
        clock, failures = asyncio.get_running_loop().time, 0
        while True:
            began, retry_after, is_answering = clock(), 0.0, False
            try:
                await self._read()
                problem = "The stream of events has ended."
            except Exception as error:
                problem, retry_after = reason(error), getattr(error, "retry_after", None) or 0.0
                is_answering = _is_answer(error)
            finally:
                self._is_open = False
            for subscriber in list(self._subscribers):
                subscriber.on_lost(is_answering=is_answering)
            failures = 0 if clock() - began >= STEADY else failures + 1
            pause = max(_pause(failures), min(retry_after, 5 * LONGEST_PAUSE))
            if failures <= 3 or failures % LOG_EVERY == 0:
                level = logging.WARNING if failures and any(self._subscribers.values()) else logging.INFO
                log.log(
                    level, "%s Listening again in %.1f s; what ends meanwhile is looked up.", problem, pause
                )
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        client = await self._open(anew=True)
        async with events(client) as stream:
            raise_if_cancelled()
            log.info("Listening for generations that end on %s.", client.settings.base_url)
            # Not before the stream is open: it reports what ends from now on; the rest is looked up.
            self._is_open = True
            for subscriber in list(self._subscribers):
                subscriber.on_open()
            number = 0
            async for generation in stream:
                for subscriber in list(self._subscribers):
                    subscriber.on_end(generation)
                number += 1
                if number % BURST == 0:
                    await asyncio.sleep(0.1)


def raise_if_cancelled() -> None:
    """End a task that was cancelled while it was connecting.

    If the cancellation arrives at the very moment a connection is made, anyio swallows it. The task would go
    on, and code that waits for its end, such as a closing event loop, would wait for ever.

    :raises asyncio.CancelledError: if the task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def reason(error: Exception) -> str:
    """Return an error as a sentence for a log or an event, without a signed link."""
    return error.message if isinstance(error, OxenError) else describe_error(error)


def _is_answer(error: Exception) -> bool:
    """Return whether a hub that refuses the stream may still serve its history; then that has to do."""
    if isinstance(error, OxenAuthenticationError | OxenPermissionError):
        return False
    return isinstance(error, OxenError) and error.status is not None


def _pause(failures: int) -> float:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 20))
    # Many triggerers lose their streams at the same time; they should not reconnect at the same time.
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
