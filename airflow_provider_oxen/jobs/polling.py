"""What a look at a generation means: wait on, and how long, or how it ended.

One pure class, fed by the waiting worker and by the shared watch of the triggers, so that the two
cannot come to different ends. No clock, no network: times are given, and decisions come out.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from airflow_provider_oxen.api.errors import OxenError, OxenGenerationNotFound
from airflow_provider_oxen.api.models import Generation

__all__ = ["KNOWN", "TOLERATED", "End", "Poll", "Status", "is_final", "pace"]

log = logging.getLogger(__name__)

Status = Literal["succeeded", "failed", "cancelled", "timed_out", "unknown", "unreachable"]
"""How waiting ends. ``unknown``: the hub does not know the id. ``unreachable``: nobody could be asked."""

TOLERATED = 5
"""Failed looks in a row that are waited out: with the growing pause, more than half a minute of a hub that
restarts. The client has asked each time as often as ``max_retries`` says."""

LINKLESS = 5
"""Looks at a finished generation without a link before it is taken for lost: the row may be written in two
steps."""

KNOWN = frozenset({"queued", "processing", "succeeded", "failed", "cancelled"})
"""The statuses that the hub documents; any other is taken for one of a job that still runs."""


class End(NamedTuple):
    """How waiting for a generation ended.

    :ivar message: the hub's reason, or ours; never with a signed URL or the key.
    """

    status: Status
    message: str = ""


@dataclass
class Poll:
    """Judges one generation, look by look.

    :param deadline: unix seconds at which waiting ends, None for never.
    :param patience: unix seconds until which an id that the hub does not know is waited for.
    """

    deadline: float | None = None
    patience: float = 0.0
    failures: int = 0
    linkless: int = 0
    strangers: int = 0
    odd: str = ""

    def seen(self, row: Generation, now: float) -> End | None:
        """Return how it ended, or None to wait on.

        :param row: as the hub told it just now.
        :param now: unix seconds.
        """
        self.failures = self.strangers = 0
        if row.status in ("failed", "cancelled"):
            return End("failed" if row.status == "failed" else "cancelled", row.error_message or "")
        if row.status == "succeeded":
            if row.result_url:
                return End("succeeded")
            self.linkless += 1
            if self.linkless >= LINKLESS:
                return End("succeeded", "it finished without a link to its image")
        elif row.status not in KNOWN and row.status != self.odd:
            self.odd = row.status
            log.warning(
                "Generation %s has the status %r, which this version does not know: taken for running.",
                row.generation_id,
                row.status[:50],
            )
        return self._late(now)

    def running(self, now: float) -> End | None:
        """Return how it ended for one that the list shows as still to do."""
        self.failures = self.strangers = 0
        return self._late(now)

    def failed(self, error: OxenError, now: float) -> End | None:
        """Return how it ended after a look that brought nothing, or None to look again."""
        if isinstance(error, OxenGenerationNotFound):
            # A row may come to be seen a moment after its id was given.
            self.strangers += 1
            if self.strangers >= TOLERATED and now >= self.patience:
                return End("unknown", str(error))
            return self._late(now)
        self.failures += 1
        if self.failures > TOLERATED or not error.retry_helps:
            return End("unreachable", str(error))
        return self._late(now)

    def _late(self, now: float) -> End | None:
        if self.deadline is not None and now >= self.deadline:
            return End("timed_out")
        return None


_FINAL = re.compile(
    r"insufficient[_ ]credits|out of credits|moderat|content[ _-]?policy|nsfw|flagged|safety"
    r"|\b4(00|22)\b|invalid[_ ]param",
    re.IGNORECASE,
)


def is_final(reason: str | None) -> bool:
    """Whether a failed generation would fail again: credits, moderation, parameters."""
    return bool(_FINAL.search(reason or ""))


def pace(interval: float, look: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds until the next look: the interval, growing to its double over some thirty looks.

    :param look: how many there were.
    :param chance: from 0 to 1, for a jitter of a tenth that keeps many tasks from asking in step.
    """
    return interval * min(2.0, 1.0 + look / 30) * (0.9 + 0.2 * chance())
