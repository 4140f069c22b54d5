"""What a hundred images cost in worker slots: deferred tasks beside such as wait in the worker.

A real Airflow with four slots, and a local hub that takes 20 s for an image. Takes some ten minutes: 100
images of 20 s through 4 slots are more than eight.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dag_runs import airflow, run

from airflow_provider_oxen.localhub import HubSettings, LocalHub

TASKS = 100
SLOTS = 4
LATENCY = 20.0
NAMES = ("deferrable", "synchronous")


def figures(tasks: int = TASKS, latency: float = LATENCY) -> Iterator[tuple[str, str, str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="oxen-slots-") as folder,
        LocalHub(HubSettings(latency=latency)) as hub,
    ):
        fields = {"conn_type": "oxen", "host": hub.url, "password": hub.key}
        connection = {"AIRFLOW_CONN_OXEN_DEFAULT": json.dumps(fields)}
        with airflow(Path(folder), connection, tasks=tasks, slots=SLOTS) as running:
            measured = {name: run(running, f"slots_{name}") for name in NAMES}
        images = len(hub.ledger())
        if images != 2 * tasks:
            raise SystemExit(f"{images} images were billed instead of {2 * tasks}.")
    what = f"{tasks} images of {latency:.0f} s, {SLOTS} slots"
    beside = "in the worker: {:.1f} s ({:.1f} times as much)"
    ours, theirs = (measured[name].held / tasks for name in NAMES)
    yield f"{what}, slot seconds an image, deferred", f"{ours:.1f}", "s", beside.format(theirs, theirs / ours)
    ours, theirs = (measured[name].wall for name in NAMES)
    yield f"{what}, wall clock, deferred", f"{ours:.0f}", "s", beside.format(theirs, theirs / ours)


if __name__ == "__main__":
    few = dict(tasks=8, latency=3.0) if "--few" in sys.argv else {}
    for figure in figures(**few):
        print(*figure, sep="  ")
