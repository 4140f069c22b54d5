"""What one row has to itself: a hub with a key of its own, the way to it, a folder, a Dag."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from tests.chaos.proxy import Proxy
from tests.chaos.rows import Row
from tests.chaos.traps import PROCESS, STRUCK
from tests.chaos.watching import Watched, connection

QUEUE_WAIT = 1.0
"""Seconds that a job waits in the queue."""

WORK = 2.0
"""Seconds that the hub works on a job."""

LONG_WORK = 12.0
"""Seconds that it works on one that is struck meanwhile, after two polls on a machine that others use too."""

LOOKUP_GRACE = 4.0
"""Seconds after which "not there" counts: here the hub lists a job as soon as it has accepted it."""


class Scene(Watched):
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
        self.mode = row.mode
        self.nth = row.nth
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
        """Return the row's Airflow connection."""
        host = self.proxy.url if self.row.victim == "network" else self.hub.url
        return connection(self.conn_id, host, self.key)

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

    def files(self) -> set[str]:
        """Return the names of all files of the output folder."""
        return set(os.listdir(self.output))
