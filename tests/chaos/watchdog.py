"""Ends every process of the harness when the harness ends, however it ends.

Its standard input is a pipe that only the harness holds: each line names a session, and the end of the
pipe, which also a SIGKILL of the harness brings about, is the order to kill them all. Sessions, not
process groups: Airflow's task processes make groups of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Set
from pathlib import Path

PATIENCE = 10.0
"""Seconds until it gives up on processes that do not die."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions = {int(line) for line in sys.stdin if line.strip()}
    kill_sessions(sessions)


def kill_sessions(sessions: Set[int]) -> None:
    """SIGKILL every process of the sessions until there is none."""
    end = time.monotonic() + PATIENCE
    while (alive := members(sessions)) and time.monotonic() < end:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def members(sessions: Set[int]) -> list[int]:
    """Return the processes of the sessions that still run."""
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and _session(path) in sessions and int(path.name) != os.getpid()
    ]


def parent(pid: int) -> int:
    """Return a process's parent.

    :raises ProcessLookupError: where there is no such process any more.
    """
    facts = _facts(Path("/proc", str(pid)))
    if facts is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(facts[1])


def _session(path: Path) -> int | None:
    facts = _facts(path)
    return int(facts[3]) if facts and facts[0] != "Z" else None


def _facts(path: Path) -> list[str] | None:
    """Return state, parent, group, session and more; the name before them may hold anything."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


if __name__ == "__main__":
    main()
