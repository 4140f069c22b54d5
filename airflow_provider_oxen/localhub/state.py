"""The whole state of a running local hub."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import heapq
import hmac
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request

from airflow_provider_oxen.localhub.answers import Refused
from airflow_provider_oxen.localhub.billing import Billing
from airflow_provider_oxen.localhub.faults import Faults
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["Links", "State", "WorkerSlots"]


class State:
    """Settings, money, requests and faults of one hub.

    The routes use it on the hub's event loop, :class:`.LocalHub` from other threads.

    :ivar streams: the open streams of events; a stream that is removed from it is broken.
    :ivar rewrite: changes the hub's answers; see :meth:`.LocalHub.rewrite_answers`.
    """

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.billing = Billing(settings, self.now)
        self.faults = Faults()
        self.links = Links()
        self.worker_slots = WorkerSlots()
        self.streams: set[object] = set()
        self.closing = asyncio.Event()
        self.rewrite: Callable[[str, Any], Any] | None = None
        self._start = copy.deepcopy(settings)
        self._requests: list[dict[str, Any]] = []
        self._accepted: deque[float] = deque()

    def reset(self) -> None:
        """Return to the start: the original settings, nothing billed, no faults."""
        # The streams know jobs that are now forgotten.
        self.streams.clear()
        # Clear this first: forgotten jobs must not refund credits.
        self.billing.clear()
        self.settings.update(dict(copy.deepcopy(self._start)))
        self.faults.clear()
        self.rewrite = None
        self.worker_slots = WorkerSlots()
        self._requests = []
        self._accepted = deque()

    def now(self) -> float:
        """Return unix seconds by the hub's clock."""
        return time.time() + self.settings.clock_ahead

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the hub runs."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), seconds)

    async def work(self) -> None:
        """Wait for a free slot, and for as long as a synchronous call runs."""
        settings = self.settings
        await self.pause(self.worker_slots.take(time.monotonic(), settings.latency, settings.at_once))

    def record(self, request: Request) -> dict[str, Any]:
        """Record a request, without the key; its status is added when the answer begins."""
        seen = {
            "method": request.method,
            "path": request.scope["path"],
            "query_keys": sorted(request.query_params),
            "authorized": "authorization" in request.headers,
            "key_ok": self.key_ok(request),
            "status": None,
        }
        self._requests.append(seen)
        return seen

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests so far, oldest first."""
        return [dict(seen) for seen in list(self._requests)]

    def key_ok(self, request: Request) -> bool:
        """Return whether the request has the right key."""
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.settings.key}".encode())

    def need_key(self, request: Request) -> None:
        """:raises Refused: 401."""
        if not self.key_ok(request):
            raise Refused(401, "unauthenticated", shape="typed")

    def need_rate(self) -> None:
        """:raises Refused: 429 with the seconds until the next request is allowed."""
        limit, window, now = self.settings.rate_limit, self.settings.rate_window, self.now()
        if limit is None:
            return
        while self._accepted and self._accepted[0] <= now - window:
            self._accepted.popleft()
        if len(self._accepted) >= limit:
            wait = self._accepted[-limit] + window - now if limit else window
            raise Refused(429, "Too many requests.", headers={"Retry-After": str(max(1, math.ceil(wait)))})
        self._accepted.append(now)

    def origin(self, request: Request) -> str:
        """Return the origin of result URLs."""
        return self.settings.files_origin or str(request.base_url).rstrip("/")


class WorkerSlots:
    """When each running call will end. The time is passed in, and nothing waits here.

    The duration of a call is fixed when it comes, so no other call need be woken when it ends.
    """

    def __init__(self) -> None:
        self._ends: list[float] = []

    def take(self, now: float, seconds: float, at_once: int | None) -> float:
        """Return the seconds until a call that comes now has run for the given time.

        :param now: seconds of any clock that only goes forward.
        :param at_once: how many calls run at once, or None for any number.
        """
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        begin = now
        while at_once is not None and len(self._ends) >= at_once:
            begin = heapq.heappop(self._ends)
        end = begin + seconds
        heapq.heappush(self._ends, end)
        return end - now


class Links:
    """Makes and checks the result URLs of one hub, with a secret of this hub."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, origin: str, namespace: str, id: str, expires: float) -> str:
        """Return a URL that works until ``expires`` (unix seconds).

        As on the real hub, the name is ``image.png`` for every format; only the bytes show the format.
        """
        path = f"/api/repos/{quote(namespace, safe='')}/generated/files/{id}/image.png"
        query = {"expires": int(expires), "signature": self._sign(namespace, id, str(int(expires)))}
        return f"{origin}{path}?{urlencode(query)}"

    def problem(self, namespace: str, id: str, query: Mapping[str, str], now: float) -> str | None:
        """Return why a URL does not work, or None."""
        expires = query.get("expires", "")
        signature = self._sign(namespace, id, expires)
        if not hmac.compare_digest(signature.encode(), query.get("signature", "").encode()):
            return "The URL's signature is missing or wrong."
        return "The URL has expired." if now >= int(expires) else None

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
