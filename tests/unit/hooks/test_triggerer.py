"""Whether a triggerer runs: told where Airflow can say so, and never guessed."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat import version_compat

from airflow_provider_oxen.hooks import triggerer
from airflow_provider_oxen.hooks.triggerer import Triggerer, find_triggerer, warn_of_no_triggerer

SEEN = "2026-01-01T00:00:00+00:00"


def health(status: Any, seen: Any = SEEN, database: str = "healthy") -> dict[str, Any]:
    told = {"status": status, "latest_triggerer_heartbeat": seen}
    return {"metadatabase": {"status": database}, "triggerer": told}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have Airflow's API server answer with a page for monitoring."""
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    answer: dict[str, Any] = {"status": 200, "parts": []}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"] if self.path == "/af/api/v2/monitor/health" else 404)
            self.end_headers()
            for part in answer["parts"]:
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    def serve(*parts: bytes, status: int = 200) -> None:
        answer.update(status=status, parts=parts)

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{server.server_port}/af/execution/"
        )
        yield serve
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (health("healthy"), Triggerer(True, SEEN)),
        (health("unhealthy"), Triggerer(False, SEEN)),
        (health(None, None), Triggerer(False, None)),
        # What its database did not say is not known.
        (health("unhealthy", database="unhealthy"), None),
        (health("sleepy"), None),
        ({"metadatabase": {"status": "healthy"}}, None),
        ({"triggerer": {}}, None),
        ([], None),
    ],
)
def test_api_server_is_asked(page, told, found):
    page(json.dumps(told).encode())

    assert find_triggerer(None) == found


def test_page_that_is_none_tells_nothing(page):
    page(b"<html>")
    assert find_triggerer(None) is None
    page(json.dumps(health("unhealthy")).encode(), status=404)
    assert find_triggerer(None) is None
    page(b" " * 100_000, json.dumps(health("unhealthy")).encode())
    assert find_triggerer(None) is None


def test_page_that_comes_late_tells_nothing(page, monkeypatch):
    page(json.dumps(health("unhealthy")).encode())
    moments = iter([0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr(triggerer, "time", SimpleNamespace(monotonic=lambda: next(moments, time.monotonic())))

    assert find_triggerer(None) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/execution/", "in-process://x", "/execution/"])
def test_server_that_cannot_be_asked_tells_nothing(monkeypatch, url):
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)

    assert find_triggerer(None) is None


@pytest.mark.parametrize(("job", "found"), [(7, Triggerer(False, None)), (None, None)])
def test_task_of_airflow_2_asks_the_database(monkeypatch, job, found):
    module: Any = ModuleType("airflow.api.common.airflow_health")
    module.get_airflow_health = lambda: health(None, None)
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", False)

    assert find_triggerer(SimpleNamespace(job_id=job)) == found


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (health("healthy"), []),
        (health("unhealthy"), [f"the last one was seen at {SEEN}"]),
        (health(None, None), ["none was ever seen"]),
        ([], []),
    ],
)
def test_task_warns_before_it_is_deferred(page, caplog, told, said):
    page(json.dumps(told).encode())

    warn_of_no_triggerer(None, logging.getLogger("task"))

    assert [record.getMessage() for record in caplog.records if record.name == "task"] == [
        f"No triggerer is running ({why}). This task stays deferred until one starts: run airflow triggerer."
        for why in said
    ]
