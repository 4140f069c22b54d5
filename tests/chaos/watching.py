"""What a row's hub shows to the harness."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_oxen.localhub import LocalHub
from tests.chaos.rows import Mode

QUEUE = "/api/ai/queue"
EVENTS = "/api/events"


def connection(conn_id: str, host: str, key: str) -> dict[str, str]:
    """Return an Airflow connection to a hub, as a deployment sets it."""
    fields = {"conn_type": "oxen", "host": host, "password": key}
    return {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(fields)}


class Watched:
    """A row, seen from its hub.

    :ivar nth: how many requests for an image must have been sent before polls count.
    """

    hub: LocalHub
    mode: Mode
    nth: int

    def jobs(self) -> list[dict[str, Any]]:
        """Return the hub's queue, ended jobs included."""
        return [dict(job) for job in self.hub.jobs()]

    def accepted(self) -> int:
        """Return how many requests for an image the hub has taken, and answered or not."""
        return len(self.hub.ledger() if self.mode == "sync" else self.jobs())

    def unanswered(self) -> int:
        """Return how many requests for an image have had no answer."""
        return sum(seen["method"] == "POST" and seen["status"] is None for seen in self.hub.requests())

    def waiting(self) -> bool:
        """Whether a job waits or runs."""
        return any(job["status"] in ("queued", "processing") for job in self.jobs())

    def polls(self) -> int:
        """Return how often somebody has asked about the jobs since as many as the row is about were sent.

        Whoever waits listens to the stream of events, and then need not ask for the list a second time.
        """
        asked = [seen for seen in self.hub.requests() if seen["path"].startswith((QUEUE, EVENTS))]
        posted = [index for index, seen in enumerate(asked) if seen["method"] == "POST"]
        if len(posted) < self.nth:
            return 0
        return sum(seen["method"] == "GET" for seen in asked[posted[self.nth - 1] :])

    def downloads(self) -> int:
        """Return how many images' bytes have begun to come."""
        return sum("/files/" in seen["path"] and seen["status"] == 200 for seen in self.hub.requests())

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; it may be a long time until the row's turn comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.1)
        return False
