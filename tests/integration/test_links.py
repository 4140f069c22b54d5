"""Links of real tasks: of one that is deferred, of each of a mapped one, and of one that fails."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.links import OxenGenerationLink, OxenModelLink
from airflow_provider_oxen.operators.images import ImageGenerateOperator

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


@pytest.mark.parametrize("deferrable", [False, True], ids=["polled", "deferred"])
def test_a_task_links_to_its_generation_and_its_model(run, connected, deferrable):
    ended = run(f"links_deferred_{deferrable}", deferrable=deferrable)
    generation_id = ended.xcom("hero")["generation_id"]
    told = {
        kind: ended.ti("hero").xcom_pull(task_ids="hero", key=kind.key)
        for kind in (OxenGenerationLink, OxenModelLink)
    }

    assert told[OxenGenerationLink] == f"{connected.url}/api/ai/queue/{generation_id}"
    key = {"Authorization": f"Bearer {connected.key}"}
    assert httpx.get(told[OxenGenerationLink], headers=key).json()["generation_id"] == generation_id
    assert told[OxenModelLink] == f"{connected.url}/ai/models/z-image-turbo"
    assert httpx.get(told[OxenModelLink]).status_code == 200


def test_each_task_of_a_mapped_one_links_to_its_own_generation(run, connected):
    ended = run("links_mapped", prompts=["One red cube", "Two red cubes"])
    links = [
        ti.xcom_pull(task_ids="hero", map_indexes=ti.map_index, key=OxenGenerationLink.key)
        for ti in ended.tis("hero")
    ]

    made = [ended.xcom("hero", ti.map_index)["generation_id"] for ti in ended.tis("hero")]
    assert links == [f"{connected.url}/api/ai/queue/{generation_id}" for generation_id in made]
    assert len(set(links)) == 2


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
