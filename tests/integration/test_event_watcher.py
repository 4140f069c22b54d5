"""Dags that run when a generation ends: Airflow's real triggerer, its process and its database."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.triggers.shared_stream", reason="Airflow shares streams from 3.3 on")

from airflow.jobs.job import Job
from airflow.jobs.triggerer_job_runner import TriggererJobRunner, TriggerRunnerSupervisor
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook

from ..conftest import ROOT
from .conftest import load_dags, register

DAG = "example_oxen_events"


@pytest.fixture
def watched(airflow_db, connected) -> Iterator[None]:
    """The example that watches, stored as Airflow's Dag processor does."""
    dags = load_dags(ROOT / "example_dags" / "example_oxen_events.py")
    register(dags[DAG])
    yield
    with create_session() as session:
        for table in (AssetEvent, AssetStateStoreModel):
            session.execute(delete(table))


@contextlib.contextmanager
def triggerer() -> Iterator[TriggerRunnerSupervisor]:
    """Airflow's triggerer: its supervisor in this process, the triggers in one of their own."""
    with create_session() as session:
        job = Job()
        runner = TriggererJobRunner(job, capacity=10)
        job.state = "running"
        session.add(job)
        session.commit()
        session.refresh(job)
        session.expunge(job)
    supervisor = TriggerRunnerSupervisor.start(job=job, capacity=runner.capacity)
    try:
        yield supervisor
    finally:
        supervisor.kill(signal.SIGKILL)


def payloads() -> list[dict[str, Any]]:
    with create_session() as session:
        rows = session.scalars(select(AssetEvent).order_by(AssetEvent.id))
        return [row.extra["payload"] for row in rows]


def ids() -> list[str]:
    return [payload["generation_id"] for payload in payloads()]


def position() -> str:
    with create_session() as session:
        return "".join(row.value for row in session.scalars(select(AssetStateStoreModel)))


def turn(supervisor: Any, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        supervisor.run_once()


def order() -> str:
    with OxenHook().get_conn() as client:
        body = {"model": "z-image-turbo", "prompt": "A red cube"}
        [asked] = client.send(queue.enqueue(GenerateRequest.model_validate(body)))
    return asked.generation_id


def test_x(watched, connected):
    t = time.time()

    def show(w):
        print(w, round(time.time() - t, 1))

    with triggerer() as supervisor:
        turn(supervisor, lambda: connected.streams())
        show("stream")
        first = order()
        turn(supervisor, lambda: ids() == [first])
        show("event")
        turn(supervisor, lambda: first in position())
        show("position")
    print(payloads(), position())
