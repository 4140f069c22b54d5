"""The example that watches: Airflow's triggerer in a process of its own, its scheduler and its database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.triggers.shared_stream", reason="Airflow keeps positions from 3.3 on")

from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetEvent
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.models.dagrun import DagRun
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from sqlalchemy import select

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook

from ..conftest import ROOT
from .conftest import load_dags, register

DAG = "example_oxen_events"


@contextlib.contextmanager
def triggerer(log: Path) -> Iterator[None]:
    """Airflow's triggerer, which is lost in the end as its machine is: with SIGKILL."""
    # A lost one's triggers are taken over soon, and its log server would listen on every address.
    soon = {
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "2",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=os.environ | soon,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], Any]) -> None:
    # Far longer than a triggerer takes to start, on a machine that others use too.
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def order(number: int) -> list[str]:
    """Ask for images, as somebody does who knows nothing of Airflow."""
    request = GenerateRequest.model_validate({"model": "z-image-turbo", "prompt": "A red cube"})
    with OxenHook().get_conn() as client:
        return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]


def told() -> list[str]:
    with create_session() as session:
        events = session.scalars(select(AssetEvent).order_by(AssetEvent.id))
        # Other tests' assets have events too, which no watcher has told.
        return [event.extra["payload"]["generation_id"] for event in events if "payload" in event.extra]


def position() -> str:
    with create_session() as session:
        return "".join(row.value for row in session.scalars(select(AssetStateStoreModel)))


def run_what_is_due(dag: Any) -> set[str]:
    """Let Airflow's scheduler make the run that is due, run its task, and return the ids it was handed."""
    with create_session() as session, prohibit_commit(session) as guard:
        SchedulerJobRunner(Job(), executors=[])._create_dagruns_for_dags(guard, session)
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == DAG).order_by(DagRun.id.desc())).first()
        assert run is not None
        handed = {event.extra["payload"]["generation_id"] for event in run.consumed_asset_events}
        [ti] = run.get_task_instances(session=session)
        ti.set_state("scheduled", session=session)
        session.flush()
        session.expunge_all()
    _run_task(ti=ti, task=dag.get_task(ti.task_id), run_triggerer=False)
    return handed


def test_a_dag_runs_with_all_that_has_ended_though_the_triggerer_was_lost(
    airflow_db, connected, monkeypatch, tmp_path
):
    monkeypatch.setenv("OXEN_EXAMPLES_OUTPUT", str(tmp_path))
    dag = load_dags(ROOT / "example_dags" / f"{DAG}.py")[DAG]
    register(dag)
    log = tmp_path / "triggerer.log"

    with triggerer(log):
        until(connected.streams)
        first = order(2)
        until(lambda: all(id in position() for id in first))
        assert sorted(told()) == sorted(first)
    until(lambda: not connected.streams())
    missed = order(2)
    with triggerer(log):
        until(lambda: all(id in position() for id in missed))
        # Nothing else, and nothing twice.
        assert sorted(told()) == sorted(first + missed)
        handed = run_what_is_due(dag)
        assert handed
        assert {path.stem for path in (tmp_path / "ended").iterdir()} == handed
        # What came while a run was due already, this Airflow hands to the next one.
        last = order(1)
        until(lambda: last[0] in told())
        handed |= run_what_is_due(dag)

    assert handed == set(first + missed + last)
    assert {path.stem for path in (tmp_path / "ended").iterdir()} == handed
    assert connected.key not in log.read_text()
    assert "signature=" not in log.read_text()
