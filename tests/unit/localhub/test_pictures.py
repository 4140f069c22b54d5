from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import replace

import pytest
from PIL import Image

from airflow_provider_oxen.localhub import HubSettings, jobs
from airflow_provider_oxen.localhub.catalogue import default_catalogue
from airflow_provider_oxen.localhub.pictures import (
    PRESETS,
    Picture,
    draw,
    number_of_images,
    ready_made,
    size,
    written,
)

CATALOGUE = {entry["id"]: entry for entry in default_catalogue()}
KLEIN = CATALOGUE["black-forest-labs-flux-2-klein-4b"]
Z_IMAGE = CATALOGUE["z-image-turbo"]
QWEN = CATALOGUE["qwen-image"]
GPT = CATALOGUE["gpt-image-2"]
DEFAULT = (640, 480)
PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)
READY = replace(PICTURE, format="JPEG", ready_made=0)
OTHERS = [{"model": "qwen-image"}, {"prompt": "A red cube \ud800"}, {"seed": 43}, {"index": 1}]


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    ("entry", "body", "wanted"),
    [
        *[(KLEIN, {"image_size": name}, pixels) for name, pixels in PRESETS.items()],
        (KLEIN, {"image_size": {"width": 300, "height": 200}}, (300, 200)),
        (KLEIN, {"aspect_ratio": "16:9"}, (1024, 576)),
        (KLEIN, {"aspect_ratio": "9:16"}, (576, 1024)),
        (KLEIN, {}, (1024, 1024)),
        (Z_IMAGE, {}, DEFAULT),
        (Z_IMAGE, {"size": "320x200"}, (320, 200)),
        (QWEN, {}, (1024, 768)),
        (GPT, {}, (2048, 1152)),
        (CATALOGUE["nano-banana-2"], {"resolution": "512", "aspect_ratio": "1:1"}, (512, 512)),
        (CATALOGUE["flux-3-image"], {"resolution": "768SQ", "aspect_ratio": "1:1"}, (768, 768)),
        (GPT, {"resolution": "4K", "aspect_ratio": "3:2"}, (4096, 2731)),
        # What cannot be read is as if it were not there; what is too big is cut.
        (Z_IMAGE, {"image_size": "enormous"}, DEFAULT),
        (Z_IMAGE, {"image_size": {"width": "wide"}}, DEFAULT),
        (Z_IMAGE, {"image_size": {"width": 99999, "height": -1}}, (4096, 1)),
    ],
)
def test_size_is_the_one_asked_for(entry, body, wanted):
    assert size(entry, body, DEFAULT) == wanted


@pytest.mark.parametrize(
    ("entry", "body", "media_type", "quality"),
    [
        (KLEIN, {}, "image/jpeg", 80),
        (KLEIN, {"output_format": "png", "output_quality": 200}, "image/png", 100),
        (Z_IMAGE, {"output_quality": "best"}, "image/webp", 80),
        (QWEN, {}, "image/png", 80),
    ],
)
def test_format_is_asked_for_or_the_models_own(entry, body, media_type, quality):
    picture = Picture.of(HubSettings(), entry, {"prompt": "x", **body}, 0, 1)
    assert (picture.media_type, picture.quality) == (media_type, quality)


@pytest.mark.parametrize(
    ("entry", "body", "number"),
    [
        (Z_IMAGE, {}, 1),
        (CATALOGUE["ideogram-v4"], {"num_images": 3}, 3),
        (KLEIN, {"num_images": 3}, 1),
        ({"id": "x", "request_schema": {"properties": {"num_images": {}}}}, {"num_images": "many"}, 1),
    ],
)
def test_number_of_images_is_a_parameter_of_the_models_own(entry, body, number):
    assert number_of_images(entry, body) == number


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_same_picture_has_the_same_bytes_in_the_size_and_format_asked_for(kind):
    picture = replace(PICTURE, format=kind)
    content = draw(picture)
    draw.cache_clear()
    assert draw(picture) == content
    image = decoded(content)
    assert (image.format, image.size) == (kind, (64, 48))


@pytest.mark.parametrize("other", [*OTHERS, {"width": 65}])
def test_another_picture_has_other_bytes(other):
    assert draw(replace(PICTURE, **other)) != draw(PICTURE)


def test_another_prompt_or_seed_shows_another_landscape():
    """Above the writing, which differs anyway."""
    big = replace(PICTURE, width=400, height=300)
    pictures = (big, replace(big, prompt="A blue cube"), replace(big, seed=43))
    tops = {decoded(draw(picture)).crop((0, 0, 400, 60)).tobytes() for picture in pictures}
    assert len(tops) == 3


