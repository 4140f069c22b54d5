"""Read times and amounts in the forms that others use. Pure, and the only module that does so.

A value that makes no sense becomes None: an odd fact must neither lose the paid image beside it nor change a
sum.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

__all__ = ["LATEST", "MOST_USD", "unix_seconds", "usd", "whole_seconds"]

LATEST = 1e11
"""Unix seconds (in the year 5138) above which a number is not a time in seconds."""

MOST_USD = 1e6
"""USD above which an amount counts as nonsense; the most expensive known image costs 1.13."""

_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")

_FINER = (1.0, 1e3, 1e6, 1e9)
"""Units of a clock: seconds, milliseconds, microseconds and nanoseconds, recognised by their size."""


def usd(value: Any) -> float | None:
    """Return an amount in USD, given as a number or as decimal text; None if it is not a sensible price."""
    number = _number(value)
    return number if number is not None and 0 <= number <= MOST_USD else None


def unix_seconds(value: Any) -> float | None:
    """Return a time in unix seconds, given as a number of any usual unit, as its text, or in ISO 8601.

    A time without a zone counts as UTC. Many use zero for "none", so zero is None.
    """
    number = _number(value)
    if number is None:
        return _iso(value.strip()) if isinstance(value, str) else None
    return next((number / unit for unit in _FINER if 0 < number / unit < LATEST), None)


def whole_seconds(value: Any) -> int | None:
    """Return a time in whole unix seconds, read as :func:`unix_seconds` does."""
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
