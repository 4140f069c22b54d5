"""A link in a record is read by those who have the connection's key, and by nobody else."""

from __future__ import annotations

import json

import pytest

from airflow_provider_oxen.jobs.record import _is_item
from airflow_provider_oxen.jobs.sealed import _fernet, seal, unseal

LINK = "https://hub.example/images/ünï.png?signature=word"


def test_sealed_link_is_plain_json_and_gives_nothing_away():
    item = seal(LINK, "a key")

    assert unseal(json.loads(json.dumps(item)), "a key") == LINK
    assert "hub.example" not in json.dumps(item)


@pytest.mark.parametrize("key", ["another key", None])
def test_who_has_another_key_reads_nothing(key):
    assert unseal(seal(LINK, "a key"), key) is None


def test_item_that_somebody_has_made_up_is_none():
    assert unseal({"sealed": "gAAAAABmade-up"}, "a key") is None
    assert unseal({"sealed": "ünï"}, "a key") is None


def test_item_of_an_earlier_version_is_read_as_it_is():
    assert unseal({"url": LINK}, "a key") == LINK
    assert unseal({"b64_json": True}, "a key") is None


def test_without_a_key_a_link_is_kept_as_it_is():
    assert seal(LINK, None) == {"url": LINK}


@pytest.mark.parametrize("link", [LINK, "https://hub.example/\ud800"])
def test_what_is_paid_for_is_on_record_although_it_cannot_be_sealed(monkeypatch, link):
    def broken(key: bytes) -> None:
        raise ImportError("cryptography is broken")

    monkeypatch.setattr("cryptography.fernet.Fernet", broken)
    _fernet.cache_clear()

    assert seal(link, "a key") == {"url": link}
    assert unseal({"url": link}, "a key") == link


def test_longest_link_is_one_that_a_record_may_hold():
    assert _is_item(seal("https://hub.example/" + "x" * 16_000, "a key"))
