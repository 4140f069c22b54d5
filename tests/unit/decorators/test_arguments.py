"""Which of two operators an argument belongs to, and what is refused whatever the function returns."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.decorators.arguments import (
    FOR_MANY,
    FOR_NONE,
    FOR_ONE,
    REQUEST,
    check_arguments,
    check_function,
    given,
)
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator


def own(operator: type) -> set[str]:
    return set(inspect.signature(operator.__init__).parameters) - {"self", "kwargs"}  # type: ignore[misc]


def defaults(operator: type) -> dict[str, Any]:
    return {name: asked.default for name, asked in inspect.signature(operator).parameters.items()}


ONE, MANY = own(ImageGenerateOperator), own(ImageBatchGenerateOperator)


def test_arguments_of_only_one_kind_are_those_of_only_one_operator():
    assert {*FOR_ONE, "prompt"} == ONE - MANY
    assert {*FOR_MANY, "prompts", "prompts_conn_id"} == MANY - ONE
    assert set(FOR_NONE) == {"prompt", "prompts", "prompts_conn_id"}


def test_what_both_operators_take_has_one_default_or_one_that_is_not_set():
    one, many = defaults(ImageGenerateOperator), defaults(ImageBatchGenerateOperator)

    differ = {name for name in ONE & MANY if one[name] != many[name]}
    # A task of a function has those of the first: nothing, which each reads in its own way.
    assert differ == {"model", "storage_path", "use_queue"}
    assert one["use_queue"] is one["storage_path"] is None


def test_a_mapping_may_override_every_field_of_the_request():
    assert {*REQUEST, "prompt"} == {*GenerateRequest.model_fields, "model_params"}


@pytest.mark.parametrize("name", FOR_NONE)
def test_prompts_are_not_given_but_returned(name):
    with pytest.raises(TypeError, match=f"takes no {name}: what the function returns is what is drawn"):
        check_arguments({name: "A red cube"})


def test_arguments_of_both_kinds_exclude_each_other():
    with pytest.raises(TypeError, match="takes cancel_on_kill for one image, and on_error, max_failures for"):
        check_arguments({"cancel_on_kill": True, "max_failures": 3, "on_error": "continue"})


@pytest.mark.parametrize("kwargs", [{"cancel_on_kill": True, "max_failures": None}, {"max_in_flight": 3}, {}])
def test_arguments_of_one_kind_are_taken(kwargs):
    check_arguments(kwargs)


def test_multiple_outputs_are_refused():
    with pytest.raises(TypeError, match="leave multiple_outputs out"):
        check_arguments({"multiple_outputs": True})
    check_arguments({"multiple_outputs": False})


def test_nothing_is_no_value():
    assert given({"seed": None, "model": "x", "overwrite": False}, ("model", "seed", "overwrite")) == [
        "model",
        "overwrite",
    ]


async def coroutine() -> str:
    return "A red cube"


async def coroutines() -> Any:
    yield "A red cube"


def generator() -> Any:
    yield "A red cube"


@pytest.mark.parametrize("function", [coroutine, coroutines])
def test_async_functions_are_refused(function):
    with pytest.raises(TypeError, match="not an async one"):
        check_function(function)


def test_generators_are_refused():
    with pytest.raises(TypeError, match="return a list"):
        check_function(generator)


def test_whatever_returns_is_taken():
    check_function(lambda: "A red cube")
    check_function(str)
