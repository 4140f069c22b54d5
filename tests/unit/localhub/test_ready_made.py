from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import replace

import pytest
from PIL import Image

from airflow_provider_oxen.localhub import ledger
from airflow_provider_oxen.localhub.picture import Picture
from airflow_provider_oxen.localhub.ready_made import ready_made

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 48, 32, "JPEG", 80, 0)


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_image_is_a_whole_jpeg_of_the_size():
    image = decoded(ready_made(PICTURE))
    assert (image.format, image.size) == ("JPEG", (48, 32))
    assert decoded(ready_made(replace(PICTURE, width=16))).size == (16, 32)


@pytest.mark.parametrize(
    "other", [{"model": "qwen-image"}, {"prompt": "A red cube \ud800"}, {"seed": 43}, {"index": 1}]
)
def test_bytes_differ_in_the_comment_only(other):
    one, again, another = (ready_made(picture) for picture in (PICTURE, PICTURE, replace(PICTURE, **other)))
    assert one == again
    comments = [decoded(content).info["comment"] for content in (one, another)]
    assert one != another
    assert one.replace(*comments) == another


@pytest.mark.parametrize("more", [*range(-2, 12), 65_535, 65_536, 65_537, 65_538, 65_539, 131_074, 1_000_000])
def test_image_is_filled_up_and_stays_whole(more):
    small = ready_made(PICTURE)
    least = len(small) + more
    content = ready_made(replace(PICTURE, ready_made=least))
    # What is added comes in segments of at least four bytes, each of one size.
    assert max(least, len(small)) <= len(content) <= least + 20
    assert decoded(content).tobytes() == decoded(small).tobytes()


@pytest.fixture
def hub(hub, monkeypatch):
    def draw(picture):
        raise AssertionError("something was drawn")

    monkeypatch.setattr(ledger, "draw", draw)
    hub.settings.update({"ready_made": True, "default_size": (24, 16)})
    return hub


def test_hub_draws_nothing_and_its_ledger_tells_what_it_hands_out(hub, generate, stranger):
    linked = generate(output_format="png", size="320x200").json()["images"][0]["url"]
    inline = generate(response_format="b64_json").json()["images"][0]["b64_json"]
    answer = stranger.get(linked)
    for content, paid in zip((answer.content, base64.b64decode(inline)), hub.ledger(), strict=True):
        assert decoded(content).size == (24, 16) == (paid["width"], paid["height"])
        assert hashlib.sha256(content).hexdigest() == paid["sha256"]
        assert paid["media_type"] == answer.headers["content-type"] == "image/jpeg"
    assert hub.ledger()[0]["sha256"] != hub.ledger()[1]["sha256"]
    assert stranger.get(f"/_local/images/{hub.ledger()[0]['id']}").content == answer.content


def test_queue_hands_out_ready_made_images_too(hub, enqueue, look, stranger):
    hub.settings.ready_made_bytes = 100_000
    content = stranger.get(look(enqueue())["result_url"]).content
    assert decoded(content).size == (24, 16)
    assert len(content) >= 100_000


def test_what_is_set_later_changes_no_image_that_was_paid_for(hub, generate, stranger):
    url = generate().json()["images"][0]["url"]
    before = stranger.get(url).content
    hub.settings.update({"ready_made": False, "ready_made_bytes": 5000, "default_size": (99, 99)})
    assert stranger.get(url).content == before
