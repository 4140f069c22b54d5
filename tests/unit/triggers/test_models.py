"""The trigger of a model: the sensor's decision, without a worker."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from airflow_provider_oxen.api import deadline
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.triggers.events import ModelEnd, read_model_event
from airflow_provider_oxen.triggers.models import OxenModelTrigger

from .conftest import events, rebuilt

KLEIN = "black-forest-labs-flux-2-klein-4b"


def waiting_for(model: str = KLEIN, **kwargs: Any) -> OxenModelTrigger:
    return OxenModelTrigger(model, **{"poke_interval": 0.02, **kwargs})


async def end_of(trigger: OxenModelTrigger) -> ModelEnd:
    [event] = await events(trigger)
    return read_model_event(event, trigger.model)


def custom_model(hub: Any) -> dict[str, Any]:
    hub.settings.layouts = frozenset({"ai"})
    return next(
        entry
        for entry in hub.settings.catalogue
        if entry.get("model_type") == "custom" and entry["deployments"][0]["status"] == "inactive"
    )


def test_arguments_survive_airflows_serialization():
    kwargs: dict[str, Any] = {
        "model": "klein",
        "parameters": {"seed": 4, "image_size": {"width": 8, "height": 8}, "tags": ["a", None, True]},
        "fail_fast": True,
        "oxen_conn_id": "another",
        "poke_interval": 2.5,
        "deadline": 1780000000.25,
        "deferred_at": 1760000000.5,
    }

    trigger = rebuilt(OxenModelTrigger(**kwargs))

    assert type(trigger) is OxenModelTrigger
    assert trigger.serialize()[1] == kwargs
    assert json.loads(json.dumps(kwargs)) == kwargs


def test_everything_but_the_model_has_a_default():
    trigger = OxenModelTrigger(model="klein")

    assert rebuilt(trigger).serialize() == trigger.serialize()


async def test_model_that_can_run(connected):
    assert await end_of(rebuilt(waiting_for())) == ModelEnd("ready")


async def test_custom_model_is_waited_for(connected, logged):
    model = custom_model(connected)
    task = asyncio.create_task(end_of(waiting_for(model["id"])))
    while not (said := str(logged).count("no deployment of this custom model is active")):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert not task.done()

    model["deployments"][0]["status"] = "active"

    assert await task == ModelEnd("ready")
    # Said once, not with every look.
    assert str(logged).count("no deployment of this custom model is active") == said


async def test_unknown_model_never_comes_with_fail_fast(connected):
    end = await end_of(waiting_for("z-image-turb", fail_fast=True))

    assert end.status == "never"
    assert "Did you mean 'z-image-turbo'" in end.message


async def test_parameters_that_contradict_the_schema(connected):
    end = await end_of(waiting_for(parameters={"num_inference_steps": 99}))

    assert end.status == "never"
    assert "num_inference_steps: must be at most 50, not 99" in end.message


async def test_wrong_key(hub, connect):
    connect(host=hub.url, password="another-key-that-must-not-leak")

    end = await end_of(waiting_for())

    assert end.status == "never"
    assert "another-key" not in end.message


async def test_trouble_that_passes_is_waited_out(connected, logged):
    connected.fail(Fault(on="model", kind="status", status=500, times=7))
    connected.fail(Fault(on="authorize", kind="drop_before", times=2))

    assert await end_of(waiting_for()) == ModelEnd("ready")
    assert "Looking again later" in str(logged)


async def test_deadline(connected):
    end = await end_of(waiting_for("no-such-model", deadline=time.time() + 0.1))

    assert end == ModelEnd("timed_out")


async def test_connection_that_cannot_be_read(connect):
    connect(host="ftp://hub.example")

    end = await end_of(waiting_for())

    assert end.status == "unreachable"
    assert "host must be a URL" in end.message


async def test_connection_that_is_not_there_is_named():
    end = await end_of(waiting_for(oxen_conn_id="nowhere"))

    assert end.status == "unreachable"
    assert end.message.startswith(
        "The Airflow connection 'nowhere' is not defined: create it, or set oxen_conn_id"
    )


async def test_deadline_holds_whatever_the_hub_does(connected, logged, monkeypatch):
    monkeypatch.setattr(deadline, "LAST", 0.02)
    connected.fail(Fault("hold", on="authorize", seconds=60, times=None))

    assert await end_of(waiting_for(deadline=time.time() + 0.05)) == ModelEnd("timed_out")
    assert "The hub took too long for its answers. Looking again later." in str(logged)
