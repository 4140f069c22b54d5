"""Where the processes of a row's tasks run: each tells it when it begins."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.hosts import name

_NOTES = "processes"
"""Name of the folder, in a row's, of what is noted here."""


class Process(NamedTuple):
    """One process that runs a task: a try, or one that came back from the triggerer.

    :ivar supervisor: the process, of the worker's pool, that started it and sends its heartbeats.
    :ivar time: unix seconds when it began.
    """

    pid: int
    supervisor: int
    host: str
    attempt: int
    time: float

    @property
    def alive(self) -> bool:
        return Path("/proc", str(self.pid)).exists()


def note(place: str, context: Any) -> None:
    """Tell of this process; Airflow's ``pre_execute`` calls it."""
    folder = Path(place, _NOTES)
    folder.mkdir(exist_ok=True)
    told = Process(os.getpid(), os.getppid(), name(), context["ti"].try_number, time.time())
    new = folder / f"{told.pid}.new"
    new.write_text(json.dumps(told))
    os.replace(new, folder / f"{told.time:.6f}-{told.pid}.json")


def noted(place: Path) -> list[Process]:
    """Return what was told, first first."""
    return [Process(*json.loads(path.read_text())) for path in sorted((place / _NOTES).glob("*.json"))]
