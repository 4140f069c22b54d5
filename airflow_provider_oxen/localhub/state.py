"""Everything a local hub knows while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import hmac
import math
import threading
import time
from collections import deque
from typing import Any

from starlette.requests import Request

from airflow_provider_oxen.localhub.books import Books
from airflow_provider_oxen.localhub.faults import Faults
from airflow_provider_oxen.localhub.links import Links
from airflow_provider_oxen.localhub.problems import Refused
from airflow_provider_oxen.localhub.settings import HubSettings
from airflow_provider_oxen.localhub.streams import Streams
from airflow_provider_oxen.localhub.turns import Turns

__all__ = ["State"]


class State:
    """Settings, books, requests and faults of one hub.

    The routes use it on the hub's event loop, :class:`.LocalHub` from other threads.
    """

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.books = Books(settings, self.now)
        self.faults = Faults()
        self.links = Links()
        self.turns = Turns()
        self.streams = Streams()
        self.closing = asyncio.Event()
        self._start = copy.deepcopy(settings)
        self._lock = threading.Lock()
        self._requests: list[dict[str, Any]] = []
        self._accepted: deque[float] = deque()

    def reset(self) -> None:
        """Return to the start: settings as they were given, nothing billed, no fault to come."""
        fresh = copy.deepcopy(self._start)
        # What they have heard of is forgotten.
        self.streams.drop()
        # First: what is forgotten gives no credits back.
        self.books.clear()
        for item in dataclasses.fields(fresh):
            setattr(self.settings, item.name, getattr(fresh, item.name))
        self.faults.clear()
        self.turns = Turns()
        with self._lock:
            self._requests.clear()
            self._accepted.clear()

    def now(self) -> float:
        """Return unix seconds by the hub's clock."""
        return time.time() + self.settings.clock_ahead

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the hub lives."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), seconds)

    async def work(self) -> None:
        """Wait for a turn, and for as long as a synchronous call is worked on."""
        settings = self.settings
        await self.pause(self.turns.take(time.monotonic(), settings.latency, settings.at_once))

    def record(self, request: Request) -> dict[str, Any]:
        """Remember a request; its status is filled in when the answer begins. Never keeps the key."""
        seen = {
            "method": request.method,
            "path": request.scope["path"],
            "query_keys": sorted(request.query_params),
            "authorized": "authorization" in request.headers,
            "key_ok": self.key_ok(request),
            "status": None,
        }
        with self._lock:
            self._requests.append(seen)
        return seen

    def requests(self) -> list[dict[str, Any]]:
        """Return what was asked so far, first first."""
        with self._lock:
            return [dict(seen) for seen in self._requests]

    def key_ok(self, request: Request) -> bool:
        """Whether the request carries the right key."""
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.settings.key}".encode())

    def need_key(self, request: Request) -> None:
        """:raises Refused: 401."""
        if not self.key_ok(request):
            raise Refused(401, "unauthenticated", shape="typed")

    def need_rate(self) -> None:
        """:raises Refused: 429 with the seconds until there is room again."""
        limit, window, now = self.settings.rate_limit, self.settings.rate_window, self.now()
        if limit is None:
            return
        while self._accepted and self._accepted[0] <= now - window:
            self._accepted.popleft()
        if len(self._accepted) >= limit:
            wait = self._accepted[-limit] + window - now if limit else window
            raise Refused(429, "Too many requests.", headers={"Retry-After": str(max(1, math.ceil(wait)))})
        self._accepted.append(now)
