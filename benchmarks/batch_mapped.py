"""A hundred prompts as one batch, beside a mapped task for each, in a real Airflow with four slots."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dag_runs import airflow, run
from hubs import quiet_hub

PROMPTS = 100
SLOTS = 4
LATENCY = 1.0


def figures(prompts: int = PROMPTS) -> Iterator[tuple[str, str, str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="oxen-mapped-") as folder,
        quiet_hub(latency=LATENCY) as hub,
        airflow(Path(folder), hub.connection, tasks=prompts, slots=SLOTS) as running,
    ):
        batch, mapped = (run(running, f"batch_{name}").wall for name in ("one_task", "mapped"))
        if hub.billed() != 2 * prompts:
            raise SystemExit(f"{hub.billed()} images were billed instead of {2 * prompts}.")
    yield (
        f"{prompts} prompts of {LATENCY:.0f} s in one batch task, 8 at a time, wall clock",
        f"{batch:.0f}",
        "s",
        f"a mapped task for each, {SLOTS} slots: {mapped:.0f} s ({mapped / batch:.1f} times as much)",
    )


if __name__ == "__main__":
    for figure in figures(8 if "--few" in sys.argv else PROMPTS):
        print(*figure, sep="  ", flush=True)
