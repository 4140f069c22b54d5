"""Send requests directly or by proxy, within their deadline, and to links only where they are allowed.

``httpx`` passes each request to a transport. Ours chooses the proxy (:mod:`.proxies`). Below it, our own
network backend makes the connections, so that the address that was judged is the one that is connected to,
and each blocking read and write ends by the request's deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import httpcore
import httpx

from airflow_provider_oxen.api.addresses import Address
from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.api.connections import Connections
from airflow_provider_oxen.api.proxies import Proxies
from airflow_provider_oxen.api.streams import AsyncStream, Stream, as_httpcore_errors, within

__all__ = ["RESOLVERS", "AsyncTransport", "Transport", "resolve"]

T = TypeVar("T", httpx.HTTPTransport, httpx.AsyncHTTPTransport)

Admit = Callable[[str, Sequence[Address]], Sequence[Address]]
"""Takes a host and its addresses, and returns those that may be connected to, or raises."""

_MANY = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=5.0)
"""For an event loop. It keeps as many connections as it may open, because images come in bursts."""

RESOLVERS = Threads(4, "oxen-resolve")
"""Threads that resolve names for event loops: a connection waits for them, and many connect at once."""


class Transport(httpx.BaseTransport):
    """Sends each request directly, or by the proxy that applies to it.

    :param admit: decides which addresses may be connected to; behind a proxy, only the proxy knows them.
    :param options: options of ``httpx.HTTPTransport``.
    """

    def __init__(self, proxies: Proxies, context: ssl.SSLContext, admit: Admit, **options: Any) -> None:
        self._proxies = proxies
        self._transports = _by_proxy(httpx.HTTPTransport, proxies, context, options)
        for proxy, transport in self._transports.items():
            backend = _Backend(admit if proxy is None else lambda host, addresses: addresses)
            # httpx has no argument for it. Its pool asks the backend whenever it connects; tests check that.
            transport._pool._network_backend = backend

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return self._transports[self._proxies.scheme_for(request.url)].handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            transport.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """The async twin of :class:`Transport`; asyncio ends a request at its deadline."""

    def __init__(
        self,
        proxies: Proxies,
        context: ssl.SSLContext,
        admit: Admit,
        is_hub: Callable[[str], bool],
        **options: Any,
    ) -> None:
        self._proxies = proxies
        limits = options.setdefault("limits", _MANY)
        self._transports = _by_proxy(httpx.AsyncHTTPTransport, proxies, context, options)
        # httpx has no argument for its pool; tests check that it uses this one.
        pool: Any = Connections(_AsyncBackend(admit, is_hub), context, limits)
        self._transports[None]._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return await self._transports[self._proxies.scheme_for(request.url)].handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            await transport.aclose()


def _by_proxy(
    kind: type[T], proxies: Proxies, context: ssl.SSLContext, options: dict[str, Any]
) -> dict[str | None, T]:
    """Return a transport for each proxy by its name, and one for direct requests by None."""
    options = {**options, "verify": context, "trust_env": False}
    found: dict[str | None, T] = {None: kind(**options)}
    for name, proxy in proxies.by_scheme.items():
        if proxy.url.scheme == "https":
            # Apply the connection's certificates to a proxy that is reached by TLS, too.
            proxy = httpx.Proxy(proxy.url, auth=proxy.auth, headers=proxy.headers, ssl_context=context)
        found[name] = kind(proxy=proxy, **options)
    return found


def resolve(host: str, port: int, seconds: float | None) -> list[Address]:
    """Return a host's addresses, in the order in which to try them.

    Runs in its own thread: with several search domains, a resolver may take minutes.

    :raises httpcore.ConnectError: if the host has no address.
    :raises httpcore.ConnectTimeout: if the resolver does not answer in time.
    """
    if written := _written(host):
        return written
    # Not a SimpleQueue: before Python 3.13 its get(timeout=) waits forever if a signal handler, such as
    # Airflow's for a kill, outlasts the timeout.
    answer: Future[list[Address]] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask(host, port))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="oxen-resolve", daemon=True).start()
    if not wait([answer], timeout=seconds).done:
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time")
    try:
        return answer.result()
    except Exception as error:
        raise httpcore.ConnectError(str(error)) from error


def _written(host: str) -> list[Address]:
    """Return the address that a host is written as; an empty list for a name."""
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host)]
    return []


def _ask(host: str, port: int) -> list[Address]:
    found = []
    for *_, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        address, scope = str(where[0]), where[3] if len(where) == 4 else 0
        found.append(ipaddress.ip_address(f"{address}%{scope}" if scope and "%" not in address else address))
    return found


class _Backend(httpcore.NetworkBackend):
    """Resolves a name once, and connects to an address that was judged."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that accepts the connection."""
        found = resolve(host, port, within(timeout, httpcore.ConnectTimeout))
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._admit(host, found):
            seconds = within(timeout, httpcore.ConnectTimeout)
            try:
                return Stream(
                    self._plain.connect_tcp(str(address), port, seconds, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """The async twin of :class:`_Backend`; threads resolve names and judge their addresses.

    :param is_hub: whether a host is the hub's own, which needs no judgement.
    """

    def __init__(self, admit: Admit, is_hub: Callable[[str], bool]) -> None:
        self._admit = admit
        self._is_hub = is_hub

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that accepts the connection."""
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._addresses(host, port, timeout):
            try:
                with as_httpcore_errors(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
                    async with asyncio.timeout(timeout):
                        return await AsyncStream.to(str(address), port)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int, timeout: float | None) -> Sequence[Address]:
        written = _written(host)
        if written and self._is_hub(host):
            return written

        def judged() -> Sequence[Address]:
            return self._admit(host, written or _ask(host, port))

        with as_httpcore_errors(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(RESOLVERS.submit(judged))
