"""The decorator as a Dag's author meets it: arguments, templates, mapping, and what Airflow stores of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, XComArg, task
from airflow.serialization import serialized_objects

from airflow_provider_oxen.decorators.images import _OxenImageDecoratedOperator, oxen_image_task
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator

DagSerialization: Any = (
    vars(serialized_objects).get("DagSerialization") or vars(serialized_objects)["SerializedDAG"]
)

START = datetime(2026, 1, 1)


def draw(topic: str = "A cube", place: str = "at home", ds: Any = None) -> str:
    return f"{topic} {place}, {ds}"


def operator(**arguments: Any) -> Any:
    return operator_of(draw, **arguments)


def operator_of(function: Callable[..., Any], **arguments: Any) -> Any:
    made: Any = oxen_image_task(**arguments)(function)()
    return made.operator


def test_airflow_finds_it_under_its_name():
    made: Any = task.oxen_image(model="z-image-turbo")(draw)()

    assert issubclass(type(made), XComArg)
    assert isinstance(made.operator, _OxenImageDecoratedOperator)
    assert made.operator.task_id == "draw"
    assert made.operator.operator_name == "@task.oxen_image"


def test_a_fresh_airflow_finds_it_where_dags_import_task_from():
    home = "airflow.decorators" if airflow.__version__.startswith("2.") else "airflow.sdk"
    code = f"from {home} import task; print(task.oxen_image.__module__)"

    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )

    assert shown.stdout.splitlines()[-1] == "airflow_provider_oxen.decorators.images"


def test_it_needs_no_arguments():
    made: Any = task.oxen_image(draw)()

    assert made.operator.model is None


def test_every_templated_argument_of_both_operators_is_templated_and_no_prompt():
    both = {*ImageGenerateOperator.template_fields, *ImageBatchGenerateOperator.template_fields}
    fields = _OxenImageDecoratedOperator.template_fields

    assert set(fields) == both - {"prompt", "prompts", "prompts_conn_id"} | {"op_args", "op_kwargs"}
    assert len(fields) == len(set(fields))


def test_every_argument_is_kept_as_it_was_given():
    for names in (ImageGenerateOperator.template_fields, ImageBatchGenerateOperator.template_fields):
        given = {name: f"{{{{ {name} }}}}" for name in names if not name.startswith("prompt")}
        made = operator(deferrable=True, **given)

        assert {name: getattr(made, name) for name in given} == given
        assert made.deferrable is True


def test_what_was_not_given_is_the_default_of_whichever_operator_it_becomes():
    made, single = operator(), ImageGenerateOperator(task_id="hero", prompt="A cube", model="x")

    names = [name for name in ImageGenerateOperator.template_fields if name not in ("prompt", "model")]
    assert {name: getattr(made, name) for name in names} == {name: getattr(single, name) for name in names}
    assert made.use_queue is made.max_in_flight is made.on_error is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "A cube"},
        {"prompts": ["A cube"]},
        {"prompts_conn_id": "aws_default"},
        {"multiple_outputs": True},
        {"cancel_on_kill": True, "max_in_flight": 4},
    ],
    ids=str,
)
def test_what_can_never_be_right_is_refused_when_the_dag_is_read(arguments):
    with pytest.raises(TypeError, match=r"@task\.oxen_image takes|leave multiple_outputs out"):
        oxen_image_task(**arguments)


def test_what_is_overridden_is_looked_at_again():
    with pytest.raises(TypeError, match="for one image, and max_in_flight"):
        oxen_image_task(max_in_flight=4)(draw).override(target_repo="me/pictures")()


@pytest.mark.parametrize("decorate", [oxen_image_task, oxen_image_task(model="z-image-turbo")])
def test_functions_that_do_not_return_are_refused_when_the_dag_is_read(decorate):
    async def later() -> str:
        return "A cube"

    with pytest.raises(TypeError, match="not an async one"):
        decorate(later)


def test_a_function_that_returns_a_mapping_still_has_one_output():
    def facts() -> dict[str, Any]:
        return {"prompt": "A cube"}

    assert operator_of(facts).multiple_outputs is False


def test_default_arguments_of_the_dag_reach_it_and_those_of_the_other_kind_do_no_harm():
    both = {"model": "z-image-turbo", "oxen_conn_id": "other", "max_in_flight": 4, "cancel_on_kill": True}
    with DAG("pictures", schedule=None, start_date=START, default_args=both):
        made = operator(seed=7)

    assert {name: getattr(made, name) for name in both} == both
    assert made.seed == 7
    assert made._given == []


def test_default_arguments_of_dag_and_group_do_no_harm_to_a_mapped_task():
    of_dag: dict[str, Any] = {"model": "z-image-turbo", "prompt": "x", "max_in_flight": 4}
    of_group: Any = {"cancel_on_kill": True, "retries": 4}
    both = of_dag | of_group
    with (
        DAG("pictures", schedule=None, start_date=START, default_args=of_dag) as dag,
        TaskGroup("group", default_args=of_group),
    ):
        oxen_image_task(draw).expand_kwargs([{"topic": "A fox"}])

    made: Any = dag.get_task("group.draw").unmap({"op_kwargs": {"topic": "A fox"}})

    assert {name: getattr(made, name) for name in both} == {**both, "prompt": None}
    assert made._given == []


def test_an_upstream_task_may_give_an_argument_of_the_function_and_of_the_operator():
    with DAG("pictures", schedule=None, start_date=START) as dag:

        @task
        def upstream() -> str:
            return "/tmp"

        topic, place, limit = (upstream.override(task_id=name)() for name in ("topic", "place", "limit"))
        drawing: Any = oxen_image_task(storage_path=place, max_failures=limit)(draw)
        drawing(topic)

    assert dag.get_task("draw").upstream_task_ids == {"topic", "place", "limit"}


def test_it_can_be_mapped_and_overridden():
    with DAG("pictures", schedule=None, start_date=START) as dag:
        decorated = oxen_image_task(model="z-image-turbo", seed=1)(draw)
        decorated.partial(topic="A fox").expand(place=["at home"])
        decorated.override(task_id="other", seed=2)()

    assert type(dag.get_task("draw")).__name__ == "DecoratedMappedOperator"
    drawn: Any = dag.get_task("draw")
    other: Any = dag.get_task("other")
    assert drawn.partial_kwargs["seed"] == 1
    assert other.seed == 2


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
def test_it_is_stored_with_the_dag_and_alike_each_time(mapped):
    def stored() -> dict[str, Any]:
        with DAG("pictures", schedule=None, start_date=START) as dag:
            decorated = oxen_image_task(model="z-image-turbo", max_in_flight="{{ 3 }}")(draw)
            decorated.expand(topic=["A fox", "A whale"]) if mapped else decorated("A fox")
        return dict(DagSerialization.to_dict(dag))

    first = stored()
    again = DagSerialization.from_dict(json.loads(json.dumps(first))).get_task("draw")

    assert json.dumps(first, sort_keys=True) == json.dumps(stored(), sort_keys=True)
    assert (again.task_type, again.operator_name) == ("_OxenImageDecoratedOperator", "@task.oxen_image")
    assert set(again.template_fields) == set(_OxenImageDecoratedOperator.template_fields)


def test_importing_it_loads_nothing_that_airflow_has_not():
    code = (
        "import sys, airflow_provider_oxen;"
        "from airflow.providers.common.compat.sdk import DecoratedOperator, task_decorator_factory;"
        "before = set(sys.modules);"
        "import airflow_provider_oxen.decorators.images;"
        "print(*set(sys.modules) - before)"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )

    assert {name for name in shown.stdout.splitlines()[-1].split() if not name.startswith("airflow.")} == {
        "airflow_provider_oxen.configuration",
        "airflow_provider_oxen.decorators",
        "airflow_provider_oxen.decorators.images",
        "airflow_provider_oxen.links",
        "airflow_provider_oxen.operators",
        "airflow_provider_oxen.operators.base",
        "airflow_provider_oxen.operators.batch",
        "airflow_provider_oxen.operators.images",
    }
