"""How fast a batch may send: one pace for all its prompts, since a struggling hub slows all of them.

:class:`Pace` decides, with times passed in. :class:`Gate` makes the rows wait. Both belong to the one event
loop on which the rows run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_oxen.api.errors import OxenUnavailable

__all__ = ["BACK_OFF", "PATIENCE", "PAUSE", "RUN", "Gate", "NotSent", "Outcome", "Pace"]

PATIENCE = 600.0
"""Seconds without any accepted request before the batch gives up. For a longer wait, Airflow's own retries
give the slot back. The hub documents no limits."""

RUN = 3
"""Consecutive failures after which the hub counts as broken."""

PAUSE, _LONGEST_PAUSE = 5.0, 120.0
"""Seconds of the first and of the longest pause for a broken hub; each pause is twice the one before."""

_QUIET = 60.0
"""Seconds without a request, in addition to a pause, after which a failure counts as the first one."""

BACK_OFF = 2.0
"""Seconds to wait after a 429 that does not say how long."""

_FLOOR = 0.5
"""Shortest wait in seconds after any 429; it doubles each time, until something is accepted."""

Outcome = Literal["accepted", "refused", "limited", "failed"]
"""The outcome of a request. ``refused``: for its content; ``limited``: 429; ``failed``: 5xx, a lost answer,
no connection."""


@dataclass
class Pace:
    """Decides when the next request may be sent. Times are seconds of one clock.

    :param most: most requests under way at once.
    :param apart: least seconds between two requests.
    :ivar width: how many may be under way now: halved when the hub says that there are too many, and one more
        for each round in which it accepts all.
    :ivar pauses: how often the gate has closed since the hub last answered normally; then one request at a
        time finds out whether it works again.
    """

    most: int
    apart: float = 0.0

    def __post_init__(self) -> None:
        self.width = float(self.most)
        self.pauses = 0
        self._opens = 0.0
        self._next = 0.0
        self._since: float | None = None
        self._last = float("-inf")
        self._struck = float("-inf")
        self._failures = 0
        self._limits = 0

    def wait(self, now: float, under_way: int) -> float | None:
        """Return the seconds until the next request may be sent; None: when another has returned."""
        if now < max(self._opens, self._next):
            return max(self._opens, self._next) - now
        allowed = 1 if self.pauses else max(1, int(self.width))
        return 0.0 if under_way < allowed else None

    def sent(self, now: float) -> None:
        """Record that a request is sent."""
        self._next = max(now, self._next) + self.apart

    def came(self, outcome: Outcome, sent: float, now: float, retry_after: float | None = None) -> float:
        """Record the outcome of a request; return the seconds for which it closes the gate.

        :param sent: when it was sent: a request that was under way when the gate closed shows nothing new.
        :param retry_after: seconds that the hub asks to wait.
        """
        if outcome in ("accepted", "refused"):
            self._since, self._failures, self._limits, self.pauses = None, 0, 0, 0
            self.width = min(float(self.most), self.width + 1 / self.width)
            return 0.0
        if self._since is None or sent - max(self._last, self._opens) > _QUIET:
            # If nothing was tried for long, nothing is known about that time.
            self._since = sent
        self._last = max(self._last, now)
        if outcome == "limited":
            if sent > self._struck:
                self.width, self._struck = max(1.0, self.width / 2), now
                self._limits += 1
            floor = min(_LONGEST_PAUSE, _FLOOR * 2.0 ** min(max(self._limits, 1) - 1, 10))
            return self._close(now, max(floor, BACK_OFF if retry_after is None else retry_after))
        self._failures += 1
        pause = retry_after or 0.0
        if self._failures >= RUN and sent > self._struck:
            pause = max(pause, min(_LONGEST_PAUSE, PAUSE * 2**self.pauses))
            self.pauses, self._struck = self.pauses + 1, now
        return self._close(now, pause)

    def _close(self, now: float, seconds: float) -> float:
        longer = now + seconds - self._opens
        self._opens = max(self._opens, now + seconds)
        # Many failures at the same moment count as one.
        return seconds if longer >= 1 else 0.0

    def is_hopeless(self, now: float) -> bool:
        """Return whether nothing was or will be accepted for so long that waiting in a worker is useless."""
        return self._since is not None and max(self._opens, now) - self._since > PATIENCE


class NotSent(OxenUnavailable):
    """The batch had stopped before this row's request was accepted.

    :ivar passes: whether the row itself met an error that may pass.
    """

    def __init__(self, message: str, *, passes: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.passes = passes


class Gate:
    """Lets rows through at the batch's pace, in the order in which they came.

    A row that was let through is at the hub until its image is ready: no more rows than requests may be under
    way at once. Whoever fetches and keeps an image keeps no other row waiting.

    :param warn: receives a message when the pace changes.
    :ivar why: why nothing is let through any more, as a clause; None while the gate is open.
    """

    def __init__(
        self, pace: Pace, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace = pace
        self._warn = warn
        self._clock = clock
        self._under_way = self._at_hub = 0
        self._turn, self._admission = asyncio.Lock(), asyncio.Lock()
        self._changed, self._departed = asyncio.Event(), asyncio.Event()
        self.why: str | None = None

    def close(self, why: str) -> None:
        """Let nothing through from now on."""
        self.why = self.why or why
        self._changed.set()
        self._departed.set()

    async def admit(self) -> None:
        """Wait until the hub may work on one more row, and count it until it departs.

        Apart from :meth:`enter`, so that rows that wait here keep none at the hub from sending again.

        :raises NotSent: if nothing is let through any more.
        """
        async with self._admission:
            while not self.why and self._at_hub >= self._pace.most:
                self._departed.clear()
                await self._departed.wait()
            if self.why:
                raise NotSent(f"Not sent: {self.why}.")
            self._at_hub += 1

    async def enter(self) -> float:
        """Wait until a request may be sent; return the time, for :meth:`leave`.

        :raises NotSent: if nothing is let through any more.
        """
        async with self._turn:
            while not self.why:
                now = self._clock()
                wait = self._pace.wait(now, self._under_way)
                if wait == 0:
                    self._under_way += 1
                    self._pace.sent(now)
                    return now
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait)
        raise NotSent(f"Not sent: {self.why}.")

    def arrive(self) -> None:
        """Count a row whose job was sent by an earlier try."""
        self._at_hub += 1

    def depart(self) -> None:
        """Count a row no more: its image is ready, or its work is over."""
        self._at_hub -= 1
        self._departed.set()

    def leave(self, sent: float, outcome: Outcome | None, retry_after: float | None = None) -> None:
        """Record the outcome of a request that was let through; None: it was not sent after all."""
        self._under_way -= 1
        now = self._clock()
        closed = self._pace.came(outcome, sent, now, retry_after) if outcome else 0.0
        if self._pace.is_hopeless(now):
            self.close(f"the hub accepts nothing for {PATIENCE / 60:.0f} minutes or longer")
        self._changed.set()
        if closed:
            width = 1 if self._pace.pauses else int(self._pace.width)
            why = "asks for fewer requests" if outcome == "limited" else "keeps failing"
            self._warn(f"The hub {why}: the batch waits {closed:.0f} s, then continues with {width} at once.")
