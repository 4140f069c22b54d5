"""Follow the link of a result, redirect by redirect, to an open response with the bytes.

:mod:`~airflow_provider_oxen.api.reach` decides where images may be fetched from. The key is sent only after a
401 or 403, and only to the hub's own origin.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import httpx

from airflow_provider_oxen.api import answers, body
from airflow_provider_oxen.api.client import AsyncClient, Client, bearer
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.errors import OxenDownloadError, OxenExpiredURL
from airflow_provider_oxen.api.redact import without_query
from airflow_provider_oxen.api.settings import Settings, is_loopback, origin

__all__ = ["MAX_REDIRECTS", "Blocking", "OnLoop", "Way", "follow"]

MAX_REDIRECTS = 5

_CHUNK = 64 * 1024

_WHOLE = (200, 203)
"""Statuses of a whole body: a 202 or 204 has none yet, and a 206 has only a part."""


class Way(Protocol):
    """How to send requests and read bodies: on an event loop, or in code that never suspends."""

    @property
    def client(self) -> Client | AsyncClient: ...

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[Deadline]: ...

    async def sleep(self, seconds: float) -> None: ...

    async def may_ask(self, url: httpx.URL) -> None: ...

    async def get(self, url: httpx.URL, headers: dict[str, str]) -> httpx.Response: ...

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes]: ...

    async def close(self, response: httpx.Response) -> None: ...


class Blocking:
    """A way that never suspends."""

    def __init__(self, client: Client, sleep: Callable[[float], None]) -> None:
        self.client = client
        self._sleep = sleep

    @contextlib.asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[Deadline]:
        with Deadline(seconds) as deadline:
            yield deadline

    async def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    async def may_ask(self, url: httpx.URL) -> None:
        self.client.reach.may_ask(url)

    async def get(self, url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
        http = self.client.http
        return http.send(http.build_request("GET", url, headers=headers), stream=True)

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        return body.pieces(response, _CHUNK)

    async def close(self, response: httpx.Response) -> None:
        response.close()


class OnLoop:
    """A way for an event loop."""

    def __init__(self, client: AsyncClient, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.client = client
        self._sleep = sleep

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds)

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def may_ask(self, url: httpx.URL) -> None:
        await self.client.reach.amay_ask(url)

    async def get(self, url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
        http = self.client.http
        return await http.send(http.build_request("GET", url, headers=headers), stream=True)

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        return body.pieces(response, _CHUNK)

    async def close(self, response: httpx.Response) -> None:
        await response.aclose()


async def follow(way: Way, url: str) -> httpx.Response:
    """Return the open response with the bytes, after following redirects by hand."""
    encrypted = False
    for _ in range(MAX_REDIRECTS + 1):
        _may_ask(way.client.settings, url, encrypted)
        # httpx reads a link letter by letter: once is enough for a long one.
        link = httpx.URL(url)
        await way.may_ask(link)
        encrypted = link.scheme == "https"
        response = await _ask(way, link)
        if response.next_request is None:
            try:
                _judge(response, url)
            except OxenDownloadError:
                await way.close(response)
                raise
            return response
        await way.close(response)
        url = str(response.next_request.url)
    raise OxenDownloadError(
        f"The image could not be fetched: more than {MAX_REDIRECTS} redirects, the last to "
        f"{without_query(url)}.",
        not_yet=True,
    )


async def _ask(way: Way, url: httpx.URL) -> httpx.Response:
    # identity: Content-Length is compared with the bytes that arrive, and an encoding would change that.
    headers = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
    response = await way.get(url, headers)
    settings = way.client.settings
    key = settings.api_key
    if response.status_code in (401, 403) and key and origin(str(url)) == origin(settings.base_url):
        await way.close(response)
        response = await way.get(url, {**headers, **bearer(key)})
    return response


def _may_ask(settings: Settings, url: str, encrypted: bool) -> None:
    """Refuse an unencrypted request, unless the connection allows it and no encrypted step led here."""
    scheme, host, _ = origin(url)
    # A hub on this machine may link to this machine; a hub elsewhere may not.
    local = is_loopback(host) and settings.base_url.startswith("http://")
    if encrypted and scheme != "https":
        raise OxenDownloadError(
            f"The link to the image redirects from https to {without_query(url)}; it was not followed.",
            # For example to a sign-in page, which may be only temporary.
            not_yet=True,
        )
    if scheme != "https" and not (scheme == "http" and (settings.allow_http or local)):
        raise OxenDownloadError(
            f"The link to the image, {without_query(url)}, is not https; it was not fetched.",
            remedy="Set the connection's extra allow_http to true if that is meant.",
        )


def _judge(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in _WHOLE:
        return
    facts: dict[str, Any] = {"status": status, "retry_after": answers.retry_after(response.headers)}
    if status in (401, 403, 404, 410):
        raise OxenExpiredURL(
            f"The link to the image, {without_query(url)}, does not work: it has expired, needs another key, "
            "or the image is not there yet.",
            **facts,
        )
    passing = status in (408, 426, 429) or status >= 500
    raise OxenDownloadError(
        f"The image could not be fetched from {without_query(url)}.",
        passing=passing,
        not_yet=not passing,
        **facts,
    )
