"""Tasks that are deferred where no triggerer runs, and then one: a whole Airflow of real processes."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_oxen.localhub import HubSettings, LocalHub

from ..chaos.deployment import Deployment
from ..chaos.states import runs
from ..chaos.watching import connection

DAG = "waits"

WARNING = "No triggerer is running (none was ever seen). This task stays deferred until one starts"

DAG_FILE = """
    from datetime import datetime

    from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
    from airflow_provider_oxen.operators.images import ImageGenerateOperator

    try:
        from airflow.sdk import DAG
    except ImportError:
        from airflow import DAG

    with DAG("waits", start_date=datetime(2026, 1, 1), schedule="@once") as dag:
        shared = {"model": "z-image-turbo", "deferrable": True, "poll_interval": 1}
        alone = [
            ImageGenerateOperator(task_id="image", prompt="A cube", **shared),
            ImageBatchGenerateOperator(
                task_id="batch", prompts=["A cube"], storage_path="OUTPUT/", **shared
            ),
        ]
        alone >> ImageGenerateOperator(task_id="accompanied", prompt="A ball", **shared)
"""


def until(airflow: Deployment, what: str, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 180
    while not condition():
        assert not airflow.dead()
        assert time.monotonic() < end, f"{what}\n{airflow.log('scheduler')[-3000:]}"
        time.sleep(0.2)


def log(home: Path, task_id: str) -> str:
    """Return all that a task has logged."""
    parts = sorted((home / "logs").glob(f"dag_id={DAG}/run_id=*/task_id={task_id}/*"))
    return "".join(path.read_text() for path in parts)


def test_deferred_task_says_that_no_triggerer_runs(tmp_path):
    home, dags = tmp_path / "airflow", tmp_path / "dags"
    home.mkdir()
    dags.mkdir()
    (dags / "waits.py").write_text(textwrap.dedent(DAG_FILE).replace("OUTPUT", str(tmp_path / "output")))
    with LocalHub(HubSettings(latency=3.0)) as hub:
        connections = connection("oxen_default", hub.url, hub.key)
        with Deployment(home, connections, dags, triggerer=False) as airflow:
            until(airflow, "image did not warn", lambda: WARNING in log(home, "image"))
            until(airflow, "batch did not warn", lambda: WARNING in log(home, "batch"))
            airflow.start_triggerer()
            until(airflow, "the run did not end", lambda: runs(airflow.database)[DAG].state == "success")

            waited = log(home, "accompanied")
            assert "in the triggerer" in waited
            assert "No triggerer is running" not in waited
            assert hub.key not in waited + log(home, "image")
