"""A new user's first minute: a connection through the form, and the Test button."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from playwright.sync_api import expect

from airflow_provider_oxen.localhub import LocalHub
from airflow_provider_oxen.provider_info import CONNECTION_TYPE

from .conftest import KEY
from .pages import ConnectionForm, Web
from .pictures import take
from .site import Site

FIELDS = CONNECTION_TYPE["conn-fields"]

WRONG_KEY = "The hub was reached, but the API key (the password field) is missing or wrong."


@pytest.fixture
def form(web: Web) -> ConnectionForm:
    return ConnectionForm(web)


@pytest.fixture
def saved(form: ConnectionForm, hub: LocalHub, site: Site) -> Iterator[Callable[..., str]]:
    """Add a connection to the hub through the form, and return its id; it goes with the test."""
    made: list[str] = []

    def saved(key: str = KEY) -> str:
        address = urlsplit(hub.url)
        form.add("oxen_shop", "Oxen.ai")
        form.standard("Hub").fill(f"http://{address.hostname}")
        form.standard("API key").fill(key)
        form.standard("Port").fill(str(address.port))
        form.section("Extra Fields")
        form.extra("target_namespace").fill("local-org")
        form.extra("timeout").fill("60")
        form.save()
        made.append("oxen_shop")
        return made[-1]

    yield saved
    for conn_id in made:
        site.ask("DELETE", f"/api/v2/connections/{conn_id}")


def test_form_says_what_to_fill_in(form):
    form.add("oxen_default", "Oxen.ai")

    for label, placeholder in {
        "Hub": "https://hub.oxen.ai",
        "API key": "from your Oxen.ai profile",
        "Port": "443",
    }.items():
        expect(form.standard(label)).to_have_attribute("placeholder", placeholder)
    for hidden in ("Login", "Schema"):
        expect(form.standard(hidden)).to_have_count(0)
    # Id and type; the package has a default for everything else.
    expect(form.dialog.get_by_text("*", exact=True)).to_have_count(2)


def test_every_extra_field_has_a_label_and_says_what_empty_means(form):
    form.add("oxen_default", "Oxen.ai")
    form.section("Extra Fields")

    for name, field in FIELDS.items():
        row = form.dialog.get_by_role("group").filter(has_text=field["description"])
        expect(row.get_by_text(field["label"], exact=True)).to_be_visible()
        expect(form.extra(name)).to_be_attached()
        assert "default" in field["schema"] or "Empty: " in field["description"]
    expect(form.dialog.get_by_text("*", exact=True)).to_have_count(2)
    form.web.page.set_viewport_size({"width": 1000, "height": 1400})
    take(form.dialog, "connection-form-extras")


def test_what_is_secret_is_not_shown_while_it_is_typed(form):
    form.add("oxen_default", "Oxen.ai")
    form.section("Extra Fields")
    expect(form.extra("proxy")).to_have_attribute("type", "password")

    form.section("Standard Fields")
    form.standard("API key").fill(KEY)
    expect(form.standard("API key")).to_have_attribute("type", "password")
    form.web.page.set_viewport_size({"width": 1000, "height": 860})
    take(form.dialog, "connection-form")


def test_button_says_whose_key_it_is(form, saved, hub):
    form.web.page.set_viewport_size({"width": 1000, "height": 420})
    form.press_test(saved())

    expect(form.web.notice()).to_contain_text(f"Connected to {hub.url} as local-user.")
    take(form.web.page, "connection-tested")


def test_wrong_key_is_told_in_a_sentence_and_mended(form, saved, hub):
    conn_id = saved("another-key")

    form.press_test(conn_id)
    expect(form.web.notice()).to_contain_text(WRONG_KEY)
    expect(form.web.notice()).not_to_contain_text("another-key")

    form.edit(conn_id)
    form.standard("API key").fill(KEY)
    form.save()
    form.press_test(conn_id)
    expect(form.web.notice()).to_contain_text(f"Connected to {hub.url} as local-user.")


def test_saved_connection_reads_back_without_its_key(form, saved, hub, site):
    conn_id = saved()

    form.edit(conn_id)
    expect(form.standard("Port")).to_have_value(str(urlsplit(hub.url).port))
    expect(form.standard("API key")).to_have_value("***")
    form.standard("Description").fill("Pictures for the shop")
    form.section("Extra Fields")
    expect(form.extra("target_namespace")).to_have_value("local-org")
    expect(form.extra("timeout")).to_have_value("60")
    assert KEY not in form.web.page.content()
    form.save()

    # Saving what the form shows of the key has not replaced it.
    host, key, extra = stored(site, conn_id)
    assert (host, key) == ("http://127.0.0.1", KEY)
    assert {name: value for name, value in json.loads(extra).items() if value is not None} == {
        "api_layout": "auto",
        "target_namespace": "local-org",
        "timeout": 60,
        "allow_http": False,
        "allow_private_links": False,
    }


def stored(site: Site, conn_id: str) -> tuple[str, str, str]:
    """Return what Airflow's database holds, host, key and extra, once it has been deciphered."""
    with closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True, timeout=60)) as database:
        [(host, key, extra)] = database.execute(
            "SELECT host, password, extra FROM connection WHERE conn_id = ?", (conn_id,)
        ).fetchall()
    cipher = Fernet(site.env["AIRFLOW__CORE__FERNET_KEY"])
    return host, cipher.decrypt(key.encode()).decode(), cipher.decrypt(extra.encode()).decode()
