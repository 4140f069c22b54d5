"""An Airflow of several processes: each component in a session of its own, all ended by the watchdog."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.chaos import states
from tests.chaos.environment import common, newest, oldest
from tests.chaos.watchdog import kill_sessions

ROOT = Path(__file__).resolve().parents[2]

DAGS = Path(__file__).parent / "dags"

AIRFLOW = version("apache-airflow")

IS_NEWEST = AIRFLOW.startswith("3.")

PATIENCE = 120.0
"""Seconds that Airflow may take to come up, on a machine that others use too."""


class Deployment:
    """A running Airflow of the version that this Python has.

    Use it as a context manager. SQLite in WAL mode holds: the few processes wait for each other.

    :param home: an empty folder.
    :param connections: further environment: the rows' connections and table.
    :param dags: the folder of its Dags.
    """

    def __init__(self, home: Path, connections: Mapping[str, str], dags: Path = DAGS) -> None:
        self.home = home
        self.database = home / "airflow.db"
        self.port = _free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._arguments: dict[str, tuple[str, ...]] = {}
        # Strikes replace components while the main thread looks whether all live.
        self._lock = threading.RLock()
        url = f"http://127.0.0.1:{self.port}"
        secret = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        line = newest(url, secret) if IS_NEWEST else oldest()
        self.env = common(home, dags, ROOT, secret) | line | dict(connections)

    def __enter__(self) -> Deployment:
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
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process, and let none start any more. The home stays."""
        with self._lock:
            self._pipe.close()
            self._watchdog.wait(30)
            for process in self._processes.values():
                process.wait(10)

    def _start(self) -> None:
        self.start("db", "migrate")
        if self._processes["db"].wait(PATIENCE):
            raise SystemExit(f"Airflow's database could not be made:\n{self.log('db')[-4000:]}")
        states.use_wal(self.database)
        if IS_NEWEST:
            self.start("api-server", "--host", "127.0.0.1", "--port", str(self.port))
            self.start("dag-processor")
        # Their log servers would listen on every address.
        self.start("scheduler", "--skip-serve-logs")
        self.start("triggerer", "--skip-serve-logs")

    def start(self, component: str, *arguments: str) -> None:
        """Start a component; one that was killed starts as it did before."""
        arguments = self._arguments.setdefault(component, arguments)
        with self._lock, (self.home / f"{component}.log").open("ab") as log:
            if self._pipe.closed:
                raise RuntimeError("the harness is ending")
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", component, *arguments],
                env=self.env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._processes[component] = process
            self._pipe.write(f"{process.pid}\n".encode())
            self._pipe.flush()

    def replace(self, component: str) -> None:
        """SIGKILL a component with all its children, as the loss of its machine does, and start another."""
        with self._lock:
            process = self._processes[component]
            kill_sessions({process.pid})
            process.wait(10)
            self.start(component)

    def pid(self, component: str) -> int:
        return self._processes[component].pid

    def dead(self) -> list[str]:
        """Return the components that have ended by themselves."""
        with self._lock:
            services = {name: process for name, process in self._processes.items() if name != "db"}
            return [name for name, process in services.items() if process.poll() is not None]

    def log(self, component: str) -> str:
        return (self.home / f"{component}.log").read_text(errors="replace")

    def unpause(self, dag_id: str) -> None:
        """Let a Dag run that is held back; over REST, as a person does in the UI."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                token = self._ask("GET", "/auth/token")["access_token"]
                body = b'{"is_paused": false}'
                self._ask("PATCH", f"/api/v2/dags/{dag_id}", body, authorization=f"Bearer {token}")
                return
            except urllib.error.URLError:
                # The API server is not up, or the Dag has not been parsed yet.
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def _ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        headers["content-type"] = "application/json"
        request = urllib.request.Request(url, body, headers, method=method)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
