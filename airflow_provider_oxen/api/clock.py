"""How far the hub's clock is from ours, as far as its answers prove it."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_oxen.api.answers import read_date

__all__ = ["BELIEVED", "Clock"]

BELIEVED = 86400.0
"""Seconds that two clocks may differ by. A ``Date`` that is further off is taken for a broken one."""


class Clock:
    """Reads the hub's clock from the ``Date`` of its answers.

    A date is a whole second somewhere between the request and its answer, so each answer proves a range; the
    clocks count as equal where that range says that they may be.

    :ivar ahead: seconds that the hub's clock is ahead of ours at least; negative where it is behind.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def heard(self, headers: Mapping[str, str], sent: float, came: float) -> None:
        """Take the time from an answer; one out of a cache tells none.

        :param sent: unix seconds by our clock before the request went out.
        :param came: when its answer had come.
        """
        date = None if "age" in headers else read_date(headers.get("date", ""))
        # Where our own clock was set meanwhile, nothing is proved.
        if date is None or came < sent:
            return
        least, most = date - came, date + 1.0 - sent
        ahead = max(least, 0.0) + min(most, 0.0)
        if abs(ahead) <= BELIEVED:
            self.ahead = ahead

    @property
    def lag(self) -> float:
        """Seconds that the hub's clock is behind ours, to be added to its times; 0 where it is ahead.

        A time that is made later than it was is looked at once more than needed. Made earlier, by the date
        of a gateway that has another clock than the hub, a job that was paid for could be passed over.
        """
        return max(0.0, -self.ahead)
