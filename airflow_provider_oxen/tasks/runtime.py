"""How a try sends requests, fetches, waits and does blocking work: one by one, or on an event loop.

The effects for one image and for a batch's row are the same code; this is the difference between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.clock import Clock
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.errors import OxenImageError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import fetch, fetched
from airflow_provider_oxen.images.fetched import Download

__all__ = ["BlockingRuntime", "LoopRuntime", "Runtime"]

T = TypeVar("T")

_QUICK = 0.02
"""Seconds that one check may take on the event loop. After a slower one, threads run all further checks."""


class Runtime(Protocol):
    """What both ways offer. Only :meth:`blocking` runs blocking work."""

    client: Client | AsyncClient

    @property
    def settings(self) -> Settings:
        return self.client.settings

    @property
    def clock(self) -> Clock:
        return self.client.clock

    async def send(self, call: Call[T]) -> T:
        """Send a call, and retry if that is safe."""
        ...

    async def send_once(
        self,
        call: Call[T],
        *,
        guard: Callable[[], None] | None = None,
        is_quick: Callable[[], bool] = lambda: False,
    ) -> T:
        """Send a call once.

        :param guard: the last check before a paid call; it blocks, see :meth:`.Client.send`.
        :param is_quick: whether the check reads only the record.
        """
        ...

    def within(self, deadline: Deadline) -> AbstractAsyncContextManager[Deadline]:
        """Return a context whose requests end by a deadline."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def blocking(self, work: Callable[[], T]) -> T:
        """Run blocking work."""
        ...

    def beside(self, work: Coroutine[Any, Any, T]) -> AbstractAsyncContextManager[Awaitable[T]]:
        """Return a context in which work goes on beside what is done there, if that is possible.

        It is cancelled at the end.
        """
        ...

    def downloads(self, links: Sequence[str], max_bytes: int) -> AbstractAsyncContextManager[Download]:
        """Return a context in which links, mainly these, can be fetched."""
        ...


class BlockingRuntime(Runtime):
    """One thing after the other: nothing here ever suspends."""

    def __init__(self, client: Client) -> None:
        self.client: Client = client

    async def send(self, call: Call[T]) -> T:
        return self.client.send(call)

    async def send_once(
        self,
        call: Call[T],
        *,
        guard: Callable[[], None] | None = None,
        is_quick: Callable[[], bool] = lambda: False,
    ) -> T:
        with Client(replace(self.settings, max_retries=0)) as client:
            return client.send(call, guard=guard)

    @contextlib.asynccontextmanager
    async def within(self, deadline: Deadline) -> AsyncIterator[Deadline]:
        with deadline:
            yield deadline

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def blocking(self, work: Callable[[], T]) -> T:
        return work()

    @contextlib.asynccontextmanager
    async def beside(self, work: Coroutine[Any, Any, T]) -> AsyncIterator[Awaitable[T]]:
        with contextlib.closing(work):
            yield work

    @contextlib.asynccontextmanager
    async def downloads(self, links: Sequence[str], max_bytes: int) -> AsyncIterator[Download]:
        yield lambda link: fetch.from_url(self.client, link, max_bytes)


class LoopRuntime(Runtime):
    """Many tries side by side on one event loop, which must not be blocked.

    :param sender: sends once: the batch decides whether and when a paid request is sent again.
    :param looks_are_quick: whether records are on a local disk. Reading one there takes less time than a hop
        to a thread, so the last check runs on the loop as long as it stays quick.
    """

    def __init__(
        self, client: AsyncClient, sender: AsyncClient, threads: Threads, *, looks_are_quick: bool = False
    ) -> None:
        self.client: AsyncClient = client
        self._looks_are_quick = looks_are_quick
        self._sender = sender
        self._threads = threads

    async def send(self, call: Call[T]) -> T:
        return await self.client.send(call)

    async def send_once(
        self,
        call: Call[T],
        *,
        guard: Callable[[], None] | None = None,
        is_quick: Callable[[], bool] = lambda: False,
    ) -> T:
        if guard is None:
            return await self._sender.send(call)

        async def look() -> None:
            if not (self._looks_are_quick and is_quick()):
                await self.blocking(guard)
                return
            began = time.monotonic()
            guard()
            # A local folder may be a mount of another machine's: it must not block all rows again.
            self._looks_are_quick = time.monotonic() - began < _QUICK

        return await self._sender.send(call, guard=look)

    def within(self, deadline: Deadline) -> Deadline:
        return deadline

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._threads.submit(work))

    @contextlib.asynccontextmanager
    async def beside(self, work: Coroutine[Any, Any, T]) -> AsyncIterator[Awaitable[T]]:
        task = asyncio.get_running_loop().create_task(work)
        try:
            yield task
        finally:
            task.cancel()

    @contextlib.asynccontextmanager
    async def downloads(self, links: Sequence[str], max_bytes: int) -> AsyncIterator[Download]:
        loop = asyncio.get_running_loop()
        # Fetch before the bytes are proved and written, so that no thread waits for the network.
        left = {link: await self._fetched(link, max_bytes) for link in dict.fromkeys(links)}

        def download(link: str) -> fetched.Fetched:
            got = left.pop(link, None)
            if got is None:
                again = fetch.afrom_url(self.client, link, max_bytes)
                return asyncio.run_coroutine_threadsafe(again, loop).result()
            if isinstance(got, OxenImageError):
                raise got
            return got

        try:
            yield download
        finally:
            for got in left.values():
                if isinstance(got, fetched.Fetched):
                    got.close()

    async def _fetched(self, link: str, max_bytes: int) -> fetched.Fetched | OxenImageError:
        try:
            return await fetch.afrom_url(self.client, link, max_bytes)
        except OxenImageError as error:
            return error
