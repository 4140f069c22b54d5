"""Processes that each have a session of their own, all ended by the watchdog."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.chaos.watchdog import kill_sessions


class Command(NamedTuple):
    """What starts a process.

    :ivar cwd: the folder that it runs in.
    """

    line: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


class Sessions:
    """Processes by name. Use it as a context manager: none of them outlives it, nor the harness itself.

    :param logs: an existing folder for what they print, a file for each.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._commands: dict[str, Command] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Strikes replace processes while the main thread looks whether all live.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        # Its pipe must be nobody else's: Popen closes what it is not told to pass on.
        self._watchdog = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("watchdog.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._watchdog.stdin
        self._pipe = self._watchdog.stdin
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        """Start what is there from the beginning."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, and let none start any more."""
        with self._lock:
            self._pipe.close()
            self._watchdog.wait(30)
            for process in self._processes.values():
                process.wait(10)

    @property
    def closed(self) -> bool:
        return self._pipe.closed

    def start(self, name: str, command: Command | None = None) -> None:
        """Start a process; one that has ended starts as it did before."""
        with self._lock, (self._logs / f"{name}.log").open("ab") as log:
            if self._pipe.closed:
                raise RuntimeError("the harness is ending")
            command = self._commands[name] = command or self._commands[name]
            process = subprocess.Popen(
                command.line,
                env=command.env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._processes[name] = process
            self._pipe.write(f"{process.pid}\n".encode())
            self._pipe.flush()

    def replace(self, name: str) -> None:
        """SIGKILL a process with all its children, as the loss of its machine does, and start another."""
        with self._lock:
            process = self._processes[name]
            kill_sessions({process.pid})
            process.wait(10)
            self.start(name)

    def signal(self, name: str, number: int) -> None:
        """Send a process a signal, unless it has ended."""
        self._processes[name].send_signal(number)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def wait(self, name: str, seconds: float) -> int:
        """Return a process's exit code.

        :raises subprocess.TimeoutExpired: where it has not ended by then.
        """
        return self._processes[name].wait(seconds)

    def dead(self) -> list[str]:
        """Return the processes that have ended by themselves."""
        with self._lock:
            return [name for name, process in self._processes.items() if process.poll() is not None]

    def log(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text(errors="replace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
