"""A local hub in a process of its own that costs next to no CPU: it shares the cores with what is
measured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import httpx
from surroundings import ROOT, local_hub

__all__ = ["ROOT", "Hub", "quiet_hub"]

_READY_MADE = {"ready_made": True, "default_size": [256, 256]}


class Hub:
    """A running hub, as the processes beside it see it.

    :ivar url: its origin.
    :ivar key: the API key.
    :ivar connection: the environment variable that holds the Airflow connection to it.
    :ivar environment: of a process that uses that connection.
    """

    def __init__(self, connection: dict[str, str], settings: dict[str, Any]) -> None:
        fields = json.loads(connection["AIRFLOW_CONN_OXEN_DEFAULT"])
        self.url: str = fields["host"]
        self.key: str = fields["password"]
        self.connection = connection
        self.environment = {**os.environ, **connection, "PYTHONWARNINGS": "ignore"}
        self._settings = settings
        self.reset()

    def reset(self, **settings: Any) -> None:
        """Forget all that was asked and paid, and take the first settings and these."""
        self._ask("POST", "reset")
        self._ask("PATCH", "settings", {**self._settings, **settings})

    def requests(self) -> list[dict[str, Any]]:
        """Return every request since the last reset."""
        return list(self._ask("GET", "requests"))

    def billed(self) -> int:
        """Return how many images were paid for since the last reset."""
        return len(self._ask("GET", "ledger"))

    def _ask(self, method: str, name: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.url}/_local/{name}", json=body, timeout=120)
        return answer.raise_for_status().json()


@contextmanager
def quiet_hub(**settings: Any) -> Iterator[Hub]:
    """Serve ready-made 256 x 256 JPEGs with these settings."""
    with local_hub() as connection:
        yield Hub(connection, {**_READY_MADE, **settings})
