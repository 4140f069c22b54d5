"""The connections of one event loop: a request takes one, and its answer gives it back.

This replaces the pool of ``httpcore``, which checks all of its connections whenever a request starts or ends.
With dozens of requests under way, that took a fifth of the time of a batch's event loop.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, cast

import httpcore
import httpx

__all__ = ["Connections"]


class Connections:
    """Opens connections, and keeps those open that may serve another request.

    :param backend: opens connections.
    :param context: TLS context.
    :param limits: how many requests may be under way at once, and how many idle connections are kept for how
        long.
    """

    def __init__(
        self, backend: httpcore.AsyncNetworkBackend, context: ssl.SSLContext, limits: httpx.Limits
    ) -> None:
        self._backend = backend
        self._context = context
        self._expiry = limits.keepalive_expiry
        most_idle = limits.max_keepalive_connections
        self._most_idle = math.inf if most_idle is None else most_idle
        most = limits.max_connections
        self._free = None if most is None else asyncio.Semaphore(most)
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        # In the order of their last use.
        self._idle: dict[httpcore.AsyncHTTPConnection, None] = {}

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request. Its connection stays taken until the answer is closed.

        :raises httpcore.PoolTimeout: if no connection became free within the request's limit.
        """
        await self._wait(request.extensions.get("timeout", {}).get("pool"))
        connection = self._idle_one(request.url.origin) or httpcore.AsyncHTTPConnection(
            request.url.origin, self._context, self._expiry, network_backend=self._backend
        )
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self.give_back(connection)
            raise
        return httpcore.Response(
            status=response.status,
            headers=response.headers,
            content=_Body(cast("Any", response.stream), self, connection),
            extensions=response.extensions,
        )

    async def give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep a connection that may serve another request, and close any other."""
        if self._free is not None:
            self._free.release()
        # A connection that comes back after everything was closed is not kept.
        if connection in self._busy and connection.is_idle():
            self._idle[connection] = None
        elif not connection.is_closed():
            await connection.aclose()
        self._busy.discard(connection)
        while self._idle:
            oldest = next(iter(self._idle))
            if len(self._idle) <= self._most_idle and not oldest.has_expired():
                return
            del self._idle[oldest]
            await oldest.aclose()

    async def aclose(self) -> None:
        """Close all connections, also those in use."""
        connections = [*self._busy, *self._idle]
        self._busy.clear()
        self._idle.clear()
        for connection in connections:
            await connection.aclose()

    async def _wait(self, seconds: float | None) -> None:
        if self._free is None:
            return
        try:
            async with asyncio.timeout(seconds if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise httpcore.PoolTimeout(f"no connection was free within {seconds} s") from None

    def _idle_one(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        """Take the connection to a host that was used last, so that idle ones can be closed in the end."""
        for connection in reversed(self._idle):
            if connection.can_handle_request(origin) and not connection.has_expired():
                del self._idle[connection]
                return connection
        return None


class _Body:
    """The body of an answer; closing it gives its connection back."""

    def __init__(
        self, stream: AsyncIterable[bytes], connections: Connections, connection: httpcore.AsyncHTTPConnection
    ) -> None:
        self._stream = stream
        self._connections = connections
        self._connection = connection
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        """Close the body, however much of it was read."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await cast("Any", self._stream).aclose()
        finally:
            await self._connections.give_back(self._connection)
