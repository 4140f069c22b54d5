"""Times and amounts as others tell them: each is read here, and nowhere else. Pure.

What makes no sense is None: an odd fact must neither cost the paid image beside it nor move a sum.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

__all__ = ["LATEST", "MOST_USD", "unix_seconds", "usd", "whole_seconds"]

LATEST = 1e11
"""Unix seconds (in the year 5138) beyond which a number is no time in seconds."""

MOST_USD = 1e6
"""USD beyond which an amount is taken for nonsense: the dearest known image costs 1.13."""

_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")

_FINER = (1.0, 1e3, 1e6, 1e9)
"""What clocks count in: seconds, milliseconds, microseconds and nanoseconds, told apart by their size."""


def usd(value: Any) -> float | None:
    """Return an amount in USD, told as a number or as decimal text; None for what is no sensible price."""
    number = _number(value)
    return number if number is not None and 0 <= number <= MOST_USD else None


def unix_seconds(value: Any) -> float | None:
    """Return a moment in unix seconds, told as a number of any usual unit, as text of one, or in ISO 8601.

    A time without a zone is taken for UTC. Zero stands for "none" with many, and is none.
    """
    number = _number(value)
    if number is None:
        return _iso(value.strip()) if isinstance(value, str) else None
    return next((number / unit for unit in _FINER if 0 < number / unit < LATEST), None)


def whole_seconds(value: Any) -> int | None:
    """Return a moment in whole unix seconds, read as :func:`unix_seconds` does."""
    seconds = unix_seconds(value)
    return None if seconds is None else int(seconds)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < LATEST else None
