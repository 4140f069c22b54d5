"""One way to start a hub, and one way to run a Dag: both real, in this process."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.localhub import HubSettings, LocalHub

START = datetime(2026, 1, 1)

LONGEST = (
    "test_tutorial.py",
    "test_scripts.py",
    "test_pytest_plugin.py",
    "test_event_watcher.py",
    "test_docs_site.py",
)
"""Files whose tests start whole Airflows or build a whole site."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests: one that begins last is waited for alone."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def untraced() -> dict[str, str]:
    """Return the environment for a process that measures no lines: so Airflow starts in half the time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


@pytest.fixture(scope="session")
def airflow_db() -> None:
    # Airflow 2.11 loads its whole web application to make a database, and what that uses is old.
    with warnings.catch_warnings(action="ignore"):
        from airflow.utils.db import initdb

        initdb()


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub(HubSettings()) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the Airflow connection ``oxen_default``, as a deployment would: through the environment."""

    def connect(host: str, key: str | None, conn_id: str = "oxen_default", **extra: Any) -> None:
        fields = {"conn_type": "oxen", "host": host, "password": key, "extra": {"max_retries": 1, **extra}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return connect


@pytest.fixture
def connected(hub: LocalHub, connect: Callable[..., None]) -> LocalHub:
    """A running hub, and the connection to it."""
    connect(hub.url, hub.key)
    return hub


@dataclass
class Run:
    """What became of a Dag run.

    :ivar log: all that was logged while it ran.
    """

    dag_run: Any
    log: str

    @property
    def state(self) -> str:
        return str(self.dag_run.state.value if hasattr(self.dag_run.state, "value") else self.dag_run.state)

    def tis(self, task_id: str) -> list[Any]:
        found = [ti for ti in self.dag_run.get_task_instances() if ti.task_id == task_id]
        return sorted(found, key=lambda ti: ti.map_index)

    def ti(self, task_id: str) -> Any:
        return self.tis(task_id)[0]

    def xcom(self, task_id: str, map_index: int = -1) -> Any:
        return self.ti(task_id).xcom_pull(task_ids=task_id, map_indexes=map_index)


@pytest.fixture
def run_dag(
    airflow_db: None, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[..., Run]:
    """Run a Dag through Airflow's own task execution and tell what became of it."""

    def run_dag(dag: Any, **arguments: Any) -> Run:
        register(dag)
        capfd.readouterr()
        caplog.clear()
        dag_run = dag.test(**arguments)
        out, err = capfd.readouterr()
        print(out + err)  # for the report of a test that fails
        return Run(dag_run, out + err + caplog.text)

    return run_dag


def asset_table(name: str) -> Any:
    """Return one of the tables of Airflow's assets; Airflow 2 calls them datasets."""
    try:
        return getattr(import_module("airflow.models.asset"), f"Asset{name}")
    except ImportError:
        return getattr(import_module("airflow.models.dataset"), f"Dataset{name}")


def register(dag: Any) -> None:
    """Store a Dag as Airflow's Dag processor does; Airflow 3 runs no other."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
    except ImportError:
        dag.sync_to_db()
        return
    try:
        dagbag: Any = import_module("airflow.dag_processing.dagbag")
    except ImportError:
        dagbag = import_module("airflow.models.dagbag")  # of Airflow 3.1
    DagBundlesManager().sync_bundles_to_db()
    bag = dagbag.DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    dagbag.sync_bag_to_db(bag, "dags-folder", None)


def load_dags(path: Path) -> dict[str, Any]:
    """Return the Dags of a file, loaded as Airflow's Dag processor loads it."""
    try:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=str(path), bundle_name="dags-folder")
    except ImportError:
        bag = import_module("airflow.models").DagBag(dag_folder=str(path), include_examples=False)
    assert not bag.import_errors
    return dict(bag.dags)
