"""Whether a triggerer runs: told where Airflow can say so, and never guessed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import ssl
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
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    # On a busy machine, the answer may take longer than a task waits for it.
    monkeypatch.setattr(triggerer, "_PATIENCE", 60.0)
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

    def serve(*parts: bytes, status: int = 200, certificate: str | None = None) -> None:
        answer.update(status=status, parts=parts)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            url = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].replace("http://", "https://")
            monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)

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


@pytest.fixture
def drip() -> Iterator[str]:
    """A server that sends a header's bytes one by one, for ten seconds; each comes in time."""
    ended = threading.Event()

    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.flush_headers()
            end = time.monotonic() + 10
            with contextlib.suppress(OSError):
                while not ended.wait(0.02) and time.monotonic() < end:
                    self.wfile.write(b"X")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/execution/"
        ended.set()
        server.shutdown()
        thread.join()


def test_page_that_comes_byte_by_byte_holds_up_nothing(monkeypatch, drip):
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", drip)
    monkeypatch.setattr(triggerer, "_PATIENCE", 0.1)
    began = time.monotonic()

    assert find_triggerer(None) is None
    assert time.monotonic() - began < 5


def test_name_that_is_looked_up_for_long_holds_up_nothing(monkeypatch):
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://airflow.example/execution/")
    monkeypatch.setattr(triggerer, "_PATIENCE", 0.1)
    found = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found.wait(10) and [])
    began = time.monotonic()

    assert find_triggerer(None) is None
    assert time.monotonic() - began < 5
    found.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/execution/", "in-process://x", "/execution/"])
def test_server_that_cannot_be_asked_tells_nothing(monkeypatch, url):
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)

    assert find_triggerer(None) is None


@pytest.mark.parametrize(
    ("server", "base", "asked"),
    [
        ("https://in.example/af/execution/", "https://out.example", "https://in.example/af"),
        (None, "https://out.example/af/", "https://out.example/af"),
        # As Airflow's executors read it.
        (None, "/af", "http://localhost:8080/af"),
        (None, "", "http://localhost:8080"),
    ],
)
def test_server_is_the_one_that_tasks_use(monkeypatch, server, base, asked):
    monkeypatch.setattr(version_compat, "AIRFLOW_V_3_0_PLUS", True)
    if server:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", server)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    urls: list[str] = []
    monkeypatch.setattr(triggerer, "_fetch", urls.append)

    find_triggerer(None)

    assert urls == [f"{asked}/api/v2/monitor/health"]


@pytest.mark.parametrize("name", ["AIRFLOW__API__SSL_CERT", "AIRFLOW__API__SSL_CA_FILE", "SSL_CERT_FILE"])
def test_private_certificate_of_the_api_server_is_trusted(page, monkeypatch, certificate, name):
    page(json.dumps(health("unhealthy")).encode(), certificate=certificate)
    assert find_triggerer(None) is None

    monkeypatch.setenv(name, certificate)
    assert find_triggerer(None) == Triggerer(False, SEEN)


def test_proxy_of_the_environment_is_used(page, monkeypatch):
    page(json.dumps(health("unhealthy")).encode())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert find_triggerer(None) is None

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert find_triggerer(None) == Triggerer(False, SEEN)


@pytest.mark.parametrize("status", [200, 302, 500])
def test_password_in_the_address_is_not_logged(page, monkeypatch, caplog, status):
    page(json.dumps(health("unhealthy")).encode(), status=status)
    url = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url.replace("//", "//user:pass-word@"))

    warn_of_no_triggerer(None, logging.getLogger("task"))

    assert ("No triggerer" in caplog.text) == (status == 200)
    assert "pass-word" not in caplog.text
    assert "user" not in caplog.text


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
