"""Fixtures for tests of your own Dags: a local hub, and the Airflow connection to it.

pytest finds them wherever the provider is installed. Until a test asks for one, they load nothing.
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
    """A hub on this machine, of this test alone: it draws its images, and takes play money.

    It tells what was asked and paid (``ledger()``, ``spent()``, ``jobs()``, ``requests()``), fails as it is
    told to (``fail()``), and has ``settings`` that may be changed at any time. It starts within milliseconds,
    on loopback, with a port of its own: tests may run side by side.

    :raises ModuleNotFoundError: on Airflow 2.11 without the extra ``localhub``, which the message names.
    """
    from airflow_provider_oxen.localhub import HubSettings, LocalHub

    with LocalHub(HubSettings()) as hub:
        yield hub


@pytest.fixture
def oxen_conn_id() -> str:
    """Id of the connection that :func:`oxen_connection` makes; redefine it for another one."""
    return "oxen_default"


@pytest.fixture
def oxen_connection(oxen_local_hub: LocalHub, oxen_conn_id: str, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The Airflow connection to the local hub, in the environment for as long as the test runs.

    It goes before one of the same id in Airflow's database: no test reaches the real hub by it.

    :return: the hub.
    """
    connection = {"conn_type": "oxen", "host": oxen_local_hub.url, "password": oxen_local_hub.key}
    monkeypatch.setenv(f"AIRFLOW_CONN_{oxen_conn_id.upper()}", json.dumps(connection))
    return oxen_local_hub
