"""The environment's proxies are used, never for this machine, and what is odd in it is named."""

from __future__ import annotations

import os

import httpx
import pytest

from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.proxies import read_proxies

from .test_addresses import HERE

PROXY = "http://user:secret@proxy.example:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def way(url: str, proxy: str | None = None) -> str | None:
    return read_proxies(proxy).scheme_for(httpx.URL(url))


def problem(proxy: str | None = None) -> str:
    with pytest.raises(OxenSettingsError) as caught:
        read_proxies(proxy)
    assert "secret" not in f"{caught.value} {caught.value.__dict__}"
    return caught.value.message


def test_without_variables_all_goes_straight():
    assert way("https://hub.oxen.ai") is None


@pytest.mark.parametrize("host", [host for host in HERE if host not in ("::1%lo", "0177.0.0.1")])
@pytest.mark.parametrize("proxy", [None, PROXY], ids=["environment", "connection"])
def test_this_machine_is_never_asked_by_proxy(monkeypatch, proxy, host):
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, PROXY)
    authority = f"[{host.strip('[]')}]:8000" if ":" in host else f"{host}:8000"

    assert way(f"http://{authority}/api", proxy) is None
    assert way(f"https://{authority}/api", proxy) is None


def test_scheme_has_its_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")

    proxies = read_proxies(None)
    assert proxies.scheme_for(httpx.URL("https://hub.oxen.ai")) == "https"
    assert proxies.scheme_for(httpx.URL("http://hub.oxen.ai")) is None
    assert str(proxies.by_scheme["https"].url) == "http://proxy.example:3128"

    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert way("http://hub.oxen.ai") == "all"


def test_connections_own_proxy_is_for_all_and_asks_no_environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "[::1]")

    assert way("http://hub.oxen.ai", PROXY) == "all"


@pytest.mark.parametrize(
    ("entry", "covered", "others"),
    [
        ("oxen.ai", "https://hub.oxen.ai", "https://hub.taxen.ai"),
        ("oxen.ai", "https://OXEN.ai.", "https://oxen.ai.example"),
        (".oxen.ai", "https://hub.oxen.ai", "https://oxen.ai"),
        ("*.oxen.ai", "https://hub.oxen.ai", "https://oxen.ai"),
        ("other.example, oxen.ai:8443", "https://oxen.ai:8443", "https://oxen.ai"),
        ("oxen.ai:443", "https://oxen.ai", "http://oxen.ai"),
        ("10.0.0.7", "https://10.0.0.7", "https://10.0.0.8"),
        ("10.0.0.7:8443", "https://10.0.0.7:8443", "https://10.0.0.7"),
        ("10.0.0.0/8", "https://10.9.8.7", "https://11.0.0.1"),
        ("10.0.0.0/8", "https://10.9.8.7", "https://ten.example"),
        ("2001:db8::1", "https://[2001:db8:0::1]", "https://[2001:db8::2]"),
        ("http://oxen.ai", "http://oxen.ai", "https://oxen.ai"),
        ("all://10.0.0.7", "http://10.0.0.7", "https://10.0.0.8"),
        ("*", "http://oxen.ai", None),
    ],
)
def test_exceptions_go_straight(monkeypatch, entry, covered, others):
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", f" {entry},")

    assert way(covered) is None
    assert others is None or way(others) is not None


@pytest.mark.parametrize(
    "entry",
    [
        "[::1]",
        "fd00::/8",
        "[::1]:80",
        "fd00::/8]",
        "10.0.0.0/40",
        "a b/c",
        "user:secret@host",
        "https://",
        "x?y",
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_odd_exception_is_an_error_that_names_the_variable(monkeypatch, name, entry):
    monkeypatch.setenv(name, f"localhost,{entry}")

    assert problem().startswith(f"The environment variable {name} holds ")


@pytest.mark.parametrize(
    "value",
    ["socks://secret.example:1", "ftp://secret@x", "http://", "http://[::1", "http://x:99999", "://secret"],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_odd_proxy_is_an_error_that_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert problem().startswith(f"The environment variable {name} ")


def test_kind_of_a_proxy_that_is_not_known_is_named(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks://secret.example:1")

    assert "names a proxy of the kind 'socks', which is not known" in problem()


def test_socks_needs_a_package(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@proxy.example:1080")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "the package socksio" in problem()

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert way("https://hub.oxen.ai") == "all"


def test_odd_proxy_of_the_connection_is_named_as_such():
    assert problem("http://proxy.example:99999").startswith("The connection's extra proxy holds")
