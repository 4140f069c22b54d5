"""Airflow's REST API, as a person in the web interface uses it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE = 120.0
"""Seconds that Airflow may take to come up, on a machine that others use too."""


class Rest:
    """Airflow's API server where everybody is an administrator.

    :param url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask until there is an answer: the server may not be up, or a Dag not be parsed yet.

        :param path: below ``/api/v2``.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                token = self.send("GET", "/auth/token")["access_token"]
                return self.send(method, f"/api/v2{path}", body, authorization=f"Bearer {token}")
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def unpause(self, dag_id: str) -> None:
        """Let a Dag run that is held back."""
        self.ask("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Ask once.

        :raises urllib.error.URLError: where the server is not up, or answers an error.
        """
        headers["content-type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")
