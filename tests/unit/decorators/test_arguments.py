"""Which of two operators an argument belongs to, and what is refused whatever the function returns."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.decorators.images import oxen_image_task
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator


def own(operator: type) -> set[str]:
    return set(inspect.signature(operator.__init__).parameters) - {"self", "kwargs"}  # type: ignore[misc]


def defaults(operator: type) -> dict[str, Any]:
    return {name: asked.default for name, asked in inspect.signature(operator).parameters.items()}


ONE, MANY = own(ImageGenerateOperator), own(ImageBatchGenerateOperator)


def test_the_page_says_which_operator_an_argument_is_for():
    page = " ".join((Path(__file__).parents[3] / "docs/decorators.md").read_text().split())
    one, many = re.findall(r"- (`cancel_on_timeout`.*?) are for one image; (.*?) are for a list\.", page)[0]

    assert {*re.findall(r"`(\w+)`", one), "prompt"} == ONE - MANY
    assert {*re.findall(r"`(\w+)`", many), "prompts", "prompts_conn_id"} == MANY - ONE


def test_what_both_operators_take_has_one_default_or_one_that_is_not_set():
    one, many = defaults(ImageGenerateOperator), defaults(ImageBatchGenerateOperator)

    differ = {name for name in ONE & MANY if one[name] != many[name]}
    # A task of a function has those of the first: nothing, which each reads in its own way.
    assert differ == {"model", "storage_path", "use_queue"}
    assert one["use_queue"] is one["storage_path"] is None


@pytest.mark.parametrize("name", ["prompt", "prompts", "prompts_conn_id"])
def test_prompts_are_not_given_but_returned(name):
    with pytest.raises(TypeError, match=f"takes no {name}: the prompt is what the function returns"):
        oxen_image_task(None, **{name: "A red cube"})


def test_arguments_of_both_kinds_exclude_each_other():
    with pytest.raises(TypeError, match="takes cancel_on_kill for one image, and on_error, max_failures for"):
        oxen_image_task(cancel_on_kill=True, max_failures=3, on_error="continue")


@pytest.mark.parametrize("kwargs", [{"cancel_on_kill": True, "max_failures": None}, {"max_in_flight": 3}, {}])
def test_arguments_of_one_kind_are_taken(kwargs):
    assert callable(oxen_image_task(**kwargs))


def test_multiple_outputs_are_refused():
    with pytest.raises(TypeError, match="leave multiple_outputs out"):
        oxen_image_task(multiple_outputs=True)
    assert callable(oxen_image_task(multiple_outputs=False))


async def coroutine() -> str:
    return "A red cube"


async def coroutines() -> Any:
    yield "A red cube"


def generator() -> Any:
    yield "A red cube"


@pytest.mark.parametrize("function", [coroutine, coroutines])
def test_async_functions_are_refused(function):
    with pytest.raises(TypeError, match="not an async one"):
        oxen_image_task(function)


def test_generators_are_refused():
    with pytest.raises(TypeError, match="return a list"):
        oxen_image_task(generator)


def test_whatever_returns_is_taken():
    assert callable(oxen_image_task(lambda: "A red cube"))
