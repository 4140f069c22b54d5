"""Everything a local hub knows while it runs."""

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

    :ivar streams: the open streams of events; who is no longer among them is cut off.
    :ivar rewrite: makes other answers of the hub's; see :meth:`.LocalHub.rewrite_answers`.
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
        """Return to the start: settings as they were given, nothing billed, no fault to come."""
        # What they have heard of is forgotten.
        self.streams.clear()
        # First: what is forgotten gives no credits back.
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
        """Wait, but no longer than the hub lives."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), seconds)

    async def work(self) -> None:
        """Wait for a turn, and for as long as a synchronous call is worked on."""
        settings = self.settings
        await self.pause(self.worker_slots.take(time.monotonic(), settings.latency, settings.at_once))

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
        self._requests.append(seen)
        return seen

    def requests(self) -> list[dict[str, Any]]:
        """Return what was asked so far, first first."""
        return [dict(seen) for seen in list(self._requests)]

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

    def origin(self, request: Request) -> str:
        """Return the origin of result URLs."""
        return self.settings.files_origin or str(request.base_url).rstrip("/")


class WorkerSlots:
    """When the calls that are worked on will have ended. It is given the time and waits for nobody.

    How long a call takes is settled when it comes, so nobody need be woken when another ends.
    """

    def __init__(self) -> None:
        self._ends: list[float] = []

    def take(self, now: float, seconds: float, at_once: int | None) -> float:
        """Return the seconds until a call that comes now has been worked on for so many.

        :param now: seconds of any clock that only goes forward.
        :param at_once: how many are worked on at once, or None for any number.
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
    """Makes and checks the result URLs of one hub, with a secret that only this hub has."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, origin: str, namespace: str, id: str, expires: float) -> str:
        """Return a URL that works until ``expires`` (unix seconds).

        The name is ``image.png`` whatever the format, as the hub's own: only the bytes tell.
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
