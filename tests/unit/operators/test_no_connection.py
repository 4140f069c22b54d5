"""A connection that is not there, or cannot be read, is named, costs nothing, and is not tried again."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenInvalidRequest,
    OxenModelNotFound,
    OxenSettingsError,
)
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor

from .scene import MODEL, Scene, all_modes, by_queue, paid_once, stopped

NONE = "The Airflow connection 'nowhere' is not defined: create it, or set "
STORED = {"storage_path": "s3://bucket/out/", "storage_conn_id": "nowhere"}


def cause(played: Any, kind: type[OxenError]) -> OxenError:
    """Return the error that a callback finds in what failed the task."""
    [error] = played.errors
    assert isinstance(error, AirflowFailException)
    assert isinstance(error, kind)
    assert (error.spent, error.retry_helps) == ("no", False)
    # What a library had said before is in no traceback.
    assert error.__cause__ is error.__context__ is None
    return error


@all_modes
def test_hub_that_has_no_connection(scene: Scene):
    played = scene.play(oxen_conn_id="nowhere")

    assert f"{NONE}oxen_conn_id to another one." in stopped(scene, played, sent=0)
    cause(played, OxenSettingsError)


@all_modes
def test_hub_whose_connection_cannot_be_read(scene: Scene, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", "{")

    played = scene.play(oxen_conn_id="broken")

    message = stopped(scene, played, sent=0)
    assert "The Airflow connection 'broken' cannot be read: the environment variable is set" in message
    cause(played, OxenSettingsError)


@by_queue
@pytest.mark.filterwarnings("ignore:Encountered (non-JSON|JSON value) in `extra`")
def test_hub_whose_extra_cannot_be_read(scene: Scene, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ODD", '{"conn_type": "oxen", "password": "k", "extra": "{"}')

    played = scene.play(oxen_conn_id="odd")

    message = stopped(scene, played, sent=0)
    assert "extra must be a JSON object. Change the Airflow connection 'odd'." in message
    cause(played, OxenSettingsError)


@by_queue
def test_store_that_has_no_connection(scene: Scene):
    played = scene.play(**STORED)

    assert f"{NONE}storage_conn_id to another one." in stopped(scene, played, sent=0)
    cause(played, OxenInvalidRequest)


@by_queue
def test_secrets_backend_that_does_not_answer_is_asked_again(scene: Scene, monkeypatch):
    monkeypatch.setattr("airflow_provider_oxen.connections._has_backend", lambda: True)

    tried = scene.once(oxen_conn_id="nowhere")

    assert tried.state == "up_for_retry"
    assert "Or the secrets backend did not answer: see its log." in tried.error
    assert "It is safe to try again" in tried.error


def test_prompts_of_a_store_whose_connection_may_only_not_be_told_now_are_read_by_the_next_try(
    cast_batch, monkeypatch
):
    monkeypatch.setattr("airflow_provider_oxen.connections._has_backend", lambda: True)
    batch = cast_batch(prompts="s3://id:secret@bucket/prompts.csv")

    tried = batch.once()

    assert tried.state == "up_for_retry"
    assert "prompts: the folder " in tried.error
    assert "secret@" not in tried.error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"oxen_conn_id": "nowhere"}, "oxen_conn_id"),
        (STORED, "storage_conn_id"),
        ({"prompts": "s3://bucket/prompts.csv", "prompts_conn_id": "nowhere"}, "prompts_conn_id"),
    ],
    ids=["hub", "store", "prompts"],
)
def test_batch_names_the_connection_that_is_not_there(cast_batch, arguments, named):
    batch = cast_batch()

    played = batch.play(**arguments)

    assert played.state == "failed"
    assert f"{NONE}{named} to another one." in played.error
    assert batch.posts() == 0
    cause(played, OxenError)


@pytest.mark.parametrize(
    "sensor",
    [
        OxenModelSensor(task_id="there", model=MODEL, oxen_conn_id="nowhere"),
        OxenGenerationSensor(task_id="done", generation_id="8d1f", oxen_conn_id="nowhere"),
        OxenModelSensor(task_id="deferred", model=MODEL, oxen_conn_id="nowhere", deferrable=True),
    ],
    ids=lambda sensor: sensor.task_id,
)
def test_sensor_names_the_connection_that_is_not_there(sensor):
    with pytest.raises(AirflowFailException) as caught:
        sensor.poke({})

    assert f"{NONE}oxen_conn_id to another one." in str(caught.value)
    assert isinstance(caught.value, OxenSettingsError)


@pytest.mark.parametrize("mode", ["deferred"])
def test_connection_that_is_gone_while_a_task_waits_leaves_what_was_paid_for(
    scene: Scene, connect, monkeypatch
):
    defer = scene.deferring

    def deferring() -> None:
        defer()
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", "{")

    scene.deferring = deferring
    played = scene.play()

    assert played.state == "failed"
    assert "The Airflow connection 'oxen_default' cannot be read" in played.error
    assert "which this task has waited for, may have been paid for." in played.error
    scene.deferring = defer
    connect(scene.hub.url)
    assert paid_once(scene, scene.clear())


@all_modes
def test_error_of_the_hub_is_the_cause_of_the_failure(scene: Scene):
    played = scene.play(model="no-such-model")

    error = cause(played, OxenModelNotFound)
    assert error.status == 404
    assert str(error) in played.error
