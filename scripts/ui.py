"""Airflow's own UI with the example Dags and a hub, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from surroundings import PYTHON, ROOT, airflow_home, hub

PATIENCE = 180.0
"""Seconds that Airflow may take to answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--stop-after", type=float, default=None, help="seconds; default: Ctrl-C")
    options = parser.parse_args()
    home = ROOT / ".ui"
    output = ROOT / "ui-output"
    passwords = home / "simple_auth_manager_passwords.json.generated"
    env = airflow_home(
        home,
        ROOT / "example_dags",
        OXEN_EXAMPLES_OUTPUT=str(output),
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(options.port),
        AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{options.port}",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{options.port}/execution/",
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(passwords),
    )
    log = home / "airflow.log"
    with hub() as connection, log.open("w") as file:
        env |= connection
        # A group of its own: standalone leaves its children running when it is asked to stop.
        process = subprocess.Popen(
            [PYTHON, "-m", "airflow", "standalone"],
            env=env,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            wait_until_up(f"http://127.0.0.1:{options.port}/api/v2/monitor/health", process, log)
            user, password = next(iter(json.loads(passwords.read_text()).items()))
            print(f"Airflow: http://127.0.0.1:{options.port}  user {user}, password {password}")
            print(f"Images:  {output}\nLog:     {log}\nCtrl-C stops it.", flush=True)
            process.wait(options.stop_after)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            print("Stopping …")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    print("Airflow: starting …", flush=True)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit(f"Airflow did not come up:\n{log.read_text()[-4000:]}")


if __name__ == "__main__":
    main()
