"""How far somebody who follows what ends on the hub has got. Pure: rows in, those not yet told out.

The history is ordered by when generations were asked for, not by when they ended; it may lag; and the
times in it are whole seconds. So a cursor is a moment, an overlap before it that is looked at again, and
the ids that were told, which drop the repeats.
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
"""Seconds before the latest end that are looked at again: a history may show a row late."""

DEPTH = 6 * 3600.0
"""Seconds that a generation may have taken from its order to its end and still be found, whatever was
known of it before. One that was seen unfinished is found however long it takes."""

DEEPEST = 7 * 86400.0
"""Seconds after which one that never ends is not waited for any more."""

REMEMBERED = 250
"""Ids that are kept with the position, where they must be small: 12 KB of the 64 that Airflow advises."""

_KNOWN = 10_000
"""Ids that are kept in memory."""

_VERSION = 1


class Cursor:
    """A position in what ends. All times are unix seconds by our clock.

    :param start: what ended before is not told.
    :ivar lag: seconds that the hub's clock, by which rows tell their times, is behind ours.
    """

    def __init__(self, start: float) -> None:
        self.lag = 0.0
        self._start = float(math.floor(start))
        self._latest = 0.0
        self._unfinished: float | None = None
        self._known: dict[str, float] = {}
        self._told: dict[str, float] = {}

    @property
    def since(self) -> float:
        """What ended from here on is not yet done with; ids tell what of it was told."""
        return max(self._start, self._latest - OVERLAP)

    @property
    def floor(self) -> float:
        """Rows that were asked for before that need not be looked at."""
        floor = self.since - DEPTH
        if self._unfinished is None:
            return floor
        return min(floor, max(self._unfinished, self.since - DEEPEST))

    def knows(self, id: str) -> bool:
        """Whether the end of a generation has been dealt with."""
        return id in self._known

    def is_new(self, row: Generation) -> bool:
        """Whether a row has ended since, and was not dealt with."""
        return row.status in ENDED and not self.knows(row.generation_id) and self._moment(row) >= self.since

    def take(self, rows: Iterable[Generation], now: float, *, hold: bool = False) -> list[Generation]:
        """Deal with rows that have ended, and return them in the order of the ends, but none twice.

        :param now: unix seconds, beyond which the position does not move, whatever a row tells.
        :param hold: stay at the position: something that ended before may not have been looked at.
        """
        new = {row.generation_id: row for row in rows if not self.knows(row.generation_id)}
        found = sorted(new.values(), key=self._moment)
        for row in found:
            self._known[row.generation_id] = self._moment(row)
        if not hold:
            self._latest = max(self._latest, min(now, max(self._known.values(), default=0.0)))
            self._start = max(self._start, _trim(self._known, _KNOWN))
        return found

    def tell(self, row: Generation) -> None:
        """Remember that an end was told: only those can be told again."""
        self._told[row.generation_id] = self._moment(row)
        _trim(self._told, _KNOWN)

    def leave_off(self, rows: Iterable[Generation]) -> None:
        """Remember, after a look at all rows down to :attr:`floor`, how far down some are unfinished."""
        asked = [row.enqueued_at for row in rows if row.status not in ENDED and row.enqueued_at is not None]
        self._unfinished = min(asked) + self.lag if asked else None

    def as_json(self) -> dict[str, Any]:
        """Return the position as plain JSON, small enough for a state store."""
        # Those from before are not looked at again.
        told = {id: moment for id, moment in self._told.items() if moment >= self.since}
        start = max(self._start, _trim(told, REMEMBERED))
        return {
            "version": _VERSION,
            "start": start,
            "latest": self._latest,
            "unfinished": self._unfinished,
            "told": told,
        }

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Return the position that :meth:`as_json` told.

        :raises ValueError: where it is none, or another version's.
        """
        try:
            if value["version"] != _VERSION:
                raise ValueError("another version")
            cursor = cls(_seconds(value["start"]))
            cursor._latest = _seconds(value["latest"])
            unfinished = value["unfinished"]
            cursor._unfinished = None if unfinished is None else _seconds(unfinished)
            told = list(value["told"].items())[:_KNOWN]
            cursor._told = {str(id): _seconds(moment) for id, moment in told}
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"not a position: {type(error).__name__}: {str(error)[:200]}") from None
        cursor._known = dict(cursor._told)
        return cursor

    def _moment(self, row: Generation) -> float:
        # A row that does not tell its end is no reason to lose it; the stream tells no times at all.
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
    """Forget the ids of the oldest ends beyond so many, and return the latest of those moments, or 0."""
    if len(ids) <= most:
        return 0.0
    forgotten = sorted(ids, key=lambda id: ids[id])[: len(ids) - most]
    return max(ids.pop(id) for id in forgotten)
