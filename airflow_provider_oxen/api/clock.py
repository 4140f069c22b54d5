"""How far the hub's clock differs from ours, as far as its answers prove it."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_oxen.api.answers import read_date

__all__ = ["BELIEVED", "Clock"]

BELIEVED = 86400.0
"""Most seconds by which the clocks may differ. A ``Date`` that is further off counts as broken."""


class Clock:
    """Reads the hub's clock from the ``Date`` of its answers.

    A date is a whole second between the request and its answer, so each answer proves a range. If the clocks
    may be equal within that range, they count as equal.

    :ivar ahead: the least number of seconds that the hub's clock is ahead of ours; negative if it is behind.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def heard(self, headers: Mapping[str, str], sent: float, came: float) -> None:
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
