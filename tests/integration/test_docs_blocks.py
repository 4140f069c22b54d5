"""The pages' other blocks of Python run, each in a Dag, against a local hub and an S3 server.

The tutorial, the recipes, README and the pages on tests, models and decorators have tests of their own.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import airflow
import pytest

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.hooks.oxen import OxenHook

from ..conftest import ROOT
from .conftest import Run, load_dags
from .s3 import CONN_ID, S3, bucket, server  # noqa: F401 - fixtures

IS_3 = airflow.__version__ >= "3"
ON_3 = pytest.mark.skipif(not IS_3, reason="Airflow 2 has no watchers of assets")

PRELUDE = """
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, task
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor

"""

BLOCKS = {
    "batches": 1,
    "events": 2,
    "hook": 1,
    "lineage": 2,
    "operators": 2,
    "paying-once": 1,
    "sensors": 3,
    "storage": 1,
}
"""How many blocks of Python each page has here; one more needs a test."""


def block(page: str, number: int = 0) -> str:
    return blocks(page)[number]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)


@pytest.fixture
def run_block(connected, run_dag, s3: S3, tmp_path) -> Callable[..., Run]:
    """Run a block in a Dag. Only bucket, connection and folders are the test's."""

    def run_block(code: str, before: str = "", after: str = "", dag: str = "") -> Run:
        code = f"{before}\n{code}\n{after}\n".replace("aws_default", CONN_ID).replace(
            "/data/", f"{tmp_path}/"
        )
        # The URI of an asset holds no connection.
        code = re.sub(r'(?<!Asset\(")s3://bucket/', f"s3://{CONN_ID}@{s3.bucket}/", code)
        inside = textwrap.indent(code, "    ")
        head = f'with DAG("block", schedule=None, start_date=datetime(2026, 1, 1){dag}):\n'
        (tmp_path / "block.py").write_text(PRELUDE + head + inside)
        return run_dag(load_dags(tmp_path / "block.py")["block"])

    return run_block


def images(s3: S3) -> list[str]:
    return sorted(key for key in s3.keys() if key.endswith(".webp"))  # noqa: SIM118 - its keys are a list


@pytest.mark.parametrize(("page", "count"), BLOCKS.items())
def test_no_block_is_left_out(page, count):
    assert len(blocks(page)) == count


def test_batch_takes_its_prompts_from_the_bucket(run_block, s3, connected):
    s3.put("prompts.csv", b"id,prompt\ncube,A red cube\nball,A red ball\n")

    assert run_block(block("batches")).state == "success"

    assert images(s3) == ["catalogue/ball.webp", "catalogue/cube.webp"]
    assert len(connected.ledger()) == 2


def test_one_image_of_another_shape(run_block, s3, connected):
    assert run_block(block("operators")).state == "success"

    [paid] = connected.ledger()
    assert paid["prompt"].startswith("A red cube on a white background, 20")
    assert len([key for key in s3.keys() if key.startswith("hero/")]) >= 2  # noqa: SIM118


def test_callback_is_told_the_facts_of_an_error(run_block):
    run = run_block(
        'ImageGenerateOperator(task_id="hero", prompt="A cube", model="z-image-trubo")',
        before=block("operators", 1),
        dag=', default_args={"on_failure_callback": lambda context: alert(context)}',
    )

    assert run.state == "failed"
    assert re.search(r"OxenModelNotFound no False 404 \S+ \w{32}", run.log)


@pytest.mark.parametrize("number", [0, 1])
def test_outlets_are_told(run_block, s3, number):
    assert run_block(block("lineage", number)).state == "success"

    [image] = images(s3)
    assert image.startswith(("banner.webp", "hero/"))


def test_hook_draws_and_keeps(run_block, connected, tmp_path):
    run = run_block(block("hook"), after="draw()")

    assert run.state == "success"
    assert run.xcom("draw")["path"] == str(tmp_path / "cube.png")
    assert len(connected.ledger()) == 1


@pytest.mark.skipif(airflow.__version__ < "3.3", reason="needs Airflow's retry policies")
def test_retry_policy_is_taken(run_block, s3, connected):
    given = 'task_id="hero", prompt="A cube", model="z-image-turbo", storage_path="s3://bucket/"'
    code = block("paying-once").replace("...", given)

    assert run_block(code).state == "success"
    assert len(connected.ledger()) == 1


def test_model_that_is_there_is_waited_for_no_longer(run_block):
    assert run_block(block("sensors").replace("my-fine-tune", "z-image-turbo")).state == "success"


def test_generation_of_another_task_is_waited_for_and_fetched(run_block, s3, connected):
    from airflow_provider_oxen.api.models import GenerateRequest

    with OxenHook().get_conn() as client:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube")
        ordered = client.send(queue.enqueue(request))[0].generation_id
    order = f'@task\ndef order():\n    return "{ordered}"\n'
    fetch = f"@task\ndef fetch(facts):\n{textwrap.indent(block('sensors', 2), '    ')}"
    waits = block("sensors", 1).replace("OxenGenerationSensor(", "waits = OxenGenerationSensor(")

    run = run_block(waits, before=order, after=f"{fetch}\norder() >> waits\nfetch(waits.output)")

    assert run.state == "success"
    assert run.xcom("image_is_there")["generation_id"] == ordered
    assert "hero.png" in s3.keys()  # noqa: SIM118
    assert len(connected.ledger()) == 1


def test_options_go_with_each_write(run_block, s3):
    options: dict[str, Any] = {}
    exec(block("storage"), options)

    given = f'prompt="A cube", model="z-image-turbo", storage_options={options["storage_options"]}'
    code = f'ImageGenerateOperator(task_id="hero", storage_path="s3://bucket/kept/", {given})'
    assert run_block(code).state == "success"

    assert len(s3.keys()) == 2


@ON_3
def test_watched_generations_schedule_a_dag(run_dag, airflow_db, tmp_path):
    (tmp_path / "watching.py").write_text("\n".join(blocks("events")))

    [dag] = load_dags(tmp_path / "watching.py").values()

    assert dag.dag_id == "look_at_what_has_ended"
    namespace: dict[str, Any] = {}
    exec("\n".join(blocks("events")), namespace)
    assert namespace["schedule"].timetable.expression == "*/15 * * * *"
    assert namespace["ended"].watchers[0].name == "oxen"
