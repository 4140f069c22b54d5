"""The two clients of the hub: one that blocks, and one for event loops. Both send as :mod:`.sending` says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from airflow_provider_oxen.api import body
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.sending import Sender
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.tls import ssl_context
from airflow_provider_oxen.api.transports import AsyncTransport, Transport

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

_FRESH: dict[str, Any] = {"limits": httpx.Limits(max_connections=None, max_keepalive_connections=0)}
"""Options that open a new connection for each paid request. The other end may already have closed a kept
connection, and then nobody can tell whether the request arrived."""


class Client(Sender):
    """Talks to the hub. As thread-safe as ``httpx.Client``; close it, or use it as a context manager.

    :param settings: where the hub is and how to talk to it.
    :param transport: replaces the network, for tests.
    :param sleep: waits the given number of seconds between two attempts.
    """

    http: httpx.Client
    _paid_transport: Transport | None
    blocks = True

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(settings, transport is None)
        self._sleep = sleep
        self.http = httpx.Client(transport=transport or self._transport(), **_options(settings))
        self._paid_transport = self._transport(**_FRESH) if transport is None else None

    def _transport(self, **options: Any) -> Transport:
        policy = self.link_policy
        return Transport(policy.proxies, ssl_context(self.settings.verify), policy.admit, **options)

    async def pause(self, seconds: float) -> None:
        self._sleep(seconds)

    def send(self, call: Call[T], *, guard: Callable[[], None] | None = None) -> T:
        """Send the call, repeat it if that is safe, and return its result.

        :param guard: the last check before a paid call. It is called at each attempt, once a connection is
            open and before the first byte of the request is sent. If it raises, the attempt stops and the
            error passes unchanged.
        :raises OxenError: the class says what happened and whether money was spent.
        """
        return unsuspended(self.asend(call, guard))

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
        if self._paid_transport:
            self._paid_transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(Sender):
    """:class:`Client` for event loops.

    Where that matters, create it off the event loop: the first client of a process reads the CA bundle.
    """

    http: httpx.AsyncClient
    _paid_transport: AsyncTransport | None

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(settings, transport is None)
        self._sleep = sleep
        self.http = httpx.AsyncClient(transport=transport or self._transport(), **_options(settings))
        self._paid_transport = self._transport(**_FRESH) if transport is None else None

    def _transport(self, **options: Any) -> AsyncTransport:
        policy = self.link_policy
        context = ssl_context(self.settings.verify)
        return AsyncTransport(policy.proxies, context, policy.admit, policy.is_hub, **options)

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def send(self, call: Call[T], *, guard: Callable[[], Awaitable[None]] | None = None) -> T:
        """Send the call as :meth:`Client.send` does."""
        return await self.asend(call, guard)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        if self._paid_transport:
            await self._paid_transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "base_url": settings.base_url,
        "timeout": httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
        "headers": {
            "User-Agent": _user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": body.ENCODINGS,
        },
        # Our own transport reads the environment.
        "trust_env": False,
        "follow_redirects": False,
    }


@lru_cache(maxsize=1)
def _user_agent() -> str:
    from airflow_provider_oxen import __version__

    # Never use the package's own name: the hub takes every client that says "oxen" for its command-line
    # tool, and refuses a version older than the minimum for that tool.
    return f"airflow-image-provider/{__version__}"
