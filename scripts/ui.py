"""Airflow's own UI with the example Dags and a hub, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from surroundings import PYTHON, ROOT, airflow_home, end_all_of, hub

DAG = "example_oxen_scheduled"

PATIENCE = 180.0
"""Seconds that Airflow may take to be ready."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--home", type=Path, default=ROOT / ".ui", help="made anew each time")
    parser.add_argument("--stop-after", type=float, default=None, help="seconds; default: Ctrl-C")
    options = parser.parse_args()
    refuse_taken(options.port)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    output = ROOT / "ui-output"
    with hub() as connection, airflow(options.home, options.port, connection, output) as process:
        began = time.monotonic()
        print("Airflow: starting; this takes half a minute …", flush=True)
        user, password = wait_until_ready(options.home, options.port, process)
        print(f"Images:  {output}\nLog:     {options.home / 'airflow.log'}")
        print(f"Airflow: ready after {time.monotonic() - began:.0f} s. Ctrl-C stops it.\n")
        print(f"Open     http://127.0.0.1:{options.port}  and sign in: user {user}, password {password}")
        print(f"Click    Dags > {DAG} > Trigger; then open the run, and its tab Images.", flush=True)
        try:
            process.wait(options.stop_after)
        except subprocess.TimeoutExpired:
            return
        raise SystemExit(f"Airflow ended by itself; its log is {options.home / 'airflow.log'}.")


def stop(number: int, frame: Any) -> None:
    """End as on Ctrl-C, and let no further signal disturb that."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping …", flush=True)
    sys.exit(128 + number)


def refuse_taken(port: int) -> None:
    """Say at once that somebody else has the port."""
    with socket.socket() as probe:
        # As a server does it: a connection that was closed a moment ago is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise SystemExit(
                f"Port {port} cannot be used ({error}). Choose another one: make ui PORT=8081"
            ) from None


@contextmanager
def airflow(
    home: Path, port: int, connection: dict[str, str], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Airflow while the context lasts; afterwards no process of it is left."""
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords(home)),
        "OXEN_EXAMPLES_OUTPUT": str(output),
    }
    env = airflow_home(home, ROOT / "example_dags", **settings) | connection
    with (home / "airflow.log").open("w") as log:
        # A group of its own: Ctrl-C is for this process, which then ends the others in order.
        process = subprocess.Popen(
            [PYTHON, "-m", "airflow", "standalone"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            end_all_of(home, process)


def passwords(home: Path) -> Path:
    return home / "simple_auth_manager_passwords.json.generated"


def wait_until_ready(home: Path, port: int, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Wait until Airflow answers and has the examples; return user and password."""
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            user, password = next(iter(json.loads(passwords(home).read_text()).items()))
            token = ask(f"{url}/auth/token", {"username": user, "password": password})["access_token"]
            ask(f"{url}/api/v2/dags/{DAG}", token=token)
        except (OSError, ValueError, StopIteration):
            # urllib's errors are OSErrors, also an answer of 404.
            time.sleep(0.5)
        else:
            return user, password
    log = (home / "airflow.log").read_text()[-4000:]
    raise SystemExit(f"{log}\nAirflow did not become ready; the end of its log is above.")


def ask(url: str, body: dict[str, str] | None = None, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
