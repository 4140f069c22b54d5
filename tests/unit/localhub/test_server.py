from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub, server
from tests.unit.localhub.conftest import until


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "::1", ""])
def test_no_host_but_loopback(host):
    with pytest.raises(ValueError, match=r"runs on loopback \(127.0.0.1\) only, not on"):
        LocalHub(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_by_any_name(host):
    with LocalHub(host=host) as hub:
        assert hub.url.startswith(f"http://{host}:")
        assert httpx.get(f"{hub.url}/api/ai/models").status_code == 200


@pytest.mark.usefixtures("own_garbage")
def test_taken_port_is_an_error_that_leaks_nothing(hub):
    files = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="in use"):
        LocalHub(port=int(hub.url.rpartition(":")[2])).start()
    gc.collect()
    assert len(os.listdir("/dev/fd")) == files


def test_restart_keeps_the_port_and_all_that_was_known(hub, client, stranger, url, enqueue, look):
    hub.settings.latency = 100
    id, before = enqueue(), hub.url
    hub.restart()
    assert hub.url == before
    assert stranger.get(url).status_code == 200
    assert len(hub.ledger()) == 1
    assert look(id)["status"] == "processing"
    hub.settings.clock_ahead += 101
    assert look(id)["status"] == "succeeded"


def test_hub_can_be_closed_twice_and_started_again():
    hub = LocalHub(HubSettings(key="sesame"))
    hub.close()
    for _ in range(2):
        with hub:
            url = hub.url
            assert httpx.get(f"{url}/api/ai/models").status_code == 200
            hub.close()
            with pytest.raises(httpx.ConnectError):
                httpx.get(url)
    assert hub.url == url


def test_hub_is_down_between_stop_and_start(hub, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        with pytest.raises(httpx.ConnectError):
            httpx.get(hub.url)

    monkeypatch.setattr(time, "sleep", wait)
    hub.restart(down=3.5)
    assert waits == [3.5]
    assert httpx.get(f"{hub.url}/api/ai/models").status_code == 200


def test_settings_given_are_the_ones_in_use():
    settings = HubSettings(authorize=False)
    with LocalHub(settings) as hub:
        assert hub.settings is settings
        assert httpx.get(f"{hub.url}/api/authorize").status_code == 404


@pytest.mark.usefixtures("own_garbage")
def test_closing_leaves_no_thread_and_no_open_file():
    def use() -> None:
        with LocalHub() as hub, httpx.Client(base_url=hub.url) as client:
            client.get("/api/ai/models")
            hub.fail(Fault("drop_before", on="models"))
            with pytest.raises(httpx.TransportError):
                client.get("/api/ai/models")
            # This connection stays open until after the hub is gone.
            assert client.get("/api/ai/models").status_code == 200
            hub.close()

    use()
    files, threads = len(os.listdir("/dev/fd")), threading.active_count()
    use()
    gc.collect()
    assert len(os.listdir("/dev/fd")) == files
    assert threading.active_count() == threads


@pytest.mark.usefixtures("own_garbage")
def test_closing_does_not_wait_for_who_comes_in_the_last_moment():
    """Nor does it leave open what it has accepted by then."""
    files = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with LocalHub() as hub, contextlib.ExitStack() as clients:
            port = int(hub.url.rpartition(":")[2])
            for _ in range(100):
                clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            hub.close()
    gc.collect()
    assert len(os.listdir("/dev/fd")) == files


def test_closing_ends_what_is_held_back(hub, generate):
    hub.fail(Fault("hold", seconds=600))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(generate)
        until(lambda: bool(hub.ledger()))
        hub.close()
        assert answer.result(10).status_code == 200


def test_closing_does_not_wait_for_a_client_that_stopped_reading(hub, url, monkeypatch):
    monkeypatch.setattr(server, "_PATIENCE", 0.05)
    hub.fail(Fault("padded", on="file", bytes=100_000_000))
    port = int(hub.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        target = url.removeprefix(hub.url)
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        hub.close()
    assert "local-hub" not in [thread.name for thread in threading.enumerate()]


def test_nothing_is_logged_but_trouble(caplog):
    caplog.set_level(logging.DEBUG)
    with LocalHub() as hub:
        httpx.get(f"{hub.url}/api/ai/models")
        logging.getLogger("uvicorn.error").info("of another server")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")]
    assert said == ["of another server"]


def test_answers_on_a_kept_connection_do_not_wait_for_the_network(monkeypatch):
    """Without TCP_NODELAY they take 40 ms each, after the first few."""
    seen = []

    class Seen(server._Protocol):
        def connection_made(self, transport):
            sock = transport.get_extra_info("socket")
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().connection_made(transport)

    monkeypatch.setattr(server, "_Protocol", Seen)
    with LocalHub() as hub:
        httpx.get(f"{hub.url}/api/ai/models")
    assert [bool(option) for option in seen] == [True]
