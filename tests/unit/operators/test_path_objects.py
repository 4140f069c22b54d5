"""Paths given as objects: a ``Path``, or Airflow's ``ObjectStoragePath``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath
from airflow.serialization import serialized_objects

from airflow_provider_oxen.decorators.images import oxen_image_task
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator

from .scene import KEY, paid_once, stopped

KINDS = {"pathlib": Path, "Airflow": lambda path: ObjectStoragePath(f"file://{path}")}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@kinds
@pytest.mark.parametrize("mode", ["polled", "deferred"])
def test_image_goes_to_a_path_object(scene, kind):
    played = scene.play(storage_path=kind(f"{scene.out}/cube"))

    assert paid_once(scene, played)
    assert Path(played.image["path"]).parent == scene.out
    assert Path(played.image["path"]).stem == "cube"


@kinds
@pytest.mark.parametrize("mode", ["polled", "deferred"])
def test_batch_goes_to_a_path_object_and_comes_from_one(cast_batch, kind, tmp_path):
    (tmp_path / "prompts.txt").write_text("A red cube\nA ball\n")
    batch = cast_batch(prompts=kind(tmp_path / "prompts.txt"))
    batch.arguments["storage_path"] = kind(batch.out)

    played = batch.play()

    assert played.state == "success", played.error
    assert played.result["generated"] == 2
    assert Path(played.result["manifest"]).parent == batch.out


def test_a_path_of_another_connection_than_the_argument_is_refused_before_anything_is_sent(scene):
    path = ObjectStoragePath("file:///data/cube", conn_id="mine")

    message = stopped(scene, scene.play(storage_path=path, storage_conn_id="theirs"), sent=0)

    assert "storage_path names the Airflow connection 'mine'" in message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"storage_path": "s3://mine@bucket/x", "storage_conn_id": "theirs"}, "storage_path names"),
        ({"prompts": "s3://mine@bucket/x.txt", "prompts_conn_id": "theirs"}, "prompts names"),
        ({"storage_path": Path("/data/{{ ds }}")}, "has not rendered the template"),
    ],
)
def test_batch_whose_paths_make_no_sense_is_refused_before_anything_is_sent(cast_batch, arguments, told):
    batch = cast_batch()
    batch.retries = batch.max_tries = 0

    assert told in batch.play(**arguments).error
    assert batch.posts() == 0


@kinds
def test_template_in_a_path_object_is_rendered(kind):
    one = ImageGenerateOperator(task_id="a", prompt="x", model="z", storage_path=kind("/data/{{ ds }}/cube"))
    many = ImageBatchGenerateOperator(
        task_id="b", prompts=kind("/data/{{ ds }}.txt"), storage_path=kind("/data/{{ ds }}"), model="z"
    )
    given = one.storage_path

    for operator in (one, many):
        operator.render_template_fields({"ds": "2026-01-01"})

    assert str(given).endswith("/data/{{ ds }}/cube")
    assert str(one.storage_path).endswith("/data/2026-01-01/cube")
    assert str(many.storage_path).endswith("/data/2026-01-01")
    assert str(many.prompts).endswith("/data/2026-01-01.txt")


def test_path_among_the_arguments_of_a_function_stays_a_path():
    @oxen_image_task(model="z", storage_path=Path("/data/{{ ds }}"))
    def draw(path: Path) -> str:
        return str(path)

    with DAG("drawing", schedule=None, start_date=datetime(2026, 1, 1)):
        drawn: Any = draw(Path("/data/{{ ds }}"))
    operator = drawn.operator
    operator.render_template_fields({"ds": "2026-01-01"})

    assert operator.storage_path == "/data/2026-01-01"
    assert operator.op_args == (Path("/data/{{ ds }}"),)


@pytest.mark.parametrize(
    "path",
    [Path("/data/x"), ObjectStoragePath("/data/x"), ObjectStoragePath("file:///data/x", conn_id="disk")],
    ids=["pathlib", "Airflow", "with a connection"],
)
def test_dag_with_path_objects_is_serialised(path):
    with DAG("paths", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        ImageGenerateOperator(task_id="one", prompt="x", model="z", storage_path=path)
        ImageBatchGenerateOperator(task_id="many", prompts=path, model="z", storage_path=path)
        ImageGenerateOperator.partial(task_id="partial", model="z", storage_path=path).expand(prompt=["x"])
        ImageGenerateOperator.partial(task_id="mapped", model="z", prompt="x").expand(storage_path=[path])

        @oxen_image_task(model="z", storage_path=path)
        def draw(number: int) -> str:
            return str(number)

        draw.expand(number=[1])
    serialise, restore = serialisation()

    found = json.loads(json.dumps(serialise(dag)))

    assert json.dumps(found) == json.dumps(serialise(dag))
    assert "object at 0x" not in json.dumps(found)
    assert len(restore(found).task_dict) == 5


def serialisation() -> Any:
    found = vars(serialized_objects)
    kind = found.get("DagSerialization") or found["SerializedDAG"]
    return kind.to_dict, kind.from_dict


@kinds
def test_path_object_that_holds_the_key_is_found(connect, kind):
    connect("https://hub.example")
    operator = ImageBatchGenerateOperator(
        task_id="a", prompts=kind(f"/data/{KEY}.txt"), model="z", storage_path=kind(f"/data/{KEY}")
    )

    assert sorted(operator.arguments_with_key()) == ["prompts", "storage_path"]
