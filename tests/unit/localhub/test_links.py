from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_oxen.localhub.links import Links

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
