"""Every example is loaded as Airflow loads it, and run."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import airflow
import pytest
from PIL import Image

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.localhub import Fault

from ..conftest import ROOT
from .conftest import asset_table, load_dags, register

MAY = datetime(2026, 5, 9, tzinfo=UTC)
LOGICAL_DATE: dict[str, Any] = {
    "execution_date" if airflow.__version__.startswith("2.") else "logical_date": MAY
}
EXAMPLES = sorted((ROOT / "example_dags").glob("*.py"))


@pytest.fixture
def examples(connected, monkeypatch, tmp_path):
    """All example Dags by id, writing below ``tmp_path``."""
    monkeypatch.setenv("OXEN_EXAMPLES_OUTPUT", str(tmp_path))
    monkeypatch.setenv("OXEN_EXAMPLES_DATABASE", str(tmp_path / "pictures.db"))
    dags: dict[str, Any] = {}
    for path in EXAMPLES:
        dags |= load_dags(path)
    return dags


def test_scheduled(examples, run_dag, connected, tmp_path):
    run = run_dag(examples["example_oxen_scheduled"])

    assert run.state == "success"
    [image] = run.xcom("hero")["images"]
    assert run.xcom("look") == image["path"]
    with Image.open(image["path"]) as opened:
        assert opened.size == (image["width"], image["height"])
    assert Path(image["path"]).is_relative_to(tmp_path)
    assert len(connected.ledger()) == 1


def test_xcom_only(examples, run_dag, connected):
    run = run_dag(examples["example_oxen_xcom"])

    assert run.state == "success"
    assert run.xcom("fetch")["bytes"] > 0
    assert run.xcom("decode") == run.xcom("text")["images"][0]["bytes"]
    assert len(connected.ledger()) == 2


def test_mapped(examples, run_dag, connected, tmp_path):
    run = run_dag(examples["example_oxen_mapped"])

    assert run.state == "success"
    assert run.xcom("count") == 3
    assert len(list(tmp_path.rglob("*.webp"))) == 3
    assert {entry["request"]["num_inference_steps"] for entry in connected.ledger()} == {8}


def test_taskflow(examples, run_dag, connected, tmp_path):
    run = run_dag(examples["example_oxen_taskflow"], **LOGICAL_DATE)

    assert run.state == "success"
    asked = {entry["request"]["prompt"]: entry["request"].get("seed") for entry in connected.ledger()}
    assert "A small town with a harbour and a lighthouse and a market in May, watercolour" in asked
    assert asked["A postcard of a market, flat colours"] == 2
    assert len(asked) == 4
    names = {path.name for path in (tmp_path / "places").iterdir()}
    assert {"harbour.json", "lighthouse.json", "market.json", "manifest.jsonl", "index.html"} <= names
    assert run.xcom("publish") == f"{tmp_path}/places/index.html"


def test_batch_of_a_file_becomes_a_table_and_a_second_run_pays_nothing(
    examples, run_dag, connected, tmp_path
):
    first = run_dag(examples["example_oxen_batch"])

    assert first.state == "success"
    assert first.xcom("load") == len(connected.ledger()) == 4
    assert table(tmp_path) == {name: "generated" for name in ("teapot", "kettle", "cup", "tray")}

    again = run_dag(examples["example_oxen_batch"])

    assert again.state == "success"
    assert len(connected.ledger()) == 4
    assert table(tmp_path) == {name: "reused" for name in ("teapot", "kettle", "cup", "tray")}


def test_a_prompt_that_fails_is_in_the_table_too(examples, run_dag, connected, tmp_path):
    connected.fail(Fault("fails", on="enqueue", message="upstream 500"))

    run = run_dag(examples["example_oxen_batch"])

    assert run.state == "success"
    assert sorted(table(tmp_path).values()) == ["failed", "generated", "generated", "generated"]


def table(folder: Path) -> dict[str, str]:
    """Return the statuses by id, of images whose files are there."""
    with closing(sqlite3.connect(folder / "pictures.db")) as database:
        rows = database.execute("SELECT id, status, path, sha256, cost, error FROM pictures").fetchall()
    for _, status, path, sha256, cost, error in rows:
        if status == "failed":
            assert error
            continue
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
        assert cost > 0
    return {row[0]: row[1] for row in rows}


def test_asset_wakes_the_dag_that_waits_for_it(examples, run_dag, connected, tmp_path):
    register(examples["example_oxen_asset_consumer"])

    run = run_dag(examples["example_oxen_asset"])

    assert run.state == "success"
    # Other tests' Dags may wait for assets, too.
    assert "example_oxen_asset_consumer" in waiting_for_asset()
    assert run_dag(examples["example_oxen_asset_consumer"]).xcom("publish") == f"{tmp_path}/banner.webp"


def test_generation_that_was_asked_for_elsewhere(examples, run_dag, connected, tmp_path):
    body = {"model": "z-image-turbo", "prompt": "A red cube"}
    with OxenHook().get_conn() as client:
        [asked] = client.send(queue.enqueue(GenerateRequest.model_validate(body)))

    run = run_dag(examples["example_oxen_generation"], run_conf={"generation_id": asked.generation_id})

    assert run.state == "success"
    [paid] = connected.ledger()
    assert run.xcom("fetch")["sha256"] == paid["sha256"]
    assert Path(run.xcom("fetch")["path"]).is_relative_to(tmp_path)


def test_what_needs_airflow_3_is_no_dag_before(examples):
    # It is run in test_event_watcher.py.
    assert ("example_oxen_events" in examples) == (not airflow.__version__.startswith("2."))


def waiting_for_asset() -> list[str]:
    """Return the Dags that an asset event has put in line for a run."""
    from airflow.utils.session import create_session

    Queue = asset_table("DagRunQueue")
    with create_session() as session:
        return [row.target_dag_id for row in session.query(Queue)]
