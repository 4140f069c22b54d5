"""What one row has to itself: a hub with a key of its own, the way to it, a folder, a Dag."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from tests.chaos.proxy import Proxy
from tests.chaos.rows import Row
from tests.chaos.traps import PROCESS, STRUCK

QUEUE = "/api/ai/queue"

QUEUE_WAIT = 1.0
"""Seconds that a job waits in the queue."""

WORK = 2.0
"""Seconds that the hub works on a job."""

LONG_WORK = 12.0
"""Seconds that it works on one that is struck meanwhile, after two polls on a machine that others use too."""

LOOKUP_GRACE = 4.0
"""Seconds after which "not there" counts: here the hub lists a job as soon as it has accepted it."""


class Scene:
    """A row's surroundings, running while the context lasts.

    :param home: folder of all rows' folders.
    :ivar trouble: why it could not be struck, or None.
    """

    def __init__(self, row: Row, home: Path) -> None:
        self.row = row
        self.place = home / row.id
        self.output = self.place / "output"
        self.key = f"chaos-{secrets.token_hex(16)}"
        settings = HubSettings(key=self.key, **self._settings())
        self.hub = LocalHub(settings)
        self.trouble: str | None = None
        self._stack = ExitStack()

    def _settings(self) -> dict[str, Any]:
        if self.row.mode == "sync":
            return {"latency": 0.5, "history_shows_generate": self.row.history}
        latency = LONG_WORK if self.row.instant == "polling" else WORK
        return {"queue_wait": QUEUE_WAIT, "latency": latency}

    def __enter__(self) -> Scene:
        self.output.mkdir(parents=True)
        self._stack.enter_context(self.hub)
        if self.row.victim == "network":
            port = int(self.hub.url.rpartition(":")[2])
            self.proxy = self._stack.enter_context(Proxy(port))
            self.hub.settings.files_origin = self.proxy.url
        if self.row.fault:
            self.hub.fail(Fault(**self.row.fault))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def dag_id(self) -> str:
        return self.row.id

    def environment(self) -> dict[str, str]:
        """Return the Airflow connection, as a deployment sets it."""
        host = self.proxy.url if self.row.victim == "network" else self.hub.url
        fields = {"conn_type": "oxen", "host": host, "password": self.key}
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(fields)}

    @cached_property
    def conn_id(self) -> str:
        return f"oxen_{self.row.id}"

    def table_entry(self) -> dict[str, Any]:
        """Return what the chaos Dag needs to know of this row."""
        return {
            "dag_id": self.dag_id,
            "conn_id": self.conn_id,
            "output": str(self.output),
            "place": str(self.place),
            "trap": self.row.trap,
            "nth": self.row.nth,
            "weight": self.row.weight,
            "paused": self.row.alone,
            "arguments": self._arguments(),
        }

    def _arguments(self) -> dict[str, Any]:
        if self.row.mode == "sync":
            return {"use_queue": False, "deferrable": False, "lookup_grace": LOOKUP_GRACE}
        return {
            "use_queue": True,
            "deferrable": self.row.mode == "deferrable",
            "poll_interval": 1,
            "timeout": 120,
            "lookup_grace": LOOKUP_GRACE,
        }

    def struck(self) -> bool:
        """Whether the row's strike has happened; lost answers are seen by the hub."""
        if self.row.victim == "answer":
            return self.unanswered() >= (self.row.fault or {}).get("times", 1)
        return (self.place / STRUCK).exists()

    def mark_struck(self, what: str) -> None:
        """Say that it happens now; to be called before it does.

        :raises FileExistsError: where it has happened.
        """
        with (self.place / STRUCK).open("x") as file:
            file.write(what)

    def process(self) -> tuple[int, int]:
        """Return the ids of the process that runs the task, and of its supervisor."""
        pid, supervisor = (self.place / PROCESS).read_text().split()
        return int(pid), int(supervisor)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the hub's queue, ended jobs included."""
        return [dict(job) for job in self.hub.jobs()]

    def accepted(self) -> int:
        """Return how many requests for an image the hub has taken, and answered or not."""
        return len(self.hub.ledger() if self.row.mode == "sync" else self.jobs())

    def unanswered(self) -> int:
        """Return how many requests for an image have had no answer."""
        return sum(seen["method"] == "POST" and seen["status"] is None for seen in self.hub.requests())

    def waiting(self) -> bool:
        """Whether a job waits or runs."""
        return any(job["status"] in ("queued", "processing") for job in self.jobs())

    def polls(self) -> int:
        """Return how often the queue was asked about, since so many jobs as the row is about were sent."""
        asked = [seen for seen in self.hub.requests() if seen["path"].startswith(QUEUE)]
        posted = [index for index, seen in enumerate(asked) if seen["method"] == "POST"]
        if len(posted) < self.row.nth:
            return 0
        return sum(seen["method"] == "GET" for seen in asked[posted[self.row.nth - 1] :])

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

    def files(self) -> set[str]:
        """Return the names of all files of the output folder."""
        return set(os.listdir(self.output))
