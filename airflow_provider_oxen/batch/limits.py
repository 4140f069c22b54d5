"""How fast a batch may send, and for how much: one pace and one budget for all its prompts.

A struggling hub slows all of them. :class:`Pace` decides, with times passed in. :class:`Gate` makes the rows
wait. Everything belongs to the one event loop on which the rows run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_oxen.api.errors import OxenBudgetError, OxenUnavailable

__all__ = [
    "BACK_OFF",
    "PATIENCE",
    "PAUSE",
    "RUN",
    "Budget",
    "Gate",
    "NotSent",
    "Outcome",
    "Pace",
    "Sums",
    "exact",
]

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

    :param warn: receives a message when the pace changes.
    :ivar why: why nothing is let through any more, as a clause; None while the gate is open.
    """

    def __init__(
        self, pace: Pace, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace = pace
        self._warn = warn
        self._clock = clock
        self._under_way = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self.why: str | None = None

    def close(self, why: str) -> None:
        """Let nothing through from now on."""
        self.why = self.why or why
        self._changed.set()

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


class Sums(BaseModel):
    """What a task has spent.

    :ivar spent: USD.
    :ivar held: USD that count against ``max_cost``.
    :ivar spent_unknown: submissions whose cost is not known.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    spent: float = Field(0.0, ge=0, allow_inf_nan=False)
    held: float = Field(0.0, ge=0, allow_inf_nan=False)
    spent_unknown: int = Field(0, ge=0, lt=2**63)


class Budget:
    """Counts every submission of a batch before it is sent.

    There are two sums. The reported sum is what was charged, as far as the hub has said, and otherwise the
    catalogue's prices. The sum held against the limit is never less than the prices of everything that was
    sent: a charge that is lower, or not known yet, gives nothing back.

    :param limit: USD; None for no limit.
    :ivar unknown: submissions that were counted as free, because nobody knows their cost.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = None if limit is None else exact(limit)
        self._spent = self._held = Decimal(0)
        self.unknown = 0

    @property
    def spent(self) -> float:
        """USD: the charges that the hub has stated, otherwise the catalogue's prices."""
        return float(self._spent)

    @property
    def held(self) -> float:
        """USD that count against the limit."""
        return float(self._held)

    @property
    def in_words(self) -> str:
        """What was spent, in words."""
        return f"{'at least ' if self.unknown else ''}${self._spent:,.2f}"

    def reserve(self, price: float | None) -> None:
        """Count a submission that is about to be sent; one of unknown price counts as free.

        :raises OxenBudgetError: if it would cost more than is left.
        """
        total = self._held + exact(price)
        if self._limit is not None and total > self._limit:
            raise OxenBudgetError(
                f"The batch has cost ${self._held:.2f} so far, the next image costs ${price or 0:g}, "
                f"and max_cost is ${self._limit:f}."
            )
        self._held = total
        self._spent += exact(price)
        self.unknown += price is None

    def release(self, price: float | None) -> None:
        """Take back a counted submission that was not sent, or not accepted."""
        self._held -= exact(price)
        self._spent -= exact(price)
        self.unknown -= price is None

    def settle(self, price: float | None, charged: float | None) -> None:
        """Correct a submission by its charge.

        The reported sum agrees with the hub. The limit counts whichever is more, so that no charge ever
        allows more spending.

        :param charged: USD; None if the hub does not say.
        """
        if charged is not None and charged >= 0:
            more = exact(charged) - exact(price)
            self._spent += more
            self._held += max(Decimal(0), more)
            self.unknown -= price is None

    def sums(self) -> dict[str, Any]:
        """Return the fields of :class:`Sums`."""
        return {"spent": self.spent, "held": self.held, "spent_unknown": self.unknown}

    def at_least(self, before: Sums) -> None:
        """Count what this task has spent before, of which some may have been counted already."""
        self._spent = max(self._spent, exact(before.spent))
        self._held = max(self._held, exact(before.spent), exact(before.held))
        self.unknown = max(self.unknown, before.spent_unknown)


def exact(amount: float | None) -> Decimal:
    """Return an amount as an exact decimal, so that sums do not drift."""
    return Decimal(str(amount or 0))
