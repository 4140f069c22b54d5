"""One way of making many images, measured in a process of its own: wall clock, CPU, peak memory.

What the first image of a process costs (loading modules, reading certificates) is paid by one image before
the clock starts, and told as a figure of its own; unless the process is to start cold.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hubs import ROOT, Hub

__all__ = ["OPERATOR", "Measured", "measured", "prompts"]

OPERATOR = "operator"


class Measured(NamedTuple):
    """What a process took.

    :ivar wall: seconds by the clock.
    :ivar cpu: seconds of CPU, user and system, of all threads.
    :ivar peak: largest memory of the process so far, in MB.
    :ivar first: seconds of CPU from the process's start to the end of its first image, with all it loads.
    :ivar result: what the operator returned.
    """

    wall: float
    cpu: float
    peak: float
    first: float
    result: Any


def prompts(number: int) -> list[str]:
    return [f"A red cube on a white background, number {index}" for index in range(number)]


def measured(
    way: str, hub: Hub, number: int, folder: Path | None = None, *, cold: bool = False, **arguments: Any
) -> Measured:
    """Make so many images in a new process.

    :param way: of :data:`batch_references.WAYS`, or :data:`OPERATOR`.
    :param folder: for the files; None makes one and removes it.
    :param cold: make no image before the clock starts.
    :param arguments: of the operator.
    """
    with tempfile.TemporaryDirectory(prefix="oxen-bench-") as home:
        order = {
            "way": way,
            "host": hub.url,
            "key": hub.key,
            "number": number,
            "folder": str(folder or Path(home, "images")),
            "cold": cold,
            "arguments": arguments,
        }
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(order), env={**hub.environment, "AIRFLOW_HOME": home}, cwd=ROOT,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _measure(
    work: Callable[[Sequence[str], Path], Any], number: int, folder: Path, *, cold: bool
) -> Measured:
    folder.mkdir(exist_ok=True)
    if not cold:
        with tempfile.TemporaryDirectory(prefix="oxen-bench-") as first:
            work(["The first image of a process"], Path(first))
    start, before = time.perf_counter(), _cpu()
    result = work(prompts(number), folder)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return Measured(wall, cpu, peak, before, result)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _work(order: dict[str, Any]) -> Callable[[Sequence[str], Path], Any]:
    if order["way"] == OPERATOR:
        from batch_operator import run

        return lambda given, folder: run(given, folder, **order["arguments"])
    from batch_references import WAYS

    way = WAYS[order["way"]]
    return lambda given, folder: way(order["host"], order["key"], given, folder)


if __name__ == "__main__":
    order = json.load(sys.stdin)
    found = _measure(_work(order), order["number"], Path(order["folder"]), cold=order["cold"])
    print(json.dumps(found._asdict()), flush=True)
