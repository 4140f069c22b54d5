"""The key is found in a request however it came into it, and a short one does not refuse everything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenSettingsError
from airflow_provider_oxen.api.keyless import holds_key, refuse_key
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings

KEY = "keyless-K3y/+that&must=not-leak"

DEEP: Any = KEY
for _ in range(5_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"  {KEY}\n",
        f"a cube ({KEY}) on a table",
        KEY.upper(),
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe=""),
        KEY.replace("&", "&amp;"),
        KEY.replace("/", "\\/"),
        f"{KEY[:5]}\n{KEY[5:]}",
        KEY.encode(),
        Path("/out") / KEY.replace("/", "%2F"),
        {"a": [{"b": (KEY,)}]},
        {KEY: 1},
        {KEY},
        DEEP,
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_key_is_found(value):
    assert holds_key(value, KEY)


@pytest.mark.parametrize("value", ["A red cube", KEY[:-1], None, 5, True, 1.5, "50 % & \\", [], object()])
def test_what_does_not_hold_it_does_not(value):
    assert not holds_key(value, KEY)


def test_key_of_digits_is_found_in_what_native_rendering_makes_of_it():
    assert holds_key({"seed": 1234567890}, "1234567890")
    assert not holds_key({"seed": 10**5000}, "1234567890")


@pytest.mark.parametrize(
    ("text", "held"),
    [("red", True), (" red\n", True), ("%72ed", True), ("A red cube", False), ("Red", False)],
)
def test_short_key_is_found_only_where_it_stands_alone(text, held):
    assert holds_key([text], "red") is held


@pytest.mark.parametrize(
    ("text", "held"),
    [("a cube, sesame", True), ("%73esame", True), ("SESAME", True), ("sesames", False), ("se same", False)],
)
def test_key_that_may_be_a_word_is_found_as_a_word_only(text, held):
    assert holds_key([text], "sesame") is held


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_holds_it(key):
    assert not holds_key("", key)


def test_refusal_names_the_arguments_and_not_the_key():
    refuse_key([])
    with pytest.raises(OxenInvalidRequest, match=r"^Nothing was spent\. prompt, model: holds the API key "):
        refuse_key(["prompt", "model"])


@pytest.mark.parametrize("key", [KEY, "sesame"])
def test_nothing_paid_that_holds_the_key_is_sent_whoever_asks(key):
    asked: list[httpx.Request] = []

    def hub(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(500)

    settings = Settings(api_key=key)
    call = calls.generate(GenerateRequest(model="m", prompt=f"A cube, {key}"))
    with (
        Client(settings, transport=httpx.MockTransport(hub)) as client,
        pytest.raises(OxenInvalidRequest, match="the request: holds the API key"),
    ):
        client.send(call)
    with pytest.raises(OxenInvalidRequest, match="the request: holds the API key"):
        asyncio.run(AsyncClient(settings, transport=httpx.MockTransport(hub)).send(call))

    assert asked == []


def test_setting_that_holds_the_key_is_not_quoted():
    with pytest.raises(OxenSettingsError) as caught:
        Settings.from_fields(
            password="settings-key-not-to-leak", extra={"timeout": "settings-key-not-to-leak"}
        )

    assert "settings-key-not-to-leak" not in str(caught.value)
