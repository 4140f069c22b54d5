"""What a hundred images cost in worker slots: deferred tasks beside such as wait in the worker.

A real Airflow (scheduler, LocalExecutor with four slots, triggerer, API server) and a local hub that takes
20 s for an image. Takes some ten minutes: 100 images of 20 s through 4 slots are more than eight.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from airflow_provider_oxen.localhub import HubSettings, LocalHub  # noqa: E402
from tests.chaos import states  # noqa: E402
from tests.chaos.deployment import Deployment  # noqa: E402

TASKS = 100
SLOTS = 4
LATENCY = 20.0
NAMES = ("deferrable", "synchronous")

PATIENCE = 1500.0
"""Seconds that one Dag run may take."""

RUNNING = "SELECT count(*) FROM task_instance WHERE dag_id = ? AND state = 'running'"


def figures(tasks: int = TASKS, latency: float = LATENCY) -> Iterator[tuple[str, str, str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="oxen-slots-") as folder,
        LocalHub(HubSettings(latency=latency)) as hub,
    ):
        home = Path(folder, "airflow")
        home.mkdir()
        connection = {"conn_type": "oxen", "host": hub.url, "password": hub.key}
        environment = {
            "AIRFLOW_CONN_OXEN_DEFAULT": json.dumps(connection),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
            "OXEN_BENCH_TASKS": str(tasks),
            "OXEN_BENCH_OUTPUT": folder,
        }
        with Deployment(home, environment, dags=ROOT / "benchmarks" / "dags") as airflow:
            measured = {name: _run(airflow, f"slots_{name}") for name in NAMES}
        images = len(hub.ledger())
        if images != 2 * tasks:
            raise SystemExit(f"{images} images were billed instead of {2 * tasks}.")
    what = f"{tasks} images of {latency:.0f} s, {SLOTS} slots"
    beside = "in the worker: {:.1f} s ({:.1f} times as much)"
    ours, theirs = (measured[name].held / tasks for name in NAMES)
    yield f"{what}, slot seconds an image, deferred", f"{ours:.1f}", "s", beside.format(theirs, theirs / ours)
    ours, theirs = (measured[name].wall for name in NAMES)
    yield f"{what}, wall clock, deferred", f"{ours:.0f}", "s", beside.format(theirs, theirs / ours)


class Measured(NamedTuple):
    """What a run took, in seconds: of all slots together, and by the clock."""

    held: float
    wall: float


def _run(airflow: Deployment, dag_id: str) -> Measured:
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
            run = states.runs(airflow.database).get(dag_id)
            if run and run.state in states.ENDED:
                if run.state != "success":
                    raise SystemExit(f"{dag_id} has failed.")
                return Measured(held, run.seconds or now - began)
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


if __name__ == "__main__":
    few = dict(tasks=8, latency=3.0) if "--few" in sys.argv else {}
    for figure in figures(**few):
        print(*figure, sep="  ")
