"""The operator as a Dag's author sees it: its arguments, its templates, and what Airflow calls of it."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_oxen.operators.images import ImageGenerateOperator

from .scene import MODEL, Scene, paid_once

OWN = [
    name
    for name in inspect.signature(ImageGenerateOperator.__init__).parameters
    if name not in ("self", "kwargs")
]


def operator(**arguments: Any) -> ImageGenerateOperator:
    return ImageGenerateOperator(task_id="hero", prompt="A red cube", model=MODEL, **arguments)


def test_every_argument_but_deferrable_is_templated():
    assert {*ImageGenerateOperator.template_fields, "deferrable"} == set(OWN)


def test_every_argument_is_kept_as_it_was_given():
    given: dict[str, Any] = {name: f"{{{{ {name} }}}}" for name in OWN}

    made = ImageGenerateOperator(task_id="hero", **given)

    assert {name: getattr(made, name) for name in OWN} == given


def test_every_argument_is_told_in_the_classs_documentation():
    assert [name for name in OWN if f":param {name}:" not in str(ImageGenerateOperator.__doc__)] == []


def test_defaults_are_those_of_the_documentation():
    made = operator()

    assert (made.timeout, made.poll_interval, made.lookup_grace) == (3600.0, 3.0, 60.0)
    assert (made.on_unknown_outcome, made.on_changed_request) == ("fail", "fail")
    assert (made.cancel_on_timeout, made.cancel_on_kill, made.overwrite) == (False, False, False)
    assert (made.use_queue, made.max_cost, made.target_repo, made.deferrable) == (None, None, None, False)


def test_airflows_configuration_decides_whether_tasks_defer(scene: Scene):
    """The default is read once, when the module is loaded, as Airflow's own operators read it."""
    assert inspect.signature(ImageGenerateOperator.__init__).parameters["deferrable"].default is False


def test_kill_before_the_task_has_begun_does_nothing():
    operator().on_kill()


@pytest.mark.parametrize("timeout", [timedelta(seconds=60), 60, 60.5, "60"], ids=repr)
def test_timeout_is_seconds_or_a_timedelta(scene, timeout):
    assert paid_once(scene, scene.play(timeout=timeout))
