"""Run the rows and print the table; exit code 1 where any row is wrong.

On Airflow 3 all rows, on 2.11 those that need no kill: the Python that runs this decides.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As a script this file's own folder would come first, and hide other packages behind its modules.
sys.path[:1] = [str(ROOT)]

from tests.chaos import batch_checks, checks, command, leaks, states, table  # noqa: E402
from tests.chaos.batch_scene import BatchScene  # noqa: E402
from tests.chaos.batches import BatchRow, all_batches  # noqa: E402
from tests.chaos.command import Outcome  # noqa: E402
from tests.chaos.deployment import AIRFLOW, IS_NEWEST, Deployment  # noqa: E402
from tests.chaos.rows import Row, all_rows  # noqa: E402
from tests.chaos.scene import Scene  # noqa: E402
from tests.chaos.strikes import strike  # noqa: E402

LIMIT = 300.0
"""Seconds for all rows that run beside each other; far more than they take."""

LIMIT_ALONE = 90.0
"""Seconds for a row that runs alone."""


def main() -> int:
    rows = [row for row in (*all_rows(), *all_batches()) if IS_NEWEST or row.any_airflow]
    return command.main(__doc__, "chaos", rows, _run, table)


def _run(chosen: Sequence[Row], home: Path) -> Outcome:
    began = time.monotonic()
    print(f"Airflow {AIRFLOW}, {len(chosen)} rows, {home}", flush=True)
    airflow = home / "airflow"
    airflow.mkdir()
    with ExitStack() as stack:
        scenes = [stack.enter_context(_scene(row, home / "rows")) for row in chosen]
        plan = home / "table.json"
        plan.write_text(json.dumps([scene.table_entry() for scene in scenes]))
        connections = {"OXEN_CHAOS_TABLE": str(plan)}
        for scene in scenes:
            connections |= scene.environment()
        with Deployment(airflow, connections) as deployment:
            for scene in scenes:
                threading.Thread(target=strike, args=(scene, deployment), daemon=True).start()
            together = [scene for scene in scenes if not scene.row.alone]
            _wait(deployment, together, LIMIT, began)
            for scene in scenes:
                if scene.row.alone:
                    deployment.rest.unpause(scene.dag_id)
                    _wait(deployment, [scene], LIMIT_ALONE, began)
            ended = states.runs(deployment.database)
        print(f"All ended after {time.monotonic() - began:.0f} s.", flush=True)
        nothing = states.Run("never started", 0)
        verdicts = [_judge(scene, ended.get(scene.dag_id, nothing), airflow) for scene in scenes]
        leaked = list(leaks.find(airflow, [scene.key for scene in scenes]))
    return Outcome(verdicts, leaked)


def _scene(row: Row, home: Path) -> Scene:
    return BatchScene(row, home) if isinstance(row, BatchRow) else Scene(row, home)


def _judge(scene: Scene, run: states.Run, airflow: Path) -> checks.Verdict:
    if isinstance(scene, BatchScene):
        return batch_checks.judge(scene, run, airflow)
    return checks.judge(scene, run, airflow)


def _wait(deployment: Deployment, scenes: Sequence[Scene], seconds: float, began: float) -> None:
    """Wait until the rows have ended, and tell of each that does."""
    waiting = {scene.dag_id: scene for scene in scenes}
    end = time.monotonic() + seconds
    while waiting and time.monotonic() < end:
        if dead := deployment.dead():
            raise SystemExit(f"Airflow's {dead[0]} has ended:\n{deployment.log(dead[0])[-4000:]}")
        for dag_id, run in states.runs(deployment.database).items():
            if run.state in states.ENDED and (scene := waiting.pop(dag_id, None)):
                print(f"{time.monotonic() - began:5.0f} s  {scene.row.name}: {run.state}", flush=True)
        time.sleep(0.5)
    for scene in waiting.values():
        print(f"{time.monotonic() - began:5.0f} s  {scene.row.name}: given up", flush=True)


if __name__ == "__main__":
    sys.exit(main())
