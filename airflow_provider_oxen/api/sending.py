"""The steps of sending a call, shared by the blocking client and the one for event loops.

Other modules decide what is sent, what an answer means and what may be sent again (:mod:`.calls`,
:mod:`.answers`, :mod:`.retries`). In the blocking client, the async code here never waits for an event loop
(see :func:`.blocking.unsuspended`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import httpx
import tenacity

from airflow_provider_oxen.api import answers, body, retries
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.calls import LAYOUTS, Call, Layout
from airflow_provider_oxen.api.clock import Clock
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.errors import OxenError, OxenModelNotFound, OxenRouteNotFound
from airflow_provider_oxen.api.http_logs import suppress_http_logs
from airflow_provider_oxen.api.keyless import names_with_key, refuse_key
from airflow_provider_oxen.api.link_policy import LinkPolicy
from airflow_provider_oxen.api.proxies import Proxies, read_proxies
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.transports import AsyncTransport, Transport

__all__ = ["Sender", "bearer"]

T = TypeVar("T")
Guard: TypeAlias = Callable[[], Awaitable[None] | None]

_layouts: dict[tuple[str, str | None], Layout] = {}
"""The layout that ``auto`` has found in this process, by host and proxy."""


class Sender:
    """What both clients share: settings, the layout in use, and the creation of requests.

    :param networked: whether requests go to the network, and not to a test's transport with its own hub.
    :ivar http: sends what costs nothing.
    :ivar clock: the hub's clock, as estimated from its answers.
    :ivar link_policy: where images may be fetched from.
    """

    http: httpx.Client | httpx.AsyncClient
    _paid_transport: Transport | AsyncTransport | None
    """Sends paid requests, without a client's redirects, cookies and logins. None in tests, where one
    transport sends everything."""
    pause: Callable[[float], Awaitable[None]]
    """Waits the given number of seconds between two attempts."""
    blocks = False
    """Whether it blocks, and needs no event loop."""

    def __init__(self, settings: Settings, networked: bool) -> None:
        self.settings = settings
        self.clock = Clock()
        self.link_policy = LinkPolicy(settings, read_proxies(settings.proxy) if networked else Proxies())
        self._layouts = _layouts if networked else {}

    @property
    def layout(self) -> Layout | None:
        """The layout that is set, or that has worked for this host; None if it is not known yet."""
        if self.settings.api_layout != "auto":
            return self.settings.api_layout
        return self._layouts.get((self.settings.base_url, self.settings.proxy))

    def _order(self, call: Call[Any]) -> Sequence[Layout]:
        """Return the layouts to try: one if it is set or does not matter; otherwise the known one first."""
        known = self.layout or LAYOUTS[0]
        if self.settings.api_layout != "auto" or not call.has_layouts:
            return (known,)
        return sorted(LAYOUTS, key=lambda layout: layout != known)

    def _remember(self, call: Call[Any], layout: Layout) -> None:
        """Remember the layout that has worked; it replaces an earlier one."""
        if call.has_layouts:
            self._layouts[self.settings.base_url, self.settings.proxy] = layout

    def _request(self, call: Call[Any], layout: Layout) -> httpx.Request:
        settings = self.settings
        if call.paid:
            # Earlier checks name the argument; this last one lets no request pass.
            refuse_key(names_with_key({"the request": call.body}, settings.api_key))
        headers = httpx.Headers(self.http.headers)
        headers.update(bearer(settings.api_key))
        if call.paid:
            # The connection is not used again: tell the server, and keep it out of a busy pool.
            headers["Connection"] = "close"
        wait = httpx.Timeout(self._wait(call), connect=settings.connect_timeout)
        # Do not use the client's build_request, which merges the same values each time.
        return httpx.Request(
            call.method,
            _url(settings.base_url, call.paths[layout]),
            params=call.params,
            json=call.body,
            headers=headers,
            cookies=self.http.cookies,
            extensions={"timeout": wait.as_dict()},
        )

    def _wait(self, call: Call[Any]) -> float:
        """Return for how many seconds no byte may arrive."""
        return min(call.patience or self.settings.timeout, self.settings.timeout)

    def deadline(self, call: Call[Any]) -> Deadline:
        """Return the deadline of one attempt at a call."""
        return Deadline(self._wait(call) * call.slack, self.blocks)

    async def asend(self, call: Call[T], guard: Guard | None = None) -> T:
        """Send a call as the client's ``send`` does. In the blocking client, this never suspends."""
        missing: list[OxenRouteNotFound] = []
        for layout in self._order(call):
            try:
                result: T = await retries.acall_with_retries(self._again, self._attempt, call, layout, guard)
            except OxenRouteNotFound as error:
                missing.append(error)
                continue
            self._remember(call, layout)
            return result
        raise self._not_served(call, missing)

    def _again(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(sleep=self.pause, **retries.policy(self.settings.max_retries))

    async def _attempt(self, call: Call[T], layout: Layout, guard: Guard | None) -> T:
        watch, sent = Watch(), time.time()
        try:
            with suppress_http_logs():
                request = self._request(call, layout)
                async with self.deadline(call) as deadline:
                    if call.paid:
                        response = await self._send_paid(request, watch, guard, deadline)
                    else:
                        response = await self._fetch(request)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise answers.from_transport(error, call, self.settings, sent=watch.sent) from None
        self.clock.update(response.headers, sent, time.time())
        return await self._parsed(response, call)

    async def _fetch(self, request: httpx.Request) -> httpx.Response:
        return await body.fetch_response(self.http, request, body.MAX_FREE_BYTES)

    async def _parsed(self, response: httpx.Response, call: Call[T]) -> T:
        return answers.read(response, call, self.settings)

    async def _send_paid(
        self, request: httpx.Request, watch: Watch, guard: Guard | None, deadline: Deadline
    ) -> httpx.Response:
        async def look() -> None:
            # The hub's time to answer begins with the first byte.
            deadline.suspend()
            if guard and (looking := guard()):
                await looking
            deadline.restart()
            watch.sent = True
            # Further events are of no use.
            request.extensions.pop("trace", None)

        if self.http.is_closed:
            raise RuntimeError("The client has been closed.")

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if watch.is_due(event, info):
                await look()

        if self._paid_transport is None:
            await look()
        else:
            traced = (lambda *told: unsuspended(trace(*told))) if self.blocks else trace
            request.extensions["trace"] = traced
        return await body.fetch_response(self._paid_transport or self.http, request, body.MAX_PAID_BYTES)

    def _not_served(self, call: Call[Any], missing: Sequence[OxenRouteNotFound]) -> OxenError:
        last = missing[-1]
        facts: dict[str, Any] = {"status": last.status, "request_id": last.request_id, "type": last.type}
        if call.model and any(error.type == "resource_not_found" for error in missing):
            return OxenModelNotFound(
                f"Model not found: {call.model}. The hub said so when it was asked to {call.name}.",
                **facts,
            )
        if len(missing) == 1:
            return last
        paths = " nor ".join(call.paths[layout] for layout in LAYOUTS)
        return OxenRouteNotFound(
            f"{self.settings.base_url} serves neither {paths}.",
            remedy="Check the connection's host; if the hub has moved its paths, set the connection's "
            "api_layout (auto, classic or ai).",
            **facts,
        )


class Watch:
    """Receives events from ``httpcore`` about a paid request.

    :ivar sent: whether a byte of the request may have left; None if that was not watched.
    """

    def __init__(self) -> None:
        self.sent: bool | None = None

    def is_due(self, event: str, info: Mapping[str, Any]) -> bool:
        """Return whether the first byte comes next. A proxy's CONNECT is a separate request before it."""
        self.sent = bool(self.sent)
        begins = ".send_request_" in event and event.endswith(".started")
        return begins and not self.sent and info["request"].method != b"CONNECT"


def bearer(api_key: str | None) -> dict[str, str]:
    """Return the header with the key. Only for requests to the hub's own origin."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


@lru_cache(maxsize=64)
def _url(base: str, path: str) -> httpx.URL:
    # httpx parses a URL letter by letter, and a relative one twice.
    return httpx.URL(f"{base}{path}")
