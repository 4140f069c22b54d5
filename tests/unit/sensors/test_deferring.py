"""What comes back from a trigger: timeouts are sensor timeouts, on both lines of Airflow."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_oxen.api import deadline
from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.catalogue.readiness import Readiness
from airflow_provider_oxen.hooks import triggerer
from airflow_provider_oxen.hooks.triggerer import Triggerer
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor
from airflow_provider_oxen.triggers import _base
from airflow_provider_oxen.triggers.events import generation_event, model_event

# What the schedulers of Airflow 3 and 2.11 say of a trigger that ran out of time.
TIMEOUTS = ["Trigger timeout", "Trigger/execution timeout"]


def model_sensor(**arguments: Any) -> OxenModelSensor:
    return OxenModelSensor(task_id="there", **{"model": "klein", "deferrable": True, **arguments})


def generation_sensor(**arguments: Any) -> OxenGenerationSensor:
    return OxenGenerationSensor(task_id="done", **{"generation_id": "8d1f", "deferrable": True, **arguments})


@pytest.fixture(params=[model_sensor, generation_sensor])
def sensor(request):
    return request.param


def said_by_this_line() -> str:
    try:
        from airflow.sdk.exceptions import TaskDeferralTimeout  # noqa: F401
    except ImportError:
        return TIMEOUTS[1]
    return TIMEOUTS[0]


def test_default_is_airflows(sensor, monkeypatch):
    assert not sensor(deferrable=None).deferrable

    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")

    assert sensor(deferrable=None).deferrable
    assert not sensor(deferrable=False).deferrable


def test_trigger_that_ran_out_of_time_is_a_sensor_timeout(sensor):
    with pytest.raises(AirflowSensorTimeout):
        sensor().resume_execution("__fail__", {"error": said_by_this_line()}, {})


def test_trigger_that_ran_out_of_time_skips_with_soft_fail(sensor):
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).resume_execution("__fail__", {"error": said_by_this_line()}, {})


def test_trigger_that_failed_is_no_timeout(sensor):
    with pytest.raises(AirflowException) as caught:
        sensor().resume_execution("__fail__", {"error": "Trigger failure"}, {})

    assert not isinstance(caught.value, AirflowSensorTimeout)


@pytest.mark.parametrize("event", [None, {}, {"event": "another/1"}, "succeeded"])
def test_event_that_is_not_understood_is_an_error_that_a_retry_may_mend(sensor, event):
    with pytest.raises(OxenPollError, match="an unknown event"):
        sensor().resume_execution("execute_complete", {"event": event, "deadline": None}, {})


def told(sensor: Any, status: str, message: str = "") -> dict[str, Any]:
    if sensor is model_sensor:
        event = model_event("klein", status, message)  # type: ignore[arg-type]
    else:
        event = generation_event("8d1f", status, message)  # type: ignore[arg-type]
    return {"event": event, "deadline": 1.0}


def test_deadline_is_a_sensor_timeout(sensor):
    with pytest.raises(AirflowSensorTimeout, match="longer than 7 seconds"):
        sensor(timeout=7).resume_execution("execute_complete", told(sensor, "timed_out"), {})


def test_deadline_skips_with_soft_fail(sensor):
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).resume_execution("execute_complete", told(sensor, "timed_out"), {})


def test_model_trigger_that_could_not_look_is_an_error_that_a_retry_may_mend():
    with pytest.raises(OxenPollError, match="The trigger could not check the model: ZeroDivisionError"):
        model_sensor().resume_execution(
            "execute_complete", told(model_sensor, "unreachable", "ZeroDivisionError: no"), {}
        )


def test_second_wait_goes_on_counting_from_the_first(sensor):
    deadline = time.time() + 100

    with pytest.raises(TaskDeferred) as caught:
        sensor().defer_to("a trigger", deadline, {"oxen_conn_id": "another"})

    assert caught.value.trigger == "a trigger"
    assert caught.value.method_name == "execute_complete"
    assert caught.value.kwargs == {"deadline": deadline, "arguments": {"oxen_conn_id": "another"}}
    assert 90 < caught.value.timeout.total_seconds() <= 100


@pytest.mark.parametrize("runs", [True, False])
def test_sensor_says_that_no_triggerer_runs(sensor, monkeypatch, capfd, caplog, runs):
    monkeypatch.setattr(triggerer, "find_triggerer", lambda ti: Triggerer(runs))

    with pytest.raises(TaskDeferred):
        sensor().defer_to("a trigger", time.time() + 100, {})

    # Airflow 3 writes what operators log to stdout, older ones to ``logging``.
    said = "".join(capfd.readouterr()) + caplog.text
    assert ("No triggerer is running" in said) is not runs


def test_airflow_waits_a_little_longer_than_the_trigger_holds_its_end(sensor, monkeypatch):
    monkeypatch.setattr(_base, "SECONDS", 5.0)

    with pytest.raises(TaskDeferred) as caught:
        sensor().defer_to("a trigger", time.time() - 100, {})

    assert caught.value.timeout.total_seconds() == 5


def test_wait_after_the_deadline_is_none(sensor):
    with pytest.raises(TaskDeferred) as caught:
        sensor().defer_to("a trigger", time.time() - 100, {})

    assert caught.value.timeout.total_seconds() == 0


@pytest.mark.parametrize("empty", [None, "", "  ", "None", "null"])
@pytest.mark.parametrize("method", ["poke", "execute_complete"])
def test_empty_generation_id_is_an_error_before_any_request(empty, method, monkeypatch):
    monkeypatch.setattr("httpx.Client.send", lambda *_, **__: pytest.fail("a request was sent"))

    with pytest.raises(AirflowFailException, match=f"generation_id must be a text, not {empty!r}"):
        getattr(generation_sensor(generation_id=empty), method)({})


class Kept(Exception):
    """Tells what a sensor was resumed with."""


@pytest.mark.parametrize(
    ("kept", "conn_id"),
    [
        ({"deadline": 5.0}, "own"),
        ({"deadline": 5.0, "arguments": None}, "own"),
        ({"deadline": 5.0, "arguments": {"oxen_conn_id": "another", "retries": 9, "later": 1}}, "another"),
    ],
    ids=["earlier version", "nothing", "arguments"],
)
@pytest.mark.parametrize("kind", [OxenGenerationSensor, OxenModelSensor])
def test_sensor_goes_on_with_what_it_waited_for(kind, kept, conn_id, monkeypatch):
    def execute_complete(self: Any, context: Any, event: Any = None, deadline: float | None = None) -> None:
        raise Kept(self.oxen_conn_id, self.retries, deadline, hasattr(self, "later"))

    monkeypatch.setattr(kind, "execute_complete", execute_complete)
    own = {"generation_id": "8d1f"} if kind is OxenGenerationSensor else {"model": "klein"}
    made = kind(task_id="wait", oxen_conn_id="own", retries=1, **own)

    with pytest.raises(Kept) as caught:
        made.resume_execution("execute_complete", {"event": {}, **kept}, {})

    assert caught.value.args == (conn_id, 1, 5.0, False)


def test_what_a_sensor_waits_for_is_kept_as_it_was_read(monkeypatch):
    made = model_sensor(parameters='{"seed": 1}', fail_fast="True", deferrable=True)
    client = nullcontext(SimpleNamespace(settings=Settings()))
    monkeypatch.setattr("airflow_provider_oxen.hooks.oxen.OxenHook.get_conn", lambda self: client)

    async def look(*_: Any, **__: Any) -> Readiness:
        return Readiness("not_yet")

    monkeypatch.setattr("airflow_provider_oxen.catalogue.readiness.look", look)

    with pytest.raises(TaskDeferred) as caught:
        made.poke({})

    kept = json.loads(json.dumps(caught.value.kwargs))["arguments"]
    assert set(kept) == set(OxenModelSensor.template_fields)
    assert (kept["parameters"], kept["fail_fast"]) == ({"seed": 1}, True)


def test_what_a_sensor_of_a_generation_waits_for_is_kept(monkeypatch):
    made = generation_sensor(target_namespace="team", deferrable=True)
    monkeypatch.setattr("airflow_provider_oxen.hooks.oxen.OxenHook.get_conn", lambda self: nullcontext())
    monkeypatch.setattr(OxenGenerationSensor, "_succeeded", lambda *_: None)

    with pytest.raises(TaskDeferred) as caught:
        made.poke({})

    kept = json.loads(json.dumps(caught.value.kwargs))["arguments"]
    assert set(kept) == set(OxenGenerationSensor.template_fields)
    assert kept["target_namespace"] == "team"


def test_no_look_outlives_the_sensors_timeout(sensor, monkeypatch):
    monkeypatch.setattr(deadline, "LAST", 0.1)
    with LocalHub(HubSettings(key="k")) as hub:
        for route in ("job", "authorize"):
            hub.fail(Fault("hold", on=route, seconds=60, times=None))
        conn = {"conn_type": "oxen", "host": hub.url, "password": "k"}
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", json.dumps(conn))

        found = sensor(deferrable=False, timeout=0.1).poke({})

    assert not getattr(found, "is_done", found)
