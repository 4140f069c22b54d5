"""One Airflow for the whole test run: a home of its own, SQLite, nothing of the user's environment."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A user's repository, which brings a conftest.py of its own; test_pytest_plugin.py runs it. And the browser's
# tests, which ``make e2e`` names.
collect_ignore = ["sample", "e2e"]

# Before anything imports Airflow: it reads its home and its settings at import.
_HOME = tempfile.mkdtemp(prefix="oxen-tests-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "OXEN_"))]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": f"{_HOME}/dags",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{_HOME}/logs",
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
}
Path(_HOME, "dags").mkdir()


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell how many histories the simulation of the protocol has played."""
    reports = terminalreporter.getreports("passed")
    counts = [number for report in reports for name, number in report.user_properties if name == "histories"]
    if counts:
        terminalreporter.write_line(f"Played {sum(counts):,} histories of the protocol.")


@pytest.fixture
def own_garbage() -> Iterator[None]:
    """For a test that collects what it left itself: what others left would be taken for its own."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _no_patience() -> Iterator[None]:
    """Wait for nothing between two looks: no hub and no scheduler needs it here.

    An image that is not there yet is asked for as often as ever, and triggers tell their end at once.
    """
    from airflow_provider_oxen.api import retries
    from airflow_provider_oxen.triggers import _base

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retries, "NOT_YET", (0.001,) * len(retries.NOT_YET))
        patched.setattr(_base, "SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True)
def _no_connections_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep one test's connections from another's."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
        monkeypatch.delenv(name)
