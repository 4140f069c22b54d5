"""Sending a call: the only place with a sync and an async twin.

What is sent, what an answer means and what may be sent again is decided elsewhere
(:mod:`.calls`, :mod:`.answers`, :mod:`.retries`); the two classes differ in ``await`` alone.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

import httpx
import tenacity

from airflow_provider_oxen.api import answers, retries
from airflow_provider_oxen.api.calls import LAYOUTS, Call, Layout
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenModelNotFound,
    OxenRouteNotFound,
    OxenSettingsError,
)
from airflow_provider_oxen.api.quiet import quietly
from airflow_provider_oxen.api.settings import Settings

__all__ = ["AsyncClient", "Client", "bearer", "ssl_context"]

T = TypeVar("T")


class _Sender:
    """What both clients share: settings, the layout in use, and the making of requests.

    :ivar layout: the one that has worked, None where that is not known yet.
    """

    def __init__(self, settings: Settings, layout: Layout | None = None) -> None:
        self.settings = settings
        self.layout = layout if settings.api_layout == "auto" else settings.api_layout

    def _order(self, call: Call[Any]) -> Sequence[Layout]:
        """Return the layouts to try: one where it is set or does not matter, else the known one first."""
        if self.settings.api_layout != "auto" or not call.has_layouts:
            return (self.layout or LAYOUTS[0],)
        return sorted(LAYOUTS, key=lambda layout: layout != (self.layout or LAYOUTS[0]))

    def _request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], layout: Layout
    ) -> httpx.Request:
        settings = self.settings
        wait: Any = httpx.USE_CLIENT_DEFAULT
        if call.patience is not None:
            wait = httpx.Timeout(min(call.patience, settings.timeout), connect=settings.connect_timeout)
        return http.build_request(
            call.method,
            _url(settings.base_url, call.paths[layout]),
            params=call.params,
            json=call.body,
            headers=bearer(settings.api_key),
            timeout=wait,
        )

    def _nowhere(self, call: Call[Any], missing: Sequence[OxenRouteNotFound]) -> OxenError:
        last = missing[-1]
        facts: dict[str, Any] = {"status": last.status, "request_id": last.request_id, "type": last.type}
        if call.model and any(error.type == "resource_not_found" for error in missing):
            return OxenModelNotFound(
                f"Model not found: {call.model}. The hub answered the request to {call.name} that it "
                "does not know it. Nothing was spent.",
                **facts,
            )
        if len(missing) == 1:
            return last
        paths = " nor ".join(call.paths[layout] for layout in LAYOUTS)
        return OxenRouteNotFound(
            f"{self.settings.base_url} serves neither {paths}. Check the connection's host; if the hub has "
            "moved its paths, set the connection's api_layout (auto, classic or ai). Nothing was spent.",
            **facts,
        )


class Client(_Sender):
    """Talks to the hub. Thread-safe as far as ``httpx.Client`` is; close it, or use it as a context.

    :param settings: where the hub is and how to talk to it.
    :param transport: in place of the network, for tests.
    :param sleep: waits the seconds between two attempts.
    :param layout: that another client of the same hub has found to work.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(settings, layout)
        self._sleep = sleep
        self.http = httpx.Client(transport=transport, **_options(settings, transport is None))

    def send(self, call: Call[T]) -> T:
        """Send the call, again where it may be, and return its result.

        :raises OxenError: the class that says what happened and whether money was spent.
        """
        missing: list[OxenRouteNotFound] = []
        for layout in self._order(call):
            try:
                result: T = retries.insist(self._again, self._attempt, call, layout)
            except OxenRouteNotFound as error:
                missing.append(error)
                continue
            self.layout = layout
            return result
        raise self._nowhere(call, missing)

    def _again(self) -> tenacity.Retrying:
        return tenacity.Retrying(sleep=self._sleep, **retries.policy(self.settings.max_retries))

    def _attempt(self, call: Call[T], layout: Layout) -> T:
        try:
            with quietly():
                response = self.http.send(self._request(self.http, call, layout))
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise answers.from_transport(error, call, self.settings) from None
        _untie(response)
        return answers.read(response, call, self.settings)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Sender):
    """The async twin of :class:`Client`.

    Build it off the event loop where that matters: the first one of a process reads the CA bundle.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(settings)
        self._sleep = sleep
        self.http = httpx.AsyncClient(transport=transport, **_options(settings, transport is None))

    def _again(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(sleep=self._sleep, **retries.policy(self.settings.max_retries))

    async def send(self, call: Call[T]) -> T:
        """Send the call, again where it may be, and return its result.

        :raises OxenError: the class that says what happened and whether money was spent.
        """
        missing: list[OxenRouteNotFound] = []
        for layout in self._order(call):
            try:
                result: T = await retries.ainsist(self._again, self._attempt, call, layout)
            except OxenRouteNotFound as error:
                missing.append(error)
                continue
            self.layout = layout
            return result
        raise self._nowhere(call, missing)

    async def _attempt(self, call: Call[T], layout: Layout) -> T:
        try:
            with quietly():
                response = await self.http.send(self._request(self.http, call, layout))
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise answers.from_transport(error, call, self.settings) from None
        _untie(response)
        return answers.read(response, call, self.settings)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


def bearer(api_key: str | None) -> dict[str, str]:
    """Return the header that carries the key. Only for requests to the hub's own origin."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


@lru_cache(maxsize=16)
def ssl_context(verify: bool | str) -> ssl.SSLContext:
    """Return the process's one SSL context for a ``verify`` setting: loading the CA bundle takes ~20 ms.

    :raises OxenSettingsError: where the CA bundle cannot be read.
    """
    if verify is True:
        return httpx.create_ssl_context()
    try:
        if os.path.isdir(str(verify)):
            return ssl.create_default_context(capath=str(verify))
        return ssl.create_default_context(cafile=str(verify))
    except (OSError, ValueError) as error:
        raise OxenSettingsError(f"The CA bundle {verify!r} cannot be read: {error}.") from None


def _options(settings: Settings, networked: bool) -> dict[str, Any]:
    return {
        "base_url": settings.base_url,
        "timeout": httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
        "headers": {"User-Agent": _user_agent(), "Accept": "application/json"},
        "verify": ssl_context(settings.verify) if networked else True,
        "proxy": settings.proxy if networked else None,
        "follow_redirects": False,
    }


def _untie(response: httpx.Response) -> None:
    # httpx ties an answer and its stream into a ring: an image would stay until the garbage collector comes.
    response.stream = httpx.ByteStream(b"")


@lru_cache(maxsize=64)
def _url(base: str, path: str) -> httpx.URL:
    # httpx reads a URL letter by letter, twice where it is relative.
    return httpx.URL(f"{base}{path}")


@lru_cache(maxsize=1)
def _user_agent() -> str:
    from airflow_provider_oxen import __version__

    return f"airflow-provider-oxen/{__version__}"
