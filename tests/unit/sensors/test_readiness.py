"""The decision about a model: the same for the sensor and for its trigger, told by scripted answers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.sensors.readiness import Readiness, ask, ask_async

IMAGE = {"output": ["image"]}
KLEIN = Model(id="klein", capabilities=IMAGE)
NEAR = [Model(id="klein-4b", capabilities=IMAGE), Model(id="klein-4c", capabilities={"output": ["text"]})]


class Script:
    """A client that answers each kind of call as told, or raises it.

    :ivar asked: the names of the calls.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = {"check the key": None, **{name.replace("_", " "): a for name, a in answers.items()}}
        self.asked: list[str] = []

    def send(self, call: Any) -> Any:
        self.asked.append(call.name)
        answer = self.answers[call.name]
        if isinstance(answer, Exception):
            raise answer
        return answer


class AsyncScript:
    def __init__(self, script: Script) -> None:
        self.script = script

    async def send(self, call: Any) -> Any:
        return self.script.send(call)


@pytest.fixture(params=["sensor", "trigger"])
def look(request):
    """Look at a model as the sensor does, or as its trigger does."""

    def look(script: Script, parameters: Any = None, fail_fast: bool = False) -> Readiness:
        if request.param == "sensor":
            return ask(script, "klein", parameters or {}, fail_fast=fail_fast)  # type: ignore[arg-type]
        return asyncio.run(
            ask_async(AsyncScript(script), "klein", parameters or {}, fail_fast=fail_fast)  # type: ignore[arg-type]
        )

    return look


def test_model_that_can_run_is_ready(look):
    script = Script(look_up_the_model=KLEIN)

    assert look(script) == Readiness("ready")
    assert script.asked == ["check the key", "look up the model"]


def test_what_is_odd_is_told(look):
    deprecated = Model(id="klein", capabilities=IMAGE, deprecated=True)

    assert look(Script(look_up_the_model=deprecated)) == Readiness(
        "ready", ((logging.WARNING, "Model 'klein' is deprecated"),)
    )


def test_model_that_cannot_run_now_is_not_there_yet(look):
    off = Model(id="klein", capabilities=IMAGE, can_run_inference=False)

    found = look(Script(look_up_the_model=off))

    assert found.state == "not_yet"
    assert found.told[0][0] == logging.INFO
    assert "cannot run now" in found.told[0][1]


def test_unknown_model_is_not_there_yet(look):
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found"))

    found = look(script)

    assert (found.state, found.error) == ("not_yet", None)
    assert "is not there yet" in found.told[0][1]
    assert "list the models" not in script.asked


def test_unknown_model_never_comes_with_fail_fast(look):
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found."), list_the_models=NEAR)

    found = look(script, fail_fast=True)

    assert found.state == "never"
    assert str(found.error) == "Model not found. Did you mean 'klein-4b'?"


def test_names_that_cannot_be_had_are_left_out(look):
    script = Script(
        look_up_the_model=errors.OxenModelNotFound("Model not found."),
        list_the_models=errors.OxenServerError("down"),
    )

    assert str(look(script, fail_fast=True).error) == "Model not found."


@pytest.mark.parametrize(
    "error",
    [errors.OxenServerError, errors.OxenConnectionError, errors.OxenRateLimited, errors.OxenUnavailable],
)
@pytest.mark.parametrize("step", ["check_the_key", "look_up_the_model"])
def test_what_passes_is_waited_out(look, error, step):
    found = look(Script(**{"look_up_the_model": KLEIN, step: error("The hub is down.")}))

    assert found == Readiness("not_yet", ((logging.WARNING, "The hub is down. Looking again later."),))


@pytest.mark.parametrize("error", [errors.OxenAuthenticationError, errors.OxenPermissionError])
def test_what_does_not_pass_is_never(look, error):
    trouble = error("no")

    assert look(Script(check_the_key=trouble)) == Readiness("never", error=trouble)


def test_host_that_is_no_hub_is_never(look):
    trouble = errors.OxenRouteNotFound("no such path")

    assert look(Script(look_up_the_model=trouble)) == Readiness("never", error=trouble)


def test_hub_that_cannot_tell_the_keys_owner_is_asked_for_its_queue(look):
    script = Script(check_the_key=errors.OxenRouteNotFound("no"), list_the_queue=[], look_up_the_model=KLEIN)

    assert look(script) == Readiness("ready")
    assert script.asked == ["check the key", "list the queue", "look up the model"]


def test_model_that_makes_no_images_is_never(look):
    found = look(Script(look_up_the_model=Model(id="klein", capabilities={"output": ["text"]})))

    assert found.state == "never"
    assert isinstance(found.error, errors.OxenInvalidRequest)
    assert "Waiting will not help: Model 'klein' does not make images" in str(found.error)


def test_rendered_parameters_are_held_against_the_schema(look):
    schema = {"properties": {"steps": {"type": "integer", "maximum": 5}}, "required": ["prompt"]}
    model = Model(id="klein", capabilities=IMAGE, request_schema=schema)

    assert look(Script(look_up_the_model=model), {"steps": "4"}).state == "ready"
    assert look(Script(look_up_the_model=model), {"steps": "6"}).state == "never"
