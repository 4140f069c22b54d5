"""What the demo, the UI and the benchmarks need around them: a hub, and an Airflow of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
REAL_HUB = "https://hub.oxen.ai"


@contextmanager
def hub() -> Iterator[dict[str, str]]:
    """Give the connection to a hub: the real one where ``OXEN_API_KEY`` is set, else a local one."""
    key = os.environ.get("OXEN_API_KEY")
    if key:
        print(f"Hub:     {REAL_HUB} (OXEN_API_KEY is set: this costs money)", flush=True)
        yield connection(REAL_HUB, key)
        return
    with local_hub() as environment:
        host = json.loads(environment["AIRFLOW_CONN_OXEN_DEFAULT"])["host"]
        print(f"Hub:     {host} (a local one: images are drawn, nothing is paid)", flush=True)
        yield environment


@contextmanager
def local_hub() -> Iterator[dict[str, str]]:
    """Give the connection to a local hub in a process of its own, whatever key is set."""
    command = [PYTHON, "-m", "airflow_provider_oxen.localhub", "--port", "0", "--with-parent"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("Local hub: "):
            raise SystemExit("The local hub did not start.")
        url, key = line.removeprefix("Local hub: ").replace("key:", "").split()
        yield connection(url, key)
    finally:
        process.terminate()
        process.wait(10)


def connection(host: str, key: str) -> dict[str, str]:
    """Return the environment that holds the Airflow connection."""
    return {"AIRFLOW_CONN_OXEN_DEFAULT": json.dumps({"conn_type": "oxen", "host": host, "password": key})}


def end_all_of(home: Path, process: subprocess.Popen[bytes], patience: float = 15.0) -> None:
    """End every process of an Airflow: some of them leave its group, and a killed one leaves its children.

    :param home: of that Airflow, by which its processes are known.
    :param process: the first of them, with a session of its own.
    :param patience: seconds until those that do not end are killed.
    """
    found = {each.pid: each for each in of(home, process.pid)}
    for each in found.values():
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    _, left = psutil.wait_procs(found.values(), patience)
    # What was begun meanwhile as well.
    while left := {each.pid: each for each in (*left, *of(home, process.pid)) if each.is_running()}.values():
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        _, left = psutil.wait_procs(left, 5)
    process.wait()


def of(home: Path, session: int) -> Iterator[psutil.Process]:
    """Yield the processes that are in this session or have this AIRFLOW_HOME, but for this one.

    Some begin a session of their own; others, such as the API server, lose their environment to a title.
    """
    for each in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if each.pid == os.getpid() or each.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(each.pid) == session or each.environ().get("AIRFLOW_HOME") == str(home):
                yield each


def airflow_home(path: Path, dags: Path, **settings: str) -> dict[str, str]:
    """Return the environment of an Airflow that starts empty, on SQLite, away from the user's own."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return clean | {
        "AIRFLOW_HOME": str(path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{path}/airflow.db",
        "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONWARNINGS": "ignore",
        **settings,
    }
