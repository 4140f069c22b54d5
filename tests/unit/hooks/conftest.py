"""A hub on this machine and an Airflow connection to it, as a deployment sets it: through the environment."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_oxen.localhub import HubSettings, LocalHub

KEY = "key-that-must-not-leak"


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Small, so that drawing costs the tests next to nothing.
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16))) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the connection ``oxen_default``, from its fields or as an URI."""

    def connect(uri: str | None = None, **fields: Any) -> None:
        text = uri or json.dumps({"conn_type": "oxen", "password": KEY, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", text)

    return connect


@pytest.fixture(autouse=True)
def _key_is_not_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")  # Airflow sets it to WARNING.
    yield
    assert KEY not in "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