def test_quality_tells():
    fine, coarse = (draw(replace(PICTURE, format="JPEG", quality=quality)) for quality in (95, 5))
    assert len(fine) > len(coarse)


def test_text_is_written_in_white_on_a_dark_panel_below_and_nowhere_else():
    image = decoded(draw(replace(PICTURE, width=400, height=300))).convert("L")
    panel, landscape = (image.crop((0, top, 400, bottom)).tobytes() for top, bottom in ((210, 300), (0, 60)))
    assert sum(level > 240 for level in panel) > 300
    assert sum(level < 90 for level in panel) > len(panel) / 2
    assert sum(level < 90 for level in landscape) < len(landscape) / 2


def test_prompt_is_what_is_written():
    assert written("A red cube", 30) == ["A red cube"]
    first, second = written("A red cube on a white wall " * 9, 30)
    assert first.startswith("A red cube on a white wall")
    assert second.endswith("…")
    assert written("Füchse · 家 \ud800", 30) == ["Fuchse ? ? ?"]


@pytest.mark.parametrize("pixels", [(1, 1), (4096, 1), (1, 300)])
def test_smallest_sizes_can_be_drawn(pixels):
    assert decoded(draw(replace(PICTURE, width=pixels[0], height=pixels[1]))).size == pixels


@pytest.mark.parametrize(
    "prompt", ["word " * 500, "w" * 5000, "\ud800 half a surrogate pair", "дом 家 🏠", "two\nlines", ""]
)
def test_any_prompt_can_be_drawn(prompt):
    assert decoded(draw(replace(PICTURE, prompt=prompt))).size == (64, 48)


@pytest.mark.parametrize("other", OTHERS)
def test_ready_made_images_differ_in_the_comment_only(other):
    one, again, another = (ready_made(picture) for picture in (READY, READY, replace(READY, **other)))
    assert one == again
    comments = [decoded(content).info["comment"] for content in (one, another)]
    assert one != another
    assert one.replace(*comments) == another


@pytest.mark.parametrize("more", [-1, 0, 1, 5, 65_535, 65_536, 65_537, 65_538, 65_539, 131_074, 1_000_000])
def test_ready_made_image_is_filled_up_and_stays_whole(more):
    small = ready_made(READY)
    least = len(small) + more
    content = ready_made(replace(READY, ready_made=least))
    # What is added comes in segments of at least four bytes, each of one size.
    assert max(least, len(small)) <= len(content) <= least + 20
    assert decoded(content).tobytes() == decoded(small).tobytes()


def test_ready_made_image_has_the_default_size_whatever_is_asked_for():
    settings = HubSettings(ready_made=True, ready_made_bytes=1000, default_size=(99999, 1))
    body = {"prompt": "x", "size": "320x200", "output_format": "png", "output_quality": 5}
    wanted = Picture("z-image-turbo", "x", 1, 0, 4096, 1, "JPEG", 80, 1000)
    assert Picture.of(settings, Z_IMAGE, body, 0, 1) == wanted


@pytest.fixture
def ready_hub(hub, monkeypatch):
    def draw(picture):
        raise AssertionError("something was drawn")

    monkeypatch.setattr(jobs, "draw", draw)
    hub.settings.update({"ready_made": True, "default_size": (24, 16)})
    return hub


def test_hub_draws_nothing_and_its_ledger_tells_what_it_hands_out(ready_hub, generate, stranger):
    linked = generate(output_format="png", size="320x200").json()["images"][0]["url"]
    inline = generate(response_format="b64_json").json()["images"][0]["b64_json"]
    answer = stranger.get(linked)
    for content, paid in zip((answer.content, base64.b64decode(inline)), ready_hub.ledger(), strict=True):
        assert decoded(content).size == (24, 16) == (paid["width"], paid["height"])
        assert hashlib.sha256(content).hexdigest() == paid["sha256"]
        assert paid["media_type"] == answer.headers["content-type"] == "image/jpeg"
    first, second = ready_hub.ledger()
    assert first["sha256"] != second["sha256"]
    assert stranger.get(f"/_local/images/{first['id']}").content == answer.content


def test_queue_hands_out_ready_made_images_too(ready_hub, enqueue, look, stranger):
    ready_hub.settings.ready_made_bytes = 100_000
    content = stranger.get(look(enqueue())["result_url"]).content
    assert decoded(content).size == (24, 16)
    assert len(content) >= 100_000


def test_what_is_set_later_changes_no_image_that_was_paid_for(ready_hub, generate, stranger):
    url = generate().json()["images"][0]["url"]
    before = stranger.get(url).content
    ready_hub.settings.update({"ready_made": False, "ready_made_bytes": 5000, "default_size": (99, 99)})
    assert stranger.get(url).content == before
