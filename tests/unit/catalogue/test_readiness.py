"""The decision about a model, by scripted answers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.catalogue import readiness
from airflow_provider_oxen.catalogue.readiness import Readiness

IMAGE = {"output": ["image"]}
KLEIN = Model(id="klein", capabilities=IMAGE)
NEAR = [Model(id="klein-4b", capabilities=IMAGE), Model(id="klein-4c", capabilities={"output": ["text"]})]


class Script:
    """A hub that answers each kind of call as told, or raises it.

    :ivar asked: the names of the calls.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = {"check the key": None, **{name.replace("_", " "): a for name, a in answers.items()}}
        self.asked: list[str] = []

    async def asend(self, call: Any) -> Any:
        self.asked.append(call.name)
        answer = self.answers[call.name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def look(script: Script, parameters: Any = None, fail_fast: bool = False) -> Readiness:
    return unsuspended(readiness.look(script, "klein", parameters or {}, fail_fast=fail_fast))


def test_model_that_can_run_is_ready():
    script = Script(look_up_the_model=KLEIN)

    assert look(script) == Readiness("ready")
    assert script.asked == ["check the key", "look up the model"]


def test_what_is_odd_is_told():
    deprecated = Model(id="klein", capabilities=IMAGE, deprecated=True)

    assert look(Script(look_up_the_model=deprecated)) == Readiness(
        "ready", ((logging.WARNING, "Model 'klein' is deprecated"),)
    )


def test_model_that_cannot_run_now_is_not_there_yet():
    off = Model(id="klein", capabilities=IMAGE, can_run_inference=False)

    found = look(Script(look_up_the_model=off))

    assert found.state == "not_yet"
    assert found.messages[0][0] == logging.INFO
    assert "cannot run now" in found.messages[0][1]


def test_unknown_model_is_not_there_yet():
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found"))

    found = unsuspended(readiness.look(script, "klein", {}, fail_fast=False, suggest=False))

    assert (found.state, found.error) == ("not_yet", None)
    [(level, message)] = found.messages
    assert level == logging.INFO
    assert message.endswith(" is not there yet: the hub does not know it.")
    assert "list the models" not in script.asked


def test_unknown_model_that_may_be_misspelt_is_told_with_near_names():
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found"), list_the_models=NEAR)

    [(level, message)] = look(script).messages

    assert level == logging.WARNING
    assert message.endswith(" the hub does not know it. Did you mean 'klein-4b'?")


def test_unknown_model_never_comes_with_fail_fast():
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found."), list_the_models=NEAR)

    found = look(script, fail_fast=True)

    assert found.state == "never"
    assert found.error is not None
    assert found.error.message == "Model not found. Did you mean 'klein-4b'?"


def test_names_that_cannot_be_had_are_left_out():
    script = Script(
        look_up_the_model=errors.OxenModelNotFound("Model not found."),
        list_the_models=errors.OxenServerError("down"),
    )

    error = look(script, fail_fast=True).error

    assert error is not None
    assert error.message == "Model not found."


@pytest.mark.parametrize(
    "error",
    [errors.OxenServerError, errors.OxenConnectionError, errors.OxenRateLimited, errors.OxenUnavailable],
)
@pytest.mark.parametrize("step", ["check_the_key", "look_up_the_model"])
def test_what_passes_is_waited_out(error, step):
    found = look(Script(**{"look_up_the_model": KLEIN, step: error("The hub is down.")}))

    assert found == Readiness("not_yet", ((logging.WARNING, "The hub is down. Looking again later."),))


@pytest.mark.parametrize("error", [errors.OxenAuthenticationError, errors.OxenPermissionError])
def test_what_does_not_pass_is_never(error):
    trouble = error("no")

    assert look(Script(check_the_key=trouble)) == Readiness("never", error=trouble)


def test_host_that_is_no_hub_is_never():
    trouble = errors.OxenRouteNotFound("no such path")

    assert look(Script(look_up_the_model=trouble)) == Readiness("never", error=trouble)


def test_hub_that_cannot_tell_the_keys_owner_is_asked_for_its_queue():
    script = Script(check_the_key=errors.OxenRouteNotFound("no"), list_the_queue=[], look_up_the_model=KLEIN)

    assert look(script) == Readiness("ready")
    # By two routes, of which a hub may have either.
    assert script.asked == ["check the key", "check the key", "list the queue", "look up the model"]


def test_model_that_makes_no_images_is_never():
    found = look(Script(look_up_the_model=Model(id="klein", capabilities={"output": ["text"]})))

    assert found.state == "never"
    assert isinstance(found.error, errors.OxenInvalidRequest)
    assert "Waiting will not help: Model 'klein' does not make images" in str(found.error)


def test_rendered_parameters_are_held_against_the_schema():
    schema = {"properties": {"steps": {"type": "integer", "maximum": 5}}, "required": ["prompt"]}
    model = Model(id="klein", capabilities=IMAGE, request_schema=schema)

    assert look(Script(look_up_the_model=model), {"steps": "4"}).state == "ready"
    assert look(Script(look_up_the_model=model), {"steps": "6"}).state == "never"


def test_parameters_are_held_against_the_schema_as_the_operator_would_send_them():
    sides = {"width": {"type": "integer", "maximum": 64}, "height": {}}
    model = Model(id="klein", capabilities=IMAGE, request_schema={"properties": sides})

    assert look(Script(look_up_the_model=model), {"image_size": "64x32"}).state == "ready"
    assert look(Script(look_up_the_model=model), {"image_size": "65x32"}).state == "never"
    never = look(Script(look_up_the_model=model), {"heigth": 32})
    assert "Did you mean 'height'?" in str(never.error)


def find(script: Script, validate: str) -> Model | None:
    return unsuspended(readiness.find_model(script, "klein", validate))


def test_model_that_is_there_is_found():
    assert find(Script(look_up_the_model=KLEIN), "error") == KLEIN


def test_unknown_model_is_an_error_with_near_names():
    script = Script(look_up_the_model=errors.OxenModelNotFound("Model not found."), list_the_models=NEAR)

    with pytest.raises(errors.OxenModelNotFound, match=r"Did you mean 'klein-4b'\?"):
        find(script, "error")


@pytest.mark.parametrize(
    "trouble", [errors.OxenModelNotFound, errors.OxenRouteNotFound, errors.OxenServerError]
)
def test_model_that_cannot_be_had_is_gone_on_without_where_warnings_are_wanted(trouble, caplog):
    assert find(Script(look_up_the_model=trouble("No."), list_the_models=NEAR), "warn") is None

    [record] = caplog.records
    assert "Going on, because validate is 'warn'" in record.getMessage()


@pytest.mark.parametrize("trouble", [errors.OxenRouteNotFound, errors.OxenServerError])
def test_model_that_cannot_be_had_is_an_error_where_errors_are_wanted(trouble):
    with pytest.raises(trouble):
        find(Script(look_up_the_model=trouble("No.")), "error")


def price_of(answer: Any, needed: bool) -> Model:
    script = Script(look_up_the_model=answer)
    return unsuspended(readiness.find_price(script, KLEIN, needed=needed))


def test_price_is_asked_of_another_route():
    priced = KLEIN.model_copy(update={"pricing": {"cost_per_image": 0.01}})

    assert price_of(priced, True) == priced


@pytest.mark.parametrize("trouble", [errors.OxenRouteNotFound("no"), errors.OxenModelNotFound("no")])
def test_price_that_the_hub_does_not_know_is_none(trouble):
    assert price_of(trouble, True) == KLEIN


def test_hub_that_cannot_be_asked_for_a_price_is_an_error_where_it_is_needed():
    trouble = errors.OxenServerError("down")

    assert price_of(trouble, False) == KLEIN
    with pytest.raises(errors.OxenServerError):
        price_of(trouble, True)
