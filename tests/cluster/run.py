"""Run the rows and print the table; exit code 1 where any row is wrong."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As a script this file's own folder would come first, and hide other packages behind its modules.
sys.path[:1] = [str(ROOT)]

from tests.chaos import command, leaks  # noqa: E402
from tests.chaos.command import Outcome  # noqa: E402
from tests.chaos.states import Run  # noqa: E402
from tests.cluster import checks, table  # noqa: E402
from tests.cluster.acts import play  # noqa: E402
from tests.cluster.cluster import PATIENCE, Cluster  # noqa: E402
from tests.cluster.place import Bucket, Folders, Nowhere, Place  # noqa: E402
from tests.cluster.rows import Row, all_rows  # noqa: E402
from tests.cluster.scene import Scene  # noqa: E402
from tests.cluster.strikes import until  # noqa: E402
from tests.integration import s3  # noqa: E402


def main() -> int:
    return command.main(__doc__, "cluster", list(all_rows()), _run, table)


def _run(chosen: Sequence[Row], home: Path) -> Outcome:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    say(f"{len(chosen)} rows, {home}")
    server = s3.start()
    bucket = s3.make_bucket(server)
    with ExitStack() as stack:
        scenes = [stack.enter_context(Scene(row, home / "rows", _place(row, home, bucket))) for row in chosen]
        plan = home / "table.json"
        plan.write_text(json.dumps([scene.table_entry() for scene in scenes]))
        connections = {"OXEN_CLUSTER_TABLE": str(plan)} | s3.environment(server)
        for scene in scenes:
            connections |= scene.environment()
        cluster = stack.enter_context(Cluster(home, connections))
        until(cluster.ready, "the workers did not come up", PATIENCE)
        say("The cluster is up.")
        play(scenes, cluster, say)
        say("All ended.")
        if cluster.exited:
            say(f"Exited and were restarted: {dict(cluster.exited)}")
        nothing = Run("never started", 0)
        ended = cluster.runs()
        verdicts = [
            checks.judge(scene, ended.get(scene.dag_id, nothing), cluster.airflow) for scene in scenes
        ]
        cluster.postgres.dump(cluster.airflow / "dump.sql")
        cluster.redis.dump(cluster.airflow / "dump.rdb")
    leaked = list(leaks.find(home / "airflow", [scene.key for scene in scenes]))
    say("All processes ended.")
    return Outcome(verdicts, leaked)


def _place(row: Row, home: Path, bucket: s3.S3) -> Place:
    if row.store == "s3":
        return Bucket(bucket, row.id)
    if row.store == "shared":
        return Folders(str(home / "shared" / row.id), home / "shared" / row.id)
    if row.store == "disk":
        # The harness sees them side by side, Airflow's workers at one path.
        paths = [home / "disks" / worker / row.id for worker in ("worker-a", "worker-b")]
        return Folders(str(home / "disk" / row.id), *paths)
    return Nowhere()


if __name__ == "__main__":
    sys.exit(main())
