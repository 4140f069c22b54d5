"""The position of a follower in what ends on the hub. Pure: rows in, new ones out.

The history is ordered by when generations were requested, not by when they ended. It may lag, and its times
are whole seconds. So a cursor is a moment, an overlap before it that is read again, and the ids that were
already reported, which drop the repeats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.statuses import ENDED
from airflow_provider_oxen.api.values import LATEST

__all__ = ["OVERLAP", "REMEMBERED", "Cursor"]

OVERLAP = 600.0
"""Seconds before the latest end that are read again, because a history may show a row late."""

DEPTH = 6 * 3600.0
"""Longest time in seconds from a generation's request to its end for which it is still found without having
been seen before. A generation that was seen unfinished is found however long it takes."""

DEEPEST = 7 * 86400.0
"""Seconds after which a generation that never ends is not waited for any longer."""

REMEMBERED = 250
"""Ids stored with the position, which must be small: 12 KB of the 64 KB that Airflow advises."""

_KNOWN = 10_000
"""Ids that are kept in memory."""

_VERSION = 1


class Cursor:
    """A position in what ends. All times are unix seconds by our clock.

    :param start: ends before this time are not reported.
    :ivar lag: seconds that the hub's clock, which sets the times in rows, is behind ours.
    """

    def __init__(self, start: float) -> None:
        self.lag = 0.0
        self._start = float(math.floor(start))
        self._latest = 0.0
        self._unfinished: float | None = None
        self._known: dict[str, float] = {}
        self._reported: dict[str, float] = {}

    @property
    def since(self) -> float:
        """Ends from this time on are not finished yet; the ids say which of them were reported."""
        return max(self._start, self._latest - OVERLAP)

    @property
    def floor(self) -> float:
        """Rows that were requested before this time need not be read."""
        floor = self.since - DEPTH
        if self._unfinished is None:
            return floor
        return min(floor, max(self._unfinished, self.since - DEEPEST))

    def knows(self, id: str) -> bool:
        """Return whether the end of a generation has been dealt with."""
        return id in self._known

    def is_new(self, row: Generation) -> bool:
        """Return whether a row has ended since, and has not been dealt with."""
        return row.status in ENDED and not self.knows(row.generation_id) and self._moment(row) >= self.since

    def take(self, rows: Iterable[Generation], now: float, *, hold: bool = False) -> list[Generation]:
        """Deal with rows that have ended; return each of them once, in the order of their ends.

        :param now: unix seconds; the position does not move beyond, whatever a row says.
        :param hold: keep the position, because an earlier end may not have been read yet.
        """
        new = {row.generation_id: row for row in rows if not self.knows(row.generation_id)}
        found = sorted(new.values(), key=self._moment)
        for row in found:
            self._known[row.generation_id] = self._moment(row)
        if not hold:
            self._latest = max(self._latest, min(now, max(self._known.values(), default=0.0)))
            self._start = max(self._start, _trim(self._known, _KNOWN))
        return found

    def mark_reported(self, row: Generation) -> None:
        """Remember that an end was reported; only reported ends can repeat."""
        self._reported[row.generation_id] = self._moment(row)
        _trim(self._reported, _KNOWN)

    def note_unfinished(self, rows: Iterable[Generation]) -> None:
        """After reading all rows down to :attr:`floor`, remember how far back some are unfinished."""
        asked = [row.enqueued_at for row in rows if row.status not in ENDED and row.enqueued_at is not None]
        self._unfinished = min(asked) + self.lag if asked else None

    def as_json(self) -> dict[str, Any]:
        """Return the position as plain JSON, small enough for a state store."""
        # Earlier ones are not read again.
        reported = {id: moment for id, moment in self._reported.items() if moment >= self.since}
        start = max(self._start, _trim(reported, REMEMBERED))
        return {
            "version": _VERSION,
            "start": start,
            "latest": self._latest,
            "unfinished": self._unfinished,
            "told": reported,
        }

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Return the position that :meth:`as_json` has written.

        :raises ValueError: if the value is no position, or of another version.
        """
        try:
            if value["version"] != _VERSION:
                raise ValueError("another version")
            cursor = cls(_seconds(value["start"]))
            cursor._latest = _seconds(value["latest"])
            unfinished = value["unfinished"]
            cursor._unfinished = None if unfinished is None else _seconds(unfinished)
            reported = list(value["told"].items())[:_KNOWN]
            cursor._reported = {str(id): _seconds(moment) for id, moment in reported}
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"not a position: {type(error).__name__}: {str(error)[:200]}") from None
        cursor._known = dict(cursor._reported)
        return cursor

    def _moment(self, row: Generation) -> float:
        # Do not lose a row without the time of its end; the stream has no times at all.
        for moment in (row.completed_at, row.enqueued_at):
            if moment is not None and math.isfinite(moment):
                return moment + self.lag
        return max(self._start, self._latest)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not abs(seconds) < LATEST:
        raise ValueError("a time that is none")
    return seconds


def _trim(ids: dict[str, float], most: int) -> float:
    """Keep only so many ids, those with the latest ends; return the latest forgotten time, or 0."""
    if len(ids) <= most:
        return 0.0
    forgotten = sorted(ids, key=lambda id: ids[id])[: len(ids) - most]
    return max(ids.pop(id) for id in forgotten)
