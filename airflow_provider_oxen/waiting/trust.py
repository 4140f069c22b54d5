"""Decide whether the hub's stream of events can replace the queue's list. Pure: facts in, a verdict out.

The stream reports no cancellations, has no replay, and may be broken in ways that show only when it should
have reported something. So it has to prove itself first, and the list, read rarely, keeps checking it.
"""

from __future__ import annotations

from collections.abc import Set

__all__ = ["WITHIN", "StreamTrust"]

WITHIN = 5.0
"""Seconds within which the stream must report an end that the hub's rows show."""

_REPORTED_STATUSES = ("succeeded", "failed")
"""The ends that the stream reports; it reports no cancellations."""


class StreamTrust:
    """Judges one stream for the jobs of one connection and namespace.

    :ivar opening: how often the stream was opened or lost.
    :ivar is_false: whether it has missed an end since it was opened. Then it is not trusted until it is
        opened again: a stream that reports half of the ends would delay the others by a minute.
    """

    def __init__(self) -> None:
        self.opening = 0
        self._reset(is_open=False)

    def opened(self) -> None:
        """Start again: what ends from now on must be reported."""
        self._reset(is_open=True)

    def lost(self) -> None:
        """Stop trusting it: it has ended, or was silent for too long."""
        self._reset(is_open=False)

    def listed(self, unfinished: Set[str], opening: int) -> None:
        """Remember which waiting jobs the list shows as unfinished: the stream must report their ends.

        :param opening: the value when the list was requested; an end before that may have gone unreported.
        """
        if self._is_open and opening == self.opening:
            # Keep the jobs that have left the list since: their ends are still to be reported.
            self._expected |= unfinished

    def reported(self, id: str, *, is_waited_for: bool) -> bool:
        """Take an event; return whether it is news about a job that somebody waits for."""
        self._missing.pop(id, None)
        if not is_waited_for or id in self._reported:
            return False
        self._reported.add(id)
        return True

    def is_reported(self, id: str) -> bool:
        """Return whether an event has reported the end of a job that is waited for."""
        return id in self._reported

    def ended(self, id: str, status: str, now: float) -> None:
        """Compare the stream with a row that shows an end.

        :param now: seconds, by a clock that only goes forward.
        """
        if id in self._reported:
            self._is_proved = True
        elif id in self._expected and status in _REPORTED_STATUSES and not self.is_false:
            self._missing.setdefault(id, now + WITHIN)

    def forget(self, id: str) -> None:
        """Forget a job that nobody waits for. It still counts if its end is never reported."""
        self._reported.discard(id)
        self._expected.discard(id)

    def holds(self, now: float) -> bool:
        """Return whether the stream is trusted."""
        if any(until <= now for until in self._missing.values()):
            self.is_false = True
            self._missing.clear()
        return self._is_proved and not self.is_false

    def _reset(self, *, is_open: bool) -> None:
        self.opening += 1
        self._is_open, self._is_proved, self.is_false = is_open, False, False
        self._reported: set[str] = set()
        self._expected: set[str] = set()
        self._missing: dict[str, float] = {}
