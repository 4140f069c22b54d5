"""Links of real tasks: of one that is deferred, of each of a mapped one, and of one that fails."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_oxen.images.storage import ObjectFolder, open_folder
from airflow_provider_oxen.images.stores import GCS, is_public
from airflow_provider_oxen.links import OxenGenerationLink, OxenImageLink, OxenModelLink, images_page
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.plugins.rows import Row
from airflow_provider_oxen.plugins.tiles import tiles_of
from airflow_provider_oxen.tasks.facts import FACTS

from .s3 import bucket, server  # noqa: F401 - fixtures

BY_QUEUE = {"model": "z-image-turbo", "use_queue": True, "poll_interval": 0.1, "validate": "off"}


@pytest.fixture
def run(run_dag: Any, connected: Any) -> Any:
    def run(dag_id: str, *, prompts: Any = None, **arguments: Any) -> Any:
        with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            if prompts:
                ImageGenerateOperator.partial(task_id="hero", **BY_QUEUE, **arguments).expand(prompt=prompts)
            else:
                ImageGenerateOperator(task_id="hero", prompt="A red cube", **{**BY_QUEUE, **arguments})
        return run_dag(dag)

    return run


def page(ti: Any) -> str | None:
    """Return where the Images view has a task; None before Airflow 3.1, which has no such view."""
    return images_page(ti.dag_id, ti.run_id, ti.task_id, ti.map_index) if AIRFLOW_V_3_1_PLUS else None


@pytest.mark.parametrize("deferrable", [False, True], ids=["polled", "deferred"])
def test_a_task_links_to_its_images_and_its_model(run, connected, deferrable):
    ended = run(f"links_deferred_{deferrable}", deferrable=deferrable)
    told = {
        kind: ended.ti("hero").xcom_pull(task_ids="hero", key=kind.key)
        for kind in (OxenGenerationLink, OxenModelLink)
    }

    assert told[OxenGenerationLink] == page(ended.ti("hero"))
    assert told[OxenModelLink] == f"{connected.url}/ai/models/z-image-turbo"
    assert httpx.get(told[OxenModelLink]).status_code == 200


def test_no_link_of_a_task_asks_a_person_for_the_key(run, connected):
    ended = run("links_readable")
    links = [
        ended.ti("hero").xcom_pull(task_ids="hero", key=kind.key)
        for kind in ImageGenerateOperator.operator_extra_links
    ]

    for link in filter(None, links):
        assert "/api/" not in link
        if link.startswith("http"):
            answer = httpx.get(link)
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
                200,
                "text/html",
            )


def test_each_task_of_a_mapped_one_links_to_its_own_images(run, connected):
    ended = run("links_mapped", prompts=["One red cube", "Two red cubes"])
    links = [
        ti.xcom_pull(task_ids="hero", map_indexes=ti.map_index, key=OxenGenerationLink.key)
        for ti in ended.tis("hero")
    ]

    assert links == [page(ti) for ti in ended.tis("hero")]
    assert len(set(links)) == (2 if AIRFLOW_V_3_1_PLUS else 1)


def test_a_task_that_fails_links_to_what_it_was_at(run, connected):
    connected.settings.credits = 0.0
    ended = run("links_failed")

    assert ended.state == "failed"
    told = ended.ti("hero").xcom_pull(task_ids="hero", key=OxenModelLink.key)
    assert told == f"{connected.url}/ai/models/z-image-turbo"


@pytest.mark.parametrize("way", [{"use_queue": False}, {"deferrable": True}], ids=["synchronous", "deferred"])
def test_a_link_that_there_is_not_is_no_error_in_the_log(run, way):
    ended = run(f"links_{next(iter(way))}", **way)

    assert ended.state == "success"
    assert "XCom not found" not in ended.log


def test_no_link_to_amazons_console_where_the_store_is_another(run, s3):
    """A server of one's own, such as MinIO, by the endpoint of the Airflow connection."""
    ended = run("links_store", storage_path=f"{s3.url}/links/")

    assert ended.state == "success"
    ti = ended.ti("hero")
    assert not ti.xcom_pull(task_ids="hero", key=OxenImageLink.key)
    if AIRFLOW_V_3_1_PLUS:
        assert ti.xcom_pull(task_ids="hero", key="oxen_images")["console"] is False


def test_a_batch_without_previews_has_no_link_to_amazons_console_either(run_dag, connected, s3):
    with DAG("links_batch", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        ImageBatchGenerateOperator(
            task_id="hero",
            prompts=["A red cube"],
            model="z-image-turbo",
            storage_path=f"{s3.url}/batch/",
            previews=False,
        )
    ended = run_dag(dag)

    assert ended.state == "success"
    ti = ended.ti("hero")
    assert not ti.xcom_pull(task_ids="hero", key=OxenImageLink.key)
    if AIRFLOW_V_3_1_PLUS:
        facts = ti.xcom_pull(task_ids="hero", key=FACTS)
        assert facts["index"].endswith("/batch/index.html")
        (tile,) = tiles_of(Row(ti.run_id, "hero", -1, "success", value=facts))
        assert (tile.path, tile.link) == (facts["index"], None)


@pytest.mark.parametrize(
    ("environment", "extra", "known"),
    [
        ({}, {}, True),
        ({}, {"region_name": "eu-west-1"}, True),
        ({}, {"endpoint_url": "http://minio:9000"}, False),
        ({}, {"service_config": {"s3": {"endpoint_url": "https://s3.example.com"}}}, False),
        ({}, {"endpoint_url": "https://storage.googleapis.com"}, False),
        ({"AWS_ENDPOINT_URL_S3": "https://minio.example"}, {}, False),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, {}, False),
    ],
)
def test_driver_of_s3_tells_whose_store_it_is(monkeypatch, environment, extra, known):
    fields = {"conn_type": "aws", "login": "id", "password": "secret", "extra": extra}
    # Airflow keeps one driver for each connection.
    conn_id = f"s3_{abs(hash(str((environment, extra))))}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = open_folder("s3://bucket/a/", conn_id)
    assert isinstance(folder, ObjectFolder)
    # As reading and writing do.
    folder.fs.connect()

    assert folder.is_public is known


@pytest.mark.parametrize(
    ("emulator", "arguments", "known"),
    [
        ("", {}, True),
        ("http://127.0.0.1:4443", {}, False),
        ("", {"endpoint_url": "http://127.0.0.1:4443"}, False),
    ],
)
def test_driver_of_gcs_tells_whose_store_it_is(monkeypatch, emulator, arguments, known):
    gcsfs = pytest.importorskip("gcsfs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    fs = gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True, **arguments)

    assert is_public(GCS, fs) is known
