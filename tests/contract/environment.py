"""An Airflow of its own in this process, and a place for all that it says."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def prepare(home: Path, url: str, key: str) -> None:
    """Set the environment of an Airflow that starts empty; nothing of the user's own stays.

    :param url: the host of the connections ``oxen_default`` and ``wrong_key``.
    """
    for name in list(os.environ):
        if name.startswith(("AIRFLOW", "_AIRFLOW", "OXEN_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    (home / "dags").mkdir(parents=True)
    fields = {"conn_type": "oxen", "host": url, "extra": {"max_retries": 1, "api_layout": "ai"}}
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW_CONN_OXEN_DEFAULT": json.dumps({**fields, "password": key}),
        "AIRFLOW_CONN_WRONG_KEY": json.dumps({**fields, "password": "not-the-key"}),
    }


def make_database() -> None:
    """Make Airflow's database, and let nobody wait: no scheduler is at work, and no image is on its way."""
    from airflow.utils.db import initdb

    from airflow_provider_oxen.api import retries
    from airflow_provider_oxen.triggers import _base

    initdb()
    retries.NOT_YET = (0.001, 0.001, 0.001, 0.001, 0.001)
    _base.SECONDS = 0.0


@contextlib.contextmanager
def into(log: Path) -> Iterator[None]:
    """Let what this process writes go into a file: Airflow tells a lot."""
    _flush()
    kept = [os.dup(number) for number in (1, 2)]
    with log.open("ab") as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            _flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
