"""Images come from anywhere public; from nearer addresses only where the hub itself is, or by leave."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import certifi
import httpcore
import httpx
import pytest

from airflow_provider_oxen.api import streams
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.errors import OxenDownloadError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import fetch

from .conftest import KEY, leaks_nothing
from .resolving import resolve_by

PUBLIC, INTERNAL = "https://hub.example", "https://hub.internal"

TABLE = {
    "hub.example": ["93.184.216.34"],
    "hub.internal": ["10.1.1.1"],
    "files.example": ["93.184.216.35", "2606:4700::1"],
    "files.internal": ["10.2.2.2"],
    "mixed.example": ["10.2.2.2", "93.184.216.35"],
    "here.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "nat.example": ["64:ff9b::a9fe:a9fe"],
    "carrier.example": ["100.100.100.200"],
    "nowhere.example": ["0.0.0.0"],
    "many.example": ["224.0.0.1"],
}


@pytest.fixture(autouse=True)
def names(monkeypatch) -> list[str]:
    """Resolve names by a table; return those that were asked for."""
    asked: list[str] = []
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)

    def answer(host: str) -> list[str]:
        asked.append(host)
        return TABLE[host]

    resolve_by(monkeypatch, answer)
    return asked


@pytest.fixture
def connections(monkeypatch) -> list[str]:
    """Connect to nobody; return the addresses that would have been connected to."""
    made: list[str] = []

    def connect(self: Any, host: str, *rest: Any) -> Any:
        made.append(host)
        raise httpcore.ConnectError("nobody there")

    async def aconnect(address: str, port: int) -> Any:
        connect(None, address)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    monkeypatch.setattr(streams.AsyncStream, "to", aconnect)
    return made


def fetched(link: str, hub: str = PUBLIC, **fields: Any) -> OxenDownloadError:
    """Return the error of a fetch, which ends one way or the other: nobody is there."""
    with (
        Client(Settings(hub, KEY, **fields), sleep=lambda seconds: None) as client,
        pytest.raises(OxenDownloadError) as caught,
    ):
        fetch.from_url(client, link)
    leaks_nothing(caught.value)
    assert caught.value.spent == "yes"
    with pytest.raises(OxenDownloadError) as again:
        asyncio.run(fetched_on_a_loop(link, hub, **fields))
    assert str(again.value) == str(caught.value)
    return caught.value


async def fetched_on_a_loop(link: str, hub: str, **fields: Any) -> None:
    async def no_sleep(seconds: float) -> None:
        pass

    async with AsyncClient(Settings(hub, KEY, **fields), sleep=no_sleep) as client:
        await fetch.afrom_url(client, link)


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("https://files.example/i.png", ["93.184.216.35", "2606:4700::1"]),
        ("https://mixed.example/i.png", ["93.184.216.35"]),
        ("https://8.8.8.8/i.png", ["8.8.8.8"]),
        ("https://[64:ff9b::808:808]/i.png", ["64:ff9b::808:808"]),
    ],
)
def test_public_hosts_are_asked(connections, link, to):
    assert "ConnectError" in str(fetched(link))
    assert connections[: len(to)] == to
    assert set(connections) == set(to)


REFUSED = {
    "https://files.internal/i.png": "a private",
    "https://here.example/i.png": "a loopback",
    "https://metadata.example/i.png": "a link-local",
    "https://mapped.example/i.png": "a link-local",
    "https://nat.example/i.png": "a link-local",
    "https://carrier.example/i.png": "a carrier-grade NAT",
    "https://nowhere.example/i.png": "an unspecified",
    "https://many.example/i.png": "a multicast",
    "https://10.0.0.7/i.png": "a private",
    "https://127.0.0.1/i.png": "a loopback",
    "https://2130706433/i.png": "a loopback",
    "https://[::1]/i.png": "a loopback",
    "https://localhost:8080/i.png": "a loopback",
    "https://hub.localhost./i.png": "a loopback",
    "https://169.254.169.254/latest/meta-data": "a link-local",
    "https://[::ffff:169.254.169.254]/": "a link-local",
    "https://[fd00:ec2::254]/": "a private",
}


@pytest.mark.parametrize("link", REFUSED)
def test_nearer_hosts_are_not_asked(connections, link):
    error = fetched(link)

    assert f"leads to {REFUSED[link]} address" in str(error)
    assert "allow_private_links to true and clear" in str(error)
    assert "without paying again" in str(error)
    assert (error.passing, error.not_yet) == (False, False)
    assert connections == []


@pytest.mark.parametrize("link", REFUSED)
def test_nearer_hosts_are_asked_by_leave(monkeypatch, connections, link):
    monkeypatch.setitem(TABLE, "localhost", ["127.0.0.1"])
    monkeypatch.setitem(TABLE, "hub.localhost.", ["127.0.0.1"])
    monkeypatch.setitem(TABLE, "2130706433", ["127.0.0.1"])

    assert "ConnectError" in str(fetched(link, allow_private_links=True))
    assert connections


@pytest.mark.parametrize(
    ("hub", "link", "is_asked"),
    [
        (INTERNAL, "https://files.internal/i.png", True),
        (INTERNAL, "https://192.168.0.1/i.png", True),
        (INTERNAL, "https://metadata.example/i.png", False),
        (INTERNAL, "https://here.example/i.png", False),
        ("https://10.1.1.1", "https://files.internal/i.png", True),
        ("https://127.0.0.1", "https://here.example/i.png", True),
        ("https://127.0.0.1", "https://nowhere.example/i.png", True),
        ("https://localhost", "https://[::1]/i.png", True),
        ("https://127.0.0.1", "https://files.internal/i.png", False),
        ("https://unknown.example", "https://files.internal/i.png", False),
    ],
)
def test_where_the_hub_is_images_may_be(connections, hub, link, is_asked):
    assert ("ConnectError" in str(fetched(link, hub))) is is_asked
    assert bool(connections) is is_asked


def test_hub_itself_may_always_be_asked(connections, names):
    fetched(f"{INTERNAL}/i.png", INTERNAL)

    assert set(connections) == {"10.1.1.1"}


def test_redirect_is_judged_as_any_link(connections):
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"location": "https://169.254.169.254/latest"})

    client = Client(Settings(PUBLIC, KEY), transport=httpx.MockTransport(answer))
    with pytest.raises(OxenDownloadError, match="leads to a link-local address"):
        fetch.from_url(client, "https://files.example/i.png")

    assert asked == ["https://files.example/i.png"]


def test_name_is_resolved_once_and_what_was_judged_is_connected_to(monkeypatch, connections, names):
    """A name that answers another address the second time gains nothing."""
    answers = iter([["93.184.216.35"], ["127.0.0.1"]] * 20)

    def answer(host: str) -> list[str]:
        names.append(host)
        return next(answers)

    resolve_by(monkeypatch, answer)
    with pytest.raises(httpx.ConnectError), Client(Settings(PUBLIC, KEY)) as client:
        client.http.get("https://files.example/i.png")

    assert (connections, names) == (["93.184.216.35"], ["files.example"])


def test_name_goes_along_to_the_address(monkeypatch, loopback, certificate):
    monkeypatch.setitem(TABLE, "hub.example", ["127.0.0.1"])
    with loopback(certificate) as server:
        url = f"{PUBLIC}:{server.server_port}"
        with Client(Settings(url, KEY, verify=certificate)) as client:
            response = client.http.get(f"{url}/i.png")

    assert response.request.headers["host"] == f"hub.example:{server.server_port}"
    assert server.asked == ["GET /i.png HTTP/1.1"]


@pytest.mark.parametrize(
    ("link", "is_asked"),
    [
        ("http://files.internal/i.png", True),
        ("http://8.8.8.8/i.png", True),
        ("http://10.0.0.7/i.png", False),
        ("http://169.254.169.254/latest", False),
        ("http://127.0.0.1:9/i.png", False),
    ],
)
def test_behind_a_proxy_only_addresses_are_judged(loopback, names, link, is_asked):
    with loopback() as proxy:
        settings = Settings("http://hub.internal", KEY, proxy=proxy.url, allow_http=True)
        with Client(settings) as client:
            if is_asked:
                fetch.from_url(client, link).close()
            else:
                with pytest.raises(OxenDownloadError, match="leads to a"):
                    fetch.from_url(client, link)

    assert proxy.asked == ([f"GET {link} HTTP/1.1"] if is_asked else [])
    assert names == []


def test_key_in_a_hosts_name_is_not_repeated(monkeypatch, connections):
    monkeypatch.setitem(TABLE, f"{KEY}.example", ["10.0.0.1"])

    assert "leads to a private address (***.example)" in str(fetched(f"https://{KEY}.example/i.png"))


def refused_certificate(server: Any, **fields: Any) -> str:
    client = Client(Settings("https://127.0.0.1", KEY, **fields), sleep=lambda seconds: None)
    with client, pytest.raises(OxenDownloadError) as caught:
        fetch.from_url(client, f"{server.url}/i.png")
    return caught.value.message


def test_bundle_of_the_connection_is_named_where_it_does_not_know_the_images_host(
    monkeypatch, tmp_path, loopback, certificate
):
    other = tmp_path / "corp.pem"
    shutil.copy(certifi.where(), other)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with loopback(certificate) as server:
        assert (
            "is not trusted: self-signed certificate. Trusted certificates are set by the connection's extra "
            f"verify ({other}), for that host as for the hub: use a bundle that holds the public roots"
        ) in refused_certificate(server, verify=str(other))
        assert refused_certificate(server).endswith("is not trusted: self-signed certificate.")
