"""The Test button tells what is wrong, for free, at once, and never with the key."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.hooks import connection as checks
from airflow_provider_oxen.localhub import Fault, LocalHub

from .conftest import KEY

WRONG_KEY = "The hub was reached, but the API key (the password field) is missing or wrong."


def check(hub: LocalHub, **fields: Any) -> tuple[bool, str]:
    """Press the button; whatever comes, it cost nothing and does not show the key."""
    settings = Settings(**{"base_url": hub.url, "api_key": KEY, **fields})
    works, text = checks.check(lambda: settings)
    assert hub.ledger() == []
    assert {request["method"] for request in hub.requests()} <= {"GET"}
    assert KEY not in text
    return works, text


@pytest.mark.parametrize("layout", ["auto", "classic", "ai"])
def test_right_key_is_greeted_by_name(hub, layout):
    assert check(hub, api_layout=layout) == (True, f"Connected to {hub.url} as local-user.")


@pytest.mark.parametrize("served", ["classic", "ai"])
def test_either_layout_will_do(hub, served):
    hub.settings.layouts = [served]

    assert check(hub)[0]


@pytest.mark.parametrize(
    ("user", "as_whom"),
    [
        ({"email": "ox@example.com"}, " as ox@example.com"),
        ({"name": "", "email": ""}, ""),
        ({}, ""),
        ({"name": f"user of {KEY}"}, " as user of ***"),
    ],
    ids=["no_name", "empty", "nobody", "echo"],
)
def test_user_is_named_as_far_as_the_hub_does(hub, user, as_whom):
    hub.settings.user = user

    assert check(hub) == (True, f"Connected to {hub.url}{as_whom}.")


@pytest.mark.parametrize("served", range(3))
def test_key_is_proved_by_the_first_route_that_there_is(hub, served):
    routes = ["/api/users/me", "/api/authorize", "/api/ai/queue"][: served + 1]
    hub.settings.users_me, hub.settings.authorize = served < 1, served < 2

    told = " as local-user." if served < 2 else ". The key is accepted."
    assert check(hub) == (True, f"Connected to {hub.url}{told}")
    assert [request["path"] for request in hub.requests()][1:] == routes


@pytest.mark.parametrize("served", range(3))
@pytest.mark.parametrize("key", ["another-key", None], ids=["wrong", "none"])
def test_wrong_key_is_told_as_such(hub, served, key):
    hub.settings.users_me, hub.settings.authorize = served < 1, served < 2

    assert check(hub, api_key=key) == (False, WRONG_KEY)


def test_hub_that_wants_the_key_for_its_catalogue_tells_a_wrong_one_too(hub):
    hub.fail(Fault("status", on="models", status=401))

    assert check(hub, api_key="another-key") == (False, WRONG_KEY)


def test_host_that_does_not_answer_is_told_as_such(hub):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        works, text = check(hub, base_url=nobody)

    assert not works
    assert text.startswith(f"Could not reach {nobody} to list the models: ConnectError: ")


def test_layout_that_the_hub_does_not_serve_is_told_as_such(hub):
    hub.settings.layouts = ["ai"]
    works, text = check(hub, api_layout="classic")

    assert not works
    assert text.startswith("The host was reached, but does not look like the hub in this layout: ")
    assert "api_layout" in text


def test_host_that_serves_neither_layout_is_told_as_such(hub):
    hub.settings.layouts = []
    works, text = check(hub)

    assert not works
    assert f"{hub.url} serves neither /api/evaluations/models nor /api/ai/models." in text


def test_host_that_is_no_hub_is_told_as_such(hub):
    hub.fail(Fault("html", on="models"))

    works, text = check(hub)

    assert not works
    assert text.startswith("The hub answered the request to list the models, but the body is not JSON")


def test_settings_that_cannot_be_read_are_told_as_they_are():
    def broken() -> Settings:
        raise OxenSettingsError("Unknown extra field(s) 'retries'.")

    assert checks.check(broken) == (False, "Unknown extra field(s) 'retries'.")


def test_nobody_waits_for_retries(hub):
    hub.fail(Fault("status", on="models", status=503, times=None))
    works, text = check(hub, max_retries=5)

    assert not works
    assert "does not take requests now" in text
    assert len(hub.requests()) == 1


def test_nobody_waits_for_timeouts_of_minutes(hub, monkeypatch):
    made: list[Settings] = []

    def noted(settings: Settings) -> Client:
        made.append(settings)
        return Client(settings)

    monkeypatch.setattr(checks, "Client", noted)
    check(hub, timeout=300.0, connect_timeout=60.0)

    [settings] = made
    assert (settings.timeout, settings.connect_timeout, settings.max_retries) == (5.0, 5.0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "fd00::/8"),
        ("ALL_PROXY", "socks://proxy.example:1080"),
        ("SSL_CERT_FILE", "{missing}/ca.pem"),
        ("SSL_CERT_DIR", "{missing}"),
    ],
)
def test_odd_environment_is_told_as_such(hub, monkeypatch, tmp_path, name, value):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(name, value.format(missing=tmp_path / "missing"))
    works, text = check(hub)

    assert not works
    assert text.startswith(f"The environment variable {name} ")


def test_all_steps_together_are_limited(hub, monkeypatch):
    monkeypatch.setattr(checks, "_ALL", 0.0)
    works, text = check(hub)

    assert not works
    assert "the deadline has passed" in text
