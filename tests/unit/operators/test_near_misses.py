"""What is nearly right is said, or understood, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_oxen.catalogue import schema

from .scene import SEEDLESS, all_modes, by_queue, paid_once, stopped

SIZED = "qwen-image"
"""A model that takes a preset, or width and height."""

SLIP = {"output_fromat": "png"}
TOLD = "output_fromat: the model's request schema does not list this parameter. Did you mean 'output_format'?"


@contextmanager
def as_before() -> Iterator[None]:
    """Send sizes as earlier versions did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "sized", lambda rules, parameters: dict(parameters))
        yield


@all_modes
def test_slip_in_a_parameters_name_is_refused_before_anything_is_sent(scene):
    assert TOLD in stopped(scene, scene.play(model_params=SLIP), sent=0)


@all_modes
def test_slip_in_a_parameters_name_is_a_warning_where_that_is_asked_for(scene):
    assert paid_once(scene, scene.play(model_params=SLIP, validate="warn"))
    assert TOLD in scene.logged
    [paid] = scene.hub.ledger()
    assert paid["request"]["output_fromat"] == "png"


def test_slip_in_a_columns_name_is_refused_with_its_line(cast_batch):
    batch = cast_batch(model_params={})

    played = batch.play(prompts=["A red cube", {"prompt": "A ball", **SLIP}])

    assert played.state == "failed"
    assert f"line 2: {TOLD}" in played.error
    assert batch.posts() == 0


@by_queue
def test_size_in_pixels_is_what_the_image_has(scene):
    assert paid_once(scene, scene.play(model=SIZED, image_size="96x64", max_cost="$5"))
    [paid] = scene.hub.ledger()
    assert paid["request"]["image_size"] == {"width": 96, "height": 64}


@all_modes
def test_size_in_pixels_that_the_model_does_not_take_is_refused_before_anything_is_sent(scene):
    message = stopped(scene, scene.play(model=SEEDLESS, image_size="96x64"), sent=0)

    assert "nor width and height, so that '96x64' means nothing to it; it lists " in message


def test_image_of_a_size_that_was_sent_as_text_is_not_bought_again(scene):
    with as_before():
        assert paid_once(scene, scene.play(image_size="96x64", validate="off"))

    assert scene.play(image_size="96x64", validate="error").result["reused"]
    assert scene.sent == 1


def test_rows_of_a_size_that_was_sent_as_text_are_not_bought_again(cast_batch):
    batch = cast_batch(image_size="96x64", model_params={})
    with as_before():
        assert batch.play(validate="off").state == "success"
    before = batch.posts()

    assert batch.next_run(validate="error").result["reused"] == 6
    assert batch.posts() == before
