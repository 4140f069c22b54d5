"""Whose turn it is: so many calls are worked on at once, the others wait in the order they came."""

from __future__ import annotations

import heapq

__all__ = ["Turns"]


class Turns:
    """When the calls that are worked on will have ended. It is told the time and waits for nobody.

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
