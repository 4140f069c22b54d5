"""Dags of ``benchmarks/dags`` in a real Airflow: scheduler, LocalExecutor, triggerer, API server."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# They are found only with the path above.
from tests.chaos import states  # noqa: E402
from tests.chaos.deployment import Deployment  # noqa: E402

__all__ = ["Held", "airflow", "run"]

PATIENCE = 1500.0
"""Seconds that one Dag run may take."""

RUNNING = "SELECT count(*) FROM task_instance WHERE dag_id = ? AND state = 'running'"


class Held(NamedTuple):
    """What a run took, in seconds: of all slots together, and by the clock."""

    held: float
    wall: float


@contextmanager
def airflow(folder: Path, connection: Mapping[str, str], *, tasks: int, slots: int) -> Iterator[Deployment]:
    """Start an Airflow whose Dags are held back.

    :param folder: for the images, and for Airflow itself.
    :param connection: the environment that holds the connection to the hub.
    """
    home = folder / "airflow"
    home.mkdir()
    environment = {
        **connection,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__PARALLELISM": str(slots),
        "OXEN_BENCH_TASKS": str(tasks),
        "OXEN_BENCH_OUTPUT": str(folder),
    }
    with Deployment(home, environment, dags=ROOT / "benchmarks" / "dags") as running:
        yield running


def run(airflow: Deployment, dag_id: str) -> Held:
    """Let a Dag run once, and return what that took."""
    _wait_for(lambda: dag_id in _dags(airflow.database), 120)
    airflow.unpause(dag_id)
    began = last = time.monotonic()
    held = 0.0
    with closing(sqlite3.connect(f"file:{airflow.database}?mode=ro", uri=True, timeout=60)) as database:
        while time.monotonic() < began + PATIENCE:
            [running] = database.execute(RUNNING, [dag_id]).fetchone()
            now = time.monotonic()
            held += running * (now - last)
            last = now
            seen = states.runs(airflow.database).get(dag_id)
            if seen and seen.state in states.ENDED:
                if seen.state != "success":
                    raise SystemExit(f"{dag_id} has failed.")
                return Held(held, seen.seconds or now - began)
            time.sleep(0.25)
    raise SystemExit(f"{dag_id} has not ended.")


def _dags(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        return {dag_id for (dag_id,) in database.execute("SELECT dag_id FROM dag")}


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("Airflow has not found the Dags.")
        time.sleep(0.5)
