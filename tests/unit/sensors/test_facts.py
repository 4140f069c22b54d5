"""What the sensor of a generation returns is read with care."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor

KEY = "facts-key-that-must-not-leak"
register_key(KEY)


def test_facts_hold_no_secret():
    told = {
        "generation_id": "g-1",
        "status": "succeeded",
        "model_name": f"m {KEY}",
        "seed": [KEY],
        "cost": "0.5",
    }
    # As everywhere, the connection is read before the row.
    settings = Settings(api_key=KEY)
    row = Generation.model_validate(told)
    client: Any = SimpleNamespace(settings=settings, send=lambda call: row)
    sensor = OxenGenerationSensor(task_id="done", generation_id="g-1")

    facts = sensor._facts(client, row)

    assert facts == {"generation_id": "g-1", "status": "succeeded", "model": "m ***", "cost": 0.5}


def test_arguments_that_hold_the_key_reach_no_trigger(monkeypatch):
    fields = {"conn_type": "oxen", "host": "http://127.0.0.1:9", "password": KEY}
    monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", json.dumps(fields))
    sensor = OxenModelSensor(task_id="ready", model="m", parameters={"style": KEY}, deferrable=True)

    with pytest.raises(AirflowFailException, match="parameters: holds the API key") as caught:
        sensor.poke({})

    assert KEY not in str(caught.value)
