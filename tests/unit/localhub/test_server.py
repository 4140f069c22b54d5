from __future__ import annotations

import gc
import logging
import os
import socket
import statistics
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub, server


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "::1", ""])
def test_no_host_but_loopback(host):
    with pytest.raises(ValueError, match=r"runs on loopback \(127.0.0.1\) only, not on"):
        LocalHub(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_by_any_name(host):
    with LocalHub(host=host) as hub:
        assert hub.url.startswith(f"http://{host}:")
        assert httpx.get(f"{hub.url}/api/ai/models").status_code == 200


def test_taken_port_is_an_error_that_leaks_nothing(hub):
    with pytest.raises(OSError, match="in use"):
        LocalHub(port=int(hub.url.rpartition(":")[2])).start()
    gc.collect()


def test_hub_can_be_closed_twice_and_started_again_with_what_it_knew():
    hub = LocalHub(HubSettings(key="sesame"))
    hub.close()
    with hub:
        url = hub.url
        body = {"model": "z-image-turbo", "prompt": "x"}
        headers = {"Authorization": f"Bearer {hub.key}"}
        assert httpx.post(f"{url}/api/images/generate", json=body, headers=headers).status_code == 200
        hub.close()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    with hub:
        assert hub.url == url
        assert len(hub.ledger()) == 1


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


def test_hub_is_down_between_stop_and_start(hub, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        with pytest.raises(httpx.ConnectError):
            httpx.get(hub.url)

    monkeypatch.setattr(server.time, "sleep", wait)
    hub.restart(down=3.5)
    assert waits == [3.5]
    assert httpx.get(f"{hub.url}/api/ai/models").status_code == 200


def test_settings_given_are_the_ones_in_use():
    settings = HubSettings(authorize=False)
    with LocalHub(settings) as hub:
        assert hub.settings is settings
        assert httpx.get(f"{hub.url}/api/authorize").status_code == 404


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


def test_closing_ends_what_is_held_back(hub, generate):
    hub.fail(Fault("hold", seconds=600))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(generate)
        while not hub.ledger():
            pass
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


def test_answers_on_a_kept_connection_do_not_wait_for_the_network(client):
    """Without TCP_NODELAY they take 40 ms each, after the first few."""
    seconds = [client.get("/api/ai/queue").elapsed.total_seconds() for _ in range(21)]
    assert statistics.median(seconds) < 0.03
