"""Plays the cases: ``.venv/bin/python tests/fuzz/run.py`` all of them, ``run.py answer:1:42`` that one.

Each kind runs in processes of its own, whose memory has a limit. A case is named by its kind, the seed of the
run and its number; the name is all that is needed to play it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CASES = {
    "answer": 60_000,
    "history": 100,
    "download": 14_000,
    "stream": 10_000,
    "record": 24_000,
    "side": 14_000,
    "batch": 7_000,
    "xcom": 16_000,
    "event": 16_000,
    "kwargs": 4_000,
    "schema": 5_000,
    "extra": 14_000,
    "request": 10_000,
    "headers": 10_000,
    "image": 15_000,
    "text": 8_000,
}
"""How many of each kind, for 200,000 and more in all."""

SHARE = 60
"""The tests play one part in so many."""

BLOCK = 2_000
"""Cases that one process plays."""

HEAP = 2 * 1024**3
"""Bytes of address space that a process may add to what it has when it begins."""

_ENDED = "=> "
"""Begins the lines that tell how cases ended."""

HANGS = 120.0
"""Seconds without a case's end after which a process is stopped."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", help="kind:seed:number, or a kind alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--block", help=argparse.SUPPRESS)
    parser.add_argument("--times", type=float, default=1.0, help="so many times as many cases")
    options = parser.parse_args()
    if options.block:
        return _block(*options.block.split(":"))
    single = [case for case in options.case if ":" in case]
    if single:
        return max(_block(*case.split(":")[:3]) for case in single)
    kinds = options.case or list(CASES)
    return _all(kinds, options.seed, options.jobs, options.times)


def _all(kinds: list[str], seed: int, jobs: int, times: float) -> int:
    began, ended, failed = time.monotonic(), Counter[str](), 0
    blocks = [
        f"{kind}:{seed}:{start}:{min(BLOCK, count - start)}"
        for kind in kinds
        for count in [int(CASES[kind] * times)]
        for start in range(0, count, BLOCK)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        for block, done in zip(blocks, pool.map(_start, blocks), strict=True):
            if done.returncode:
                failed += 1
                print(done.stdout + done.stderr, flush=True)
                print(f"The process of {block} ended with {done.returncode}.", flush=True)
            else:
                ended.update(dict(_counts(done.stdout)))
    for how, count in ended.most_common():
        print(f"{count:>9,}  {how}")
    print(f"{ended.total():,} cases in {time.monotonic() - began:.0f} s, {failed} blocks failed.")
    return 1 if failed else 0


def _start(block: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, __file__, "--block", block], capture_output=True, text=True, check=False, cwd=ROOT
    )


def _counts(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        # Airflow may write there as well.
        if line.startswith(_ENDED):
            name, _, count = line.removeprefix(_ENDED).rpartition(" ")
            yield name, int(count)


def _block(kind: str, seed: str, start: str, count: str = "1") -> int:
    """Play some cases in this process; say how they ended, and how to play again what failed."""
    sys.path.insert(0, str(ROOT))
    _surroundings()
    from tests.fuzz.guard import Guard, Wrong
    from tests.fuzz.kinds import play

    guard, ended, failed = Guard(), Counter[str](), 0
    # Nobody reads what hundreds of thousands of cases log, but the guard.
    logging.getLogger().handlers = [guard]
    # What is loaded, and made once, is no case's.
    with suppress(Wrong):
        play(guard, kind, "first")
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + HEAP, resource.RLIM_INFINITY))
    for number in range(int(start), int(start) + int(count)):
        name = f"{kind}:{seed}:{number}"
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            ended[play(guard, kind, name)] += 1
            if int(count) == 1:
                guard.look()
        except Wrong as wrong:
            failed += 1
            print(f"{name}: {wrong}\nAgain: {sys.executable} tests/fuzz/run.py {name}", flush=True)
            if failed == 5:
                break
    faulthandler.cancel_dump_traceback_later()
    if not failed:
        print("\n".join(f"{_ENDED}{how} {many}" for how, many in sorted(ended.items())))
    return 1 if failed else 0


def _surroundings() -> None:
    """Nothing of the caller's Airflow, and one that is nowhere: no database is asked."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "_AIRFLOW", "OXEN_"))]:
        del os.environ[name]
    import tempfile

    home = tempfile.mkdtemp(prefix="oxen-fuzz-home-")
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
    }


if __name__ == "__main__":
    sys.exit(main())
