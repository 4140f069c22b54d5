"""What real runs tell others: asset events, OpenLineage, metrics, and the log."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from tests.conftest import ROOT
from tests.integration.conftest import asset_table, register

from .s3 import CONN_ID, bucket, server  # noqa: F401 - fixtures

START = datetime(2026, 1, 1)

SINGLE: dict[str, Any] = {"model": "z-image-turbo", "use_queue": True, "poll_interval": 0.1}

SCRIPT = """
import sys
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow.utils.db import initdb
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from tests.integration.conftest import register

initdb()
try:
    # As Airflow 3's task runner begins; dag.test() leaves it out, and Airflow 2 does it by itself.
    from airflow.sdk._shared.observability.metrics import stats
    from airflow.sdk.observability.metrics import stats_utils

    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
except ImportError:
    pass
out = sys.argv[1]
with DAG("telling", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    common = {"model": "z-image-turbo", "use_queue": True, "poll_interval": 0.1}
    single = ImageGenerateOperator(task_id="hero", prompt="x" * 5000, storage_path=f"{out}/a.webp", **common)
    batch = ImageBatchGenerateOperator(
        task_id="cards", prompts=["a", "b", "c"], storage_path=f"{out}/cards/", **common
    )
    single >> batch
register(dag)
print("ended:", dag.test().state)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run a Dag in a process of its own: OpenLineage writes to a file, metrics go to a socket."""
    from airflow_provider_oxen.localhub import HubSettings, LocalHub

    place = tmp_path_factory.mktemp("telling")
    (place / "home" / "dags").mkdir(parents=True)
    events, script = place / "events.jsonl", place / "telling.py"
    script.write_text(SCRIPT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd, LocalHub(HubSettings()) as hub:
        statsd.bind(("127.0.0.1", 0))
        statsd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        transport = {"type": "file", "log_file_path": str(events), "append": True}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(place)],
            env={
                **clean,
                "PYTHONPATH": str(ROOT),
                "AIRFLOW_HOME": str(place / "home"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(place / "home" / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(statsd.getsockname()[1]),
                "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
                "AIRFLOW_CONN_OXEN_DEFAULT": json.dumps(
                    {"conn_type": "oxen", "host": hub.url, "password": hub.key}
                ),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        statsd.setblocking(False)
        metrics = []
        while True:
            try:
                metrics.append(statsd.recv(65536).decode())
            except BlockingIOError:
                break
        log = ran.stdout + ran.stderr
        facts: dict[str, Any] = {"log": log, "key": hub.key, "url": hub.url, "place": place}
    assert "ended: success" in ran.stdout, facts["log"][-4000:]
    lines = events.read_text().splitlines() if events.exists() else []
    return {**facts, "metrics": metrics, "events": [json.loads(line) for line in lines]}


def completed(told: dict[str, Any], task_id: str) -> dict[str, Any]:
    (event,) = (
        event
        for event in told["events"]
        if event["eventType"] == "COMPLETE" and event["job"]["name"] == f"telling.{task_id}"
    )
    return event


def counted(told: dict[str, Any], name: str) -> list[float]:
    """Return what came in of a metric, without tags."""
    found = (line.partition("|")[0].partition(":") for line in told["metrics"])
    return [float(value) for metric, _, value in found if metric == f"airflow.{name}"]


def test_openlineage_is_told_of_model_and_file(told):
    event = completed(told, "hero")
    path = told["place"] / "a.webp"

    (model,) = event["inputs"]
    assert (model["namespace"], model["name"]) == (told["url"].replace("http", "oxen"), "z-image-turbo")
    (file,) = event["outputs"]
    assert (file["namespace"], file["name"]) == ("file", str(path))
    assert file["outputFacets"]["outputStatistics"]["size"] == path.stat().st_size
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file["facets"]["version"]["datasetVersion"] == f"sha256:{digest}"


def test_openlineage_is_told_of_a_batchs_manifest(told):
    (file,) = completed(told, "cards")["outputs"]

    assert file["name"] == str(told["place"] / "cards" / "manifest.jsonl")
    assert file["outputFacets"]["outputStatistics"]["fileCount"] == 3


def test_metrics_tell_of_images_costs_and_times(told):
    assert counted(told, "oxen.images.generated") == [1, 3]
    assert counted(told, "oxen.cost.microdollars") == [10_000, 30_000]
    assert counted(told, "oxen.jobs.waiting")[-1] == 0
    for name in ("oxen.images.latency", "oxen.batches.duration"):
        (took,) = counted(told, name)
        assert took > 0


def test_neither_log_nor_lineage_nor_metrics_tell_a_secret_or_a_whole_prompt(told):
    everything = told["log"] + json.dumps(told["events"]) + "".join(told["metrics"])

    assert told["key"] not in everything
    assert not re.search(r"[?&]signature=(?!\*\*\*)", everything)
    # Airflow's own rendered fields aside, which OpenLineage's Airflow facet quotes.
    assert "x" * 1000 not in told["log"]


def test_the_log_tells_once_when_asked_and_once_when_kept(told):
    hero = [line for line in told["log"].splitlines() if "ImageGenerateOperator" in line]

    assert len([line for line in hero if "for an image of" in line]) == 1
    assert len([line for line in hero if "Kept /" in line]) == 1


@pytest.fixture
def alias_events(run_dag: Any, connected: Any, tmp_path: Any) -> Any:
    """Run a Dag of one task with outlets; return the events by the asset's URI."""

    def alias_events(kind: Any, *outlets: Any, **arguments: Any) -> dict[str, Any]:
        with DAG(f"assets_{tmp_path.name}", schedule=None, start_date=START) as dag:
            kind(
                task_id="hero", storage_path=f"{tmp_path}/out/", outlets=list(outlets), **SINGLE, **arguments
            )
        ended = run_dag(dag)
        assert ended.state == "success"
        return ended

    return alias_events


def events_of(run_id: str) -> dict[str, Any]:
    """Return the extras of a run's asset events, by the assets' URIs."""
    from airflow.utils.session import create_session

    AssetEvent, AssetModel = asset_table("Event"), asset_table("Model")
    column = AssetEvent.asset_id if hasattr(AssetEvent, "asset_id") else AssetEvent.dataset_id
    with create_session() as session:
        rows = session.query(AssetModel.uri, AssetEvent.extra).filter(
            column == AssetModel.id, AssetEvent.source_run_id == run_id
        )
        # Airflow 2.11 takes a text only.
        return {
            uri: {name: json.loads(told) if isinstance(told, str) else told for name, told in extra.items()}
            for uri, extra in rows
        }


@pytest.mark.parametrize("deferrable", [False, True], ids=["polled", "deferred"])
def test_an_alias_gets_an_event_for_the_image(alias_events, deferrable):
    ended = alias_events(
        ImageGenerateOperator, AssetAlias("pictures"), prompt="A red cube", deferrable=deferrable
    )
    (image,) = ended.xcom("hero")["images"]

    facts = events_of(ended.dag_run.run_id)[f"file://{image['path']}"]["oxen"]
    assert facts["sha256"] == image["sha256"]
    assert facts["model"] == "z-image-turbo"
    assert facts["reused"] is False
    assert "A red cube" not in json.dumps(facts)


def test_an_asset_gets_the_facts(alias_events, tmp_path):
    ended = alias_events(ImageGenerateOperator, Asset(f"file://{tmp_path}/banner"), prompt="A red cube")

    facts = events_of(ended.dag_run.run_id)[f"file://{tmp_path}/banner"]["oxen"]
    assert facts["width"] == 1024


def test_an_alias_gets_an_event_for_a_batchs_manifest(alias_events, tmp_path):
    ended = alias_events(ImageBatchGenerateOperator, AssetAlias("cards"), prompts=["a", "b"])

    facts = events_of(ended.dag_run.run_id)[f"file://{tmp_path}/out/manifest.jsonl"]["oxen"]
    assert (facts["generated"], facts["failed"]) == (2, 0)


@pytest.mark.parametrize("kind", [ImageGenerateOperator, ImageBatchGenerateOperator])
def test_a_path_that_airflows_server_refuses_as_it_is_fails_nothing(run_dag, connected, s3, kind):
    asked = {"prompt": "A red cube"} if kind is ImageGenerateOperator else {"prompts": ["a"]}
    with DAG(f"spelled_{kind.__name__}", schedule=None, start_date=START) as dag:
        where = f"s3://{CONN_ID}@{s3.bucket}/画像/ds=1 {kind.__name__}/"
        kind(task_id="hero", storage_path=where, outlets=[AssetAlias("spelled")], **SINGLE, **asked)
    ended = run_dag(dag)

    assert ended.state == "success"
    (uri,) = events_of(ended.dag_run.run_id)
    assert uri.startswith(f"s3://{s3.bucket}/%E7%94%BB%E5%83%8F/ds=1 {kind.__name__}/")


def test_the_event_is_that_of_the_asset_which_others_wait_for(run_dag, connected, tmp_path):
    from airflow.utils.session import create_session

    uri = f"file://{tmp_path}/ds=1/cube"
    named: dict[str, Any] = {"name": f"cube of {tmp_path}"} if hasattr(Asset, "ref") else {}
    with DAG(
        f"waits_{tmp_path.name}", schedule=[Asset(uri=f"{uri}.webp", **named)], start_date=START
    ) as waits:
        pass
    register(waits)
    with DAG(f"makes_{tmp_path.name}", schedule=None, start_date=START) as dag:
        ImageGenerateOperator(
            task_id="hero",
            prompt="A red cube",
            storage_path=f"{tmp_path}/ds=1/cube",
            model_params={"output_format": "webp"},
            outlets=[AssetAlias("cubes")],
            **SINGLE,
        )
    ended = run_dag(dag)

    assert ended.state == "success"
    assert list(events_of(ended.dag_run.run_id)) == [f"{uri}.webp"]
    AssetDagRunQueue = asset_table("DagRunQueue")
    with create_session() as session:
        queued = session.query(AssetDagRunQueue.target_dag_id).all()
    assert (waits.dag_id,) in queued
