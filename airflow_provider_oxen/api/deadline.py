"""A total deadline, in addition to the timeouts of single reads: one byte a second must not hold us up.

asyncio ends an async request. A blocking request ends itself: before each read and write, its connection asks
here how long it may take (see :mod:`.transports`).
"""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar, Token
from types import TracebackType

import httpx

__all__ = ["LAST", "LOOK", "Deadline", "for_look", "left"]

LOOK = 60.0
"""Seconds that one look may take, with all its requests and retries."""

LAST = 5.0
"""Seconds for a look after the waiting is over: the job may have ended just now."""

_current: ContextVar[Deadline | None] = ContextVar("oxen_deadline", default=None)


def left() -> float:
    """Return the seconds left for blocking code here; infinite if there is no deadline."""
    deadline = _current.get()
    return float("inf") if deadline is None else deadline.left()


class Deadline:
    """A time limit for the code inside ``with`` or ``async with``.

    If deadlines are nested, the nearer one counts.

    :param seconds: the limit, from when the context is entered.
    :param blocks: whether the code inside blocks, also inside ``async with``.
    :raises httpx.TimeoutException: if the limit is exceeded.
    """

    def __init__(self, seconds: float, blocks: bool = False) -> None:
        self._seconds = seconds
        self._began = 0.0
        self._at = float("inf")
        self._outer: Deadline | None = None
        self._token: Token[Deadline | None] | None = None
        self._blocks = blocks
        self._timeout: asyncio.Timeout | None = None

    def left(self) -> float:
        """Return the seconds that are left."""
        left = self._at - time.monotonic()
        return left if self._outer is None else min(left, self._outer.left())

    def allow(self, seconds: float) -> None:
        """Allow this many seconds more than the limit, counted from the beginning."""
        self._at = self._began + self._seconds + seconds
        if self._timeout:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._at - time.monotonic())

    def suspend(self) -> None:
        """Stop counting."""
        self._at = float("inf")
        if self._timeout:
            self._timeout.reschedule(None)

    def restart(self) -> None:
        """Start counting again from now."""
        self._began = time.monotonic()
        self._at = self._began + self._seconds
        if self._timeout:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def __enter__(self) -> Deadline:
        self._outer = _current.get()
        self._token = _current.set(self)
        self.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)

    async def __aenter__(self) -> Deadline:
        if self._blocks:
            return self.__enter__()
        self._timeout = asyncio.Timeout(None)
        await self._timeout.__aenter__()
        self.restart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._timeout is None:
            return self.__exit__(kind, error, tb)
        try:
            await self._timeout.__aexit__(kind, error, tb)
        except TimeoutError:
            raise httpx.ReadTimeout(f"not done within {self._seconds:g} s") from None


def for_look(until: float | None) -> Deadline:
    """Return the deadline of a look at a job.

    :param until: unix seconds when waiting ends; None: never.
    """
    return Deadline(LOOK if until is None else min(LOOK, max(LAST, until - time.time())))
