"""What the headers of an answer say about time: when to come again, and how far the hub's clock is off."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from datetime import UTC

__all__ = ["BELIEVED", "MAX_RETRY_AFTER", "Clock", "read_date", "retry_after"]

MAX_RETRY_AFTER = 3600.0
"""Longest ``Retry-After`` in seconds that is believed. The hub documents only 5; a broken gateway may ask for
more, and must not stop a task for days."""

BELIEVED = 86400.0
"""Most seconds by which the clocks may differ. A ``Date`` that is further off counts as broken."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as seconds or as a date, or None.

    The value is a hint: at most :data:`MAX_RETRY_AFTER`, and 0 if it asks to come at once. The code that
    waits has its own minimum.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,100}(\.[0-9]{1,100})?", text):
        return min(float(text), MAX_RETRY_AFTER)
    moment = read_date(text)
    if moment is None:
        return None
    # Compare two dates of the hub's own clock, if it sends both.
    now = read_date(headers.get("date", ""))
    return min(max(0.0, moment - (time.time() if now is None else now)), MAX_RETRY_AFTER)


def read_date(text: str) -> float | None:
    """Return a header's date in unix seconds, or None if it is not a date."""
    try:
        date = email.utils.parsedate_to_datetime(text[:100])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


class Clock:
    """Reads the hub's clock from the ``Date`` of its answers.

    A date is a whole second between the request and its answer, so each answer proves a range. If the clocks
    may be equal within that range, they count as equal.

    :ivar ahead: the least number of seconds that the hub's clock is ahead of ours; negative if it is behind.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def update(self, headers: Mapping[str, str], sent: float, came: float) -> None:
        """Read the time from an answer. An answer from a cache is ignored.

        :param sent: unix seconds by our clock before the request was sent.
        :param came: unix seconds by our clock when its answer had arrived.
        """
        date = None if "age" in headers else read_date(headers.get("date", ""))
        # If our own clock was set in the meantime, nothing is proved.
        if date is None or came < sent:
            return
        least, most = date - came, date + 1.0 - sent
        ahead = max(least, 0.0) + min(most, 0.0)
        if abs(ahead) <= BELIEVED:
            self.ahead = ahead

    @property
    def lag(self) -> float:
        """Seconds that the hub's clock is behind ours, to add to its times; 0 if it is ahead.

        A time shifted too late costs one look more than needed. A time shifted too early, by the date of a
        gateway with another clock than the hub's, could hide a paid job.
        """
        return max(0.0, -self.ahead)
