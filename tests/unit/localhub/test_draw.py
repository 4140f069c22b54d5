from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from airflow_provider_oxen.localhub.draw import _font, _plain, _wrap, draw
from airflow_provider_oxen.localhub.picture import Picture

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)


def pixels(picture: Picture) -> bytes:
    return Image.open(io.BytesIO(draw(picture))).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_same_picture_has_the_same_bytes_in_the_size_and_format_asked_for(kind):
    picture = replace(PICTURE, format=kind)
    content = draw(picture)
    draw.cache_clear()
    assert draw(picture) == content
    image = Image.open(io.BytesIO(content))
    image.load()
    assert (image.format, image.size) == (kind, (64, 48))


@pytest.mark.parametrize(
    "other", [{"model": "qwen-image"}, {"prompt": "A blue cube"}, {"seed": 43}, {"index": 1}, {"width": 65}]
)
def test_another_picture_has_other_bytes(other):
    assert draw(replace(PICTURE, **other)) != draw(PICTURE)


def test_quality_tells():
    fine, coarse = (draw(replace(PICTURE, format="JPEG", quality=quality)) for quality in (95, 5))
    assert len(fine) > len(coarse)


def test_text_is_written_in_white_on_a_dark_panel_below_and_nowhere_else():
    image = Image.open(io.BytesIO(draw(replace(PICTURE, width=400, height=300)))).convert("L")
    panel, landscape = (image.crop((0, top, 400, bottom)).tobytes() for top, bottom in ((210, 300), (0, 60)))
    assert sum(level > 240 for level in panel) > 300
    assert sum(level < 90 for level in panel) > len(panel) / 2
    assert sum(level < 90 for level in landscape) < len(landscape) / 2


def test_prompt_is_what_is_written():
    """The landscape of another prompt differs anyway, so the writing is compared by itself."""
    written = [
        _wrap(prompt, _font(12), 200, 2) for prompt in ("A red cube", "A red cube on a white wall " * 9)
    ]
    assert written[0] == ["A red cube"]
    assert len(written[1]) == 2
    assert written[1][0].startswith("A red cube on a white wall")
    assert written[1][1].endswith("…")
    assert _plain("Füchse · 家 \ud800") == "Fuchse ? ? ?"


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (4096, 1), (1, 300)])
def test_smallest_sizes_can_be_drawn(size):
    picture = replace(PICTURE, width=size[0], height=size[1])
    assert Image.open(io.BytesIO(draw(picture))).size == size


@pytest.mark.parametrize(
    "prompt", ["word " * 500, "w" * 5000, "\ud800 half a surrogate pair", "дом 家 🏠", "two\nlines"]
)
def test_any_prompt_can_be_written(prompt):
    assert len(pixels(replace(PICTURE, prompt=prompt))) == 64 * 48 * 3
