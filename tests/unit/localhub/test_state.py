from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_oxen.localhub.state import Links, WorkerSlots

LINKS = Links()
URL = urlsplit(LINKS.make("http://127.0.0.1:1", "acme", "some-id", 1000.9))
QUERY = {name: values[0] for name, values in parse_qs(URL.query).items()}


def test_url_looks_like_the_hubs():
    assert URL.path == "/api/repos/acme/generated/files/some-id/image.png"
    assert set(QUERY) == {"expires", "signature"}


@pytest.mark.parametrize(
    ("change", "now", "problem"),
    [
        ({}, 999, None),
        ({}, 1000, "The URL has expired."),
        ({"expires": "2000"}, 999, "The URL's signature is missing or wrong."),
        ({"signature": "é"}, 999, "The URL's signature is missing or wrong."),
        ({"signature": ""}, 999, "The URL's signature is missing or wrong."),
        ({"expires": ""}, 999, "The URL's signature is missing or wrong."),
    ],
)
def test_url_works_until_it_expires_or_is_touched(change, now, problem):
    assert LINKS.problem("acme", "some-id", {**QUERY, **change}, now) == problem


def test_signature_is_for_one_file_of_one_hub():
    assert LINKS.problem("acme", "other-id", QUERY, 999)
    assert LINKS.problem("other", "some-id", QUERY, 999)
    assert Links().problem("acme", "some-id", QUERY, 999)


def test_a_thousand_calls_of_a_second_at_64_at_a_time_take_16_waves():
    turns = WorkerSlots()
    ends = [turns.take(100.0, 1.0, 64) for _ in range(1000)]
    assert ends == sorted(ends)
    assert [ends.count(wave) for wave in range(1, 17)] == [64] * 15 + [40]


def test_the_next_turn_begins_at_the_end_that_comes_first():
    turns = WorkerSlots()
    turns.take(0.0, 9.0, 2)
    turns.take(0.0, 4.0, 2)
    assert turns.take(1.0, 2.0, 2) == 5.0
    assert turns.take(1.0, 2.0, 2) == 7.0
    assert turns.take(1.0, 2.0, 2) == 9.0
    assert turns.take(1.0, 2.0, 2) == 10.0


@pytest.mark.parametrize(("at_once", "wait"), [(4, 1.0), (3, 2.0), (2, 3.0), (1, 4.0)])
def test_another_limit_holds_from_the_next_call_on(at_once, wait):
    turns = WorkerSlots()
    for seconds in (1.0, 2.0, 3.0):
        turns.take(0.0, seconds, None)
    assert turns.take(0.0, 1.0, at_once) == wait
