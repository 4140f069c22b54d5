"""Fixtures for tests of your own Dags: a local hub, and the Airflow connection to it.

pytest finds them wherever the provider is installed. They load nothing until a test asks for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_oxen.localhub import LocalHub

__all__ = ["oxen_conn_id", "oxen_connection", "oxen_local_hub"]


@pytest.fixture
def oxen_local_hub() -> Iterator[LocalHub]:
    """A hub on this machine for this test alone: it draws its own images, and charges play money.

    It shows what was requested and paid (``ledger()``, ``spent()``, ``jobs()``, ``requests()``), fails on
    demand (``fail()``), and has ``settings`` that you may change at any time. It starts within milliseconds,
    on loopback, on a port of its own, so tests may run side by side.

    :raises ModuleNotFoundError: on Airflow 2.11 without the extra ``localhub``, which the message names.
    """
    from airflow_provider_oxen.localhub import HubSettings, LocalHub

    with LocalHub(HubSettings()) as hub:
        yield hub


@pytest.fixture
def oxen_conn_id() -> str:
    """Id of the connection that :func:`oxen_connection` makes. Redefine this fixture for another id."""
    return "oxen_default"


@pytest.fixture
def oxen_connection(oxen_local_hub: LocalHub, oxen_conn_id: str, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The Airflow connection to the local hub, in the environment while the test runs.

    It takes precedence over a connection with the same id in Airflow's database, so no test reaches the real
    hub through it.

    :return: the hub.
    """
    connection = {"conn_type": "oxen", "host": oxen_local_hub.url, "password": oxen_local_hub.key}
    monkeypatch.setenv(f"AIRFLOW_CONN_{oxen_conn_id.upper()}", json.dumps(connection))
    return oxen_local_hub
