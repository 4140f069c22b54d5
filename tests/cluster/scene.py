"""What one row has to itself: a hub with a key of its own, a place, a Dag."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from tests.chaos.scene import LOOKUP_GRACE, QUEUE_WAIT
from tests.chaos.watching import Watched, connection
from tests.cluster.notes import Process, noted
from tests.cluster.place import Place
from tests.cluster.rows import Row

SIDE = 256
"""Pixels of an image's sides: there are hundreds of them."""

WORK = 1.5
"""Seconds that the hub works on a job."""

SOAK = {"latency": 8.0, "workers": 2}
"""How slowly the hub works on what is killed ten times, until it has been."""

IN_FLIGHT = 4


class Scene(Watched):
    """A row's surroundings, running while the context lasts.

    :param home: folder of all rows' folders.
    :ivar strikes: what has been struck, and when: each a word for the log.
    :ivar trouble: why it could not be struck, or None.
    """

    def __init__(self, row: Row, home: Path, place: Place) -> None:
        self.row = row
        self.mode = row.mode
        self.nth = row.prompts
        self.place = place
        self.notes = home / row.id
        self.key = f"cluster-{secrets.token_hex(16)}"
        self.hub = LocalHub(HubSettings(key=self.key, **self._settings()))
        self.strikes: list[str] = []
        self.trouble: str | None = None

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"default_size": (SIDE, SIDE), "ready_made": True, "url_ttl": 7200}
        if self.row.mode == "sync":
            return settings | {"latency": 0.5, "history_shows_generate": self.row.history}
        settings |= {"queue_wait": QUEUE_WAIT, "latency": WORK}
        if self.row.strike == "ten kills":
            return settings | SOAK
        # Nothing is worked on until the strike is over; see release().
        is_struck_meanwhile = self.row.window == "polling" or self.row.strike.startswith("triggerer")
        return settings | {"workers": 0 if is_struck_meanwhile else None}

    def release(self) -> None:
        """Let the hub work, and do nothing wrong any more; answers that it holds it still holds."""
        self.hub.clear_faults()
        self.hub.settings.workers = None
        self.hub.settings.latency = WORK

    def __enter__(self) -> Scene:
        self.notes.mkdir(parents=True)
        self.hub.start()
        if self.row.fault:
            self.hub.fail(Fault(**self.row.fault))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.close()

    @property
    def dag_id(self) -> str:
        return self.row.id

    @property
    def conn_id(self) -> str:
        return f"oxen_{self.row.id}".replace("-", "_")

    def environment(self) -> dict[str, str]:
        """Return the row's Airflow connection."""
        return connection(self.conn_id, self.hub.url, self.key)

    @property
    def prompts(self) -> list[str]:
        return [f"{number} red cubes, {self.row.id}" for number in range(1, self.row.prompts + 1)]

    @property
    def queue(self) -> str:
        """The Celery queue of its task; one that moves to another worker, or that none takes, has its own."""
        if self.row.act == "disks" or self.row.window == "queued":
            return self.row.id
        return "a" if self.row.act in ("a1", "a2", "a3", "f1", "f2") else "b"

    def table_entry(self) -> dict[str, Any]:
        """Return what the Dag needs to know of this row."""
        return {
            "dag_id": self.dag_id,
            "kind": self.row.kind,
            "conn_id": self.conn_id,
            "place": str(self.notes),
            "queue": self.queue,
            "prompts": self.prompts,
            "retries": 15 if self.row.act == "soak" else 3,
            "arguments": self._arguments(),
        }

    def _arguments(self) -> dict[str, Any]:
        arguments = {
            "storage_path": self.place.url,
            "use_queue": self.row.mode != "sync",
            "deferrable": self.row.mode == "deferrable",
            "lookup_grace": LOOKUP_GRACE,
        }
        if self.row.kind == "batch":
            arguments["max_in_flight"] = IN_FLIGHT if self.row.act == "soak" else self.row.prompts
        return arguments if self.row.mode == "sync" else arguments | {"poll_interval": 1, "timeout": 300}

    def processes(self) -> list[Process]:
        """Return the processes that have run its tasks, first first."""
        return noted(self.notes)

    def refused(self) -> bool:
        """Whether the hub has answered 429."""
        return any(seen["status"] == 429 for seen in self.hub.requests())

    def in_window(self) -> bool:
        """Whether the moment for the row's strike has come."""
        match self.row.window:
            case "submitting":
                return self.accepted() >= (1 if self.row.kind == "image" else 3)
            case "refused":
                return self.refused()
            case "polling":
                return self.polls() >= 2 and self.waiting()
            case "keeping":
                return self.downloads() >= (1 if self.row.kind == "image" else 3)
        return True

    def taken_over(self) -> Takeover:
        return Takeover(self)


class Takeover:
    """Whether a later try than the one that is frozen is in the middle of its work.

    It has asked the hub for something; and where the hub had accepted nothing, it has sent its request.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._accepted = scene.accepted()
        self._asked: int | None = None

    def __call__(self) -> bool:
        scene = self._scene
        if not any(process.attempt > 1 for process in scene.processes()):
            return False
        asked = len(scene.hub.requests())
        if self._asked is None:
            self._asked = asked
        return asked > self._asked and (scene.accepted() > self._accepted or self._accepted > 0)
