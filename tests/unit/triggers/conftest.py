"""A hub on this machine, an Airflow connection to it, and triggers as Airflow runs them."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.localhub import HubSettings, LocalHub

KEY = "key-that-must-not-leak"


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Jobs take longer than any test unless the hub's clock is moved.
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16), latency=3600)) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the connection ``oxen_default``, as a deployment would: through the environment."""

    def connect(**fields: Any) -> None:
        text = json.dumps({"conn_type": "oxen", "password": KEY, "extra": {"max_retries": 0}, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", text)

    return connect


@pytest.fixture
def connected(hub: LocalHub, connect: Callable[..., None]) -> LocalHub:
    """A running hub, and the connection to it."""
    connect(host=hub.url)
    return hub


@pytest.fixture
def order(hub: LocalHub) -> Callable[[], str]:
    """Put a job into the queue and return its id."""

    def order() -> str:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube")
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            return client.send(queue.enqueue(request))[0].generation_id

    return order


class Logged:
    """All that was logged so far: Airflow 3 writes what triggers log to stdout, older ones to ``logging``."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capfd = capfd
        self._caplog = caplog
        self._printed = ""

    def __str__(self) -> str:
        self._printed += "".join(self._capfd.readouterr())
        return self._printed + self._caplog.text


@pytest.fixture(autouse=True)
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """What is logged, without the key and a signature."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")  # Airflow sets it to WARNING.
    found = Logged(capfd, caplog)
    yield found
    assert KEY not in str(found)
    assert "X-Signature=" not in str(found)


def rebuilt(trigger: Any) -> Any:
    """Return what the triggerer makes of the trigger that a task deferred to."""
    from airflow.models.trigger import Trigger

    row = Trigger.from_object(trigger)
    try:
        from airflow.sdk.serde import serialize
        from airflow.serialization.decoders import smart_decode_trigger_kwargs
    except ImportError:
        kwargs = row.kwargs
    else:
        # As the task runner sends it, and the API server stores it.
        classpath, given = trigger.serialize()
        row.encrypted_kwargs = json.dumps(serialize(given))
        kwargs = {name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()}
        assert kwargs == Trigger.from_object(trigger).kwargs
        assert row.classpath == classpath
    module, _, name = row.classpath.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


async def events(trigger: Any) -> list[Any]:
    """Run a trigger to its end and return what it told, as the task will see it."""
    return [json.loads(json.dumps(event.payload)) async for event in trigger.run()]
