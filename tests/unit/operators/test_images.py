"""The operator as a Dag's author sees it: its arguments, its templates, and what Airflow calls of it."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_oxen.operators.images import ImageGenerateOperator

from .scene import MODEL, Scene, paid_once


def operator(**arguments: Any) -> ImageGenerateOperator:
    return ImageGenerateOperator(task_id="hero", prompt="A red cube", model=MODEL, **arguments)


def test_airflows_configuration_decides_whether_tasks_defer(scene: Scene):
    """The default is read once, when the module is loaded, as Airflow's own operators read it."""
    assert inspect.signature(ImageGenerateOperator.__init__).parameters["deferrable"].default is False


def test_kill_before_the_task_has_begun_does_nothing():
    operator().on_kill()


@pytest.mark.parametrize("timeout", [timedelta(seconds=60), 60, 60.5, "60"], ids=repr)
def test_timeout_is_seconds_or_a_timedelta(scene, timeout):
    assert paid_once(scene, scene.play(timeout=timeout))
