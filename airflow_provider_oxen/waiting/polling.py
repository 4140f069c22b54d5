"""What a look at a generation means: how long to wait on, or how the generation ended.

One pure class, used by the waiting worker and by the triggers' shared poller, so that both decide alike. No
clock, no network: times go in, and decisions come out.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from airflow_provider_oxen.api.errors import OxenError, OxenGenerationNotFound
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.statuses import DOCUMENTED
from airflow_provider_oxen.jobs.effects import End, Status

__all__ = ["TOLERATED", "Poll", "pace"]

log = logging.getLogger(__name__)

TOLERATED = 5
"""How many failed looks in a row are tolerated. With the growing pause, this covers a hub that takes more
than half a minute to restart. For each look, the client has already retried ``max_retries`` times."""

LINKLESS = 5
"""Looks at a finished generation without a link before it counts as lost; the hub may write the row in two
steps."""


@dataclass
class Poll:
    """Judges one generation, look by look.

    :param deadline: unix seconds when waiting ends; None: never.
    :param not_found_until: unix seconds until which an id that the hub does not know is waited for.
    """

    deadline: float | None = None
    not_found_until: float = 0.0
    failures: int = 0
    linkless: int = 0
    not_found: int = 0
    unknown_status: str = ""

    def seen(self, row: Generation, now: float) -> End | None:
        """Return how the generation ended, or None to wait on.

        :param row: the row that the hub has just sent.
        :param now: unix seconds.
        """
        self.failures = self.not_found = 0
        if row.status in ("failed", "cancelled"):
            status: Status = "failed" if row.status == "failed" else "cancelled"
            return End(status, row.error_message or "", row.error_retryable)
        if row.status == "succeeded":
            if row.result_url:
                return End("succeeded")
            self.linkless += 1
            if self.linkless >= LINKLESS:
                return End("succeeded", "it finished without a link to its image")
        elif row.status not in DOCUMENTED and row.status != self.unknown_status:
            self.unknown_status = row.status
            log.warning(
                "Generation %s has the status %r, which this version does not know: treated as running.",
                row.generation_id,
                row.status[:50],
            )
        return self.late(now)

    def running(self, now: float) -> End | None:
        """Return the end of a generation that the list shows as unfinished: only the deadline can end it."""
        self.failures = self.not_found = 0
        return self.late(now)

    def failed(self, error: OxenError, now: float) -> End | None:
        """Return how the generation ended after a failed look, or None to look again."""
        if isinstance(error, OxenGenerationNotFound):
            # The hub may show a row some moments after it has returned its id.
            self.not_found += 1
            if self.not_found >= TOLERATED and now >= self.not_found_until:
                return End("unknown", error.message)
            return self.late(now)
        self.failures += 1
        if self.failures > TOLERATED or not error.retry_helps:
            return End("unreachable", error.message)
        return self.late(now)

    def late(self, now: float) -> End | None:
        """Return the end ``timed_out`` if the deadline has passed."""
        if self.deadline is None or now < self.deadline:
            return None
        status = self.unknown_status[:50]
        message = f"The hub calls it {status!r}, which this version does not know." if status else ""
        return End("timed_out", message)


def pace(interval: float, look: int) -> float:
    """Return the seconds until the next look: the interval, which doubles over about thirty looks.

    A jitter of a tenth keeps tasks from polling in step.

    :param look: how many looks there were.
    """
    return interval * min(2.0, 1.0 + look / 30) * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
