from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import pytest

KLEIN = "black-forest-labs-flux-2-klein-4b"


def test_file_needs_no_key_and_is_what_the_ledger_says(hub, url, stranger):
    answer = stranger.get(url)
    [paid] = hub.ledger()
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == paid["sha256"]
    assert answer.headers["content-type"] == paid["media_type"] == "image/webp"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_url_is_on_the_hub_and_always_ends_in_png(hub, generate):
    url = urlsplit(generate(model=KLEIN, output_format="jpg").json()["images"][0]["url"])
    assert f"{url.scheme}://{url.netloc}" == hub.url
    assert url.path.startswith("/api/repos/local-user/generated/files/")
    assert url.path.endswith("/image.png")


def test_url_expires(hub, url, stranger):
    hub.settings.clock_ahead += 590
    assert stranger.get(url).status_code == 200
    hub.settings.clock_ahead += 20
    answer = stranger.get(url)
    assert answer.status_code == 403
    assert answer.json()["error"]["detail"] == "The URL has expired."


@pytest.mark.parametrize("ttl", [0, -1])
def test_url_can_be_born_expired(hub, generate, stranger, ttl):
    hub.settings.url_ttl = ttl
    assert stranger.get(generate().json()["images"][0]["url"]).status_code == 403


def test_url_without_its_signature_does_not_work_even_with_the_key(client, url):
    answer = client.get(urlsplit(url).path)
    assert answer.status_code == 403
    assert answer.json()["error"]["detail"] == "The URL's signature is missing or wrong."


def test_files_may_need_the_key_too(hub, url, client, stranger):
    hub.settings.files_need_key = True
    assert stranger.get(url).status_code == 401
    assert stranger.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get(url).status_code == 200


def test_file_of_before_the_reset_is_gone(hub, url, stranger):
    hub.reset()
    assert stranger.get(url).status_code == 404
