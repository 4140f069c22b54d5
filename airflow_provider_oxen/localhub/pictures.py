"""Images: what a request asks for, and the drawing made from it, which is marked as simulated."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import random
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from airflow_provider_oxen.localhub.catalogue import defaults, parameter, properties
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["PRESETS", "Picture", "draw", "number_of_images", "ready_made", "size"]

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""Width and height in pixels, by the preset names of ``image_size``."""

LARGEST = 4096
"""Longest side in pixels, which the real catalogue calls 4K; a larger one is reduced to it."""

_QUALITY = 80
_LONGEST = {"512": 512, "768sq": 768, "1k": 1024, "2k": 2048, "4k": 4096}
_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}

_COMMENT, _FILLER = b"\xff\xfe", b"\xff\xef"
"""Markers of JPEG segments that no decoder looks into: a comment, and application data."""


@dataclass(frozen=True)
class Picture:
    """Everything that determines an image's bytes.

    :ivar index: position among the images of one call, so that they differ.
    :ivar format: Pillow's name of the format.
    :ivar quality: 0 to 100, for formats that have one.
    :ivar ready_made: least size in bytes of an image that is not drawn; None for one that is drawn.
    """

    model: str
    prompt: str
    seed: int
    index: int
    width: int
    height: int
    format: str
    quality: int
    ready_made: int | None = None

    @property
    def media_type(self) -> str:
        return f"image/{self.format.lower()}"

    @property
    def words(self) -> str:
        """The content, without size and format: in another size the same landscape is drawn."""
        return repr((self.model, self.prompt, self.seed, self.index))

    @classmethod
    def of(
        cls,
        settings: HubSettings,
        entry: Mapping[str, Any],
        body: Mapping[str, Any],
        index: int,
        seed: int,
    ) -> Picture:
        """Return the picture that a request to this model asks for."""
        kind, quality = "JPEG", _QUALITY
        least = settings.ready_made_bytes if settings.ready_made else None
        width, height = _within(*settings.default_size)
        if least is None:
            width, height = size(entry, body, settings.default_size)
            kind = _FORMATS.get(str(parameter(entry, body, "output_format")).lower(), "PNG")
            asked = parameter(entry, body, "output_quality")
            quality = min(max(asked, 0), 100) if isinstance(asked, int) else _QUALITY
        prompt = body.get("prompt") or ""
        return cls(entry["id"], prompt, seed, index, width, height, kind, quality, least)


def size(entry: Mapping[str, Any], body: Mapping[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in pixels.

    ``image_size`` counts whatever the model's schema says about it: the request in the hub's first
    documentation needs that. Then come ``size``, ``aspect_ratio``, the schema's own defaults, and the given
    default.
    """
    longest = _LONGEST.get(str(parameter(entry, body, "resolution")).lower(), 1024)
    names = ("image_size", "size", "aspect_ratio")
    asked = (source.get(name) for source in (body, defaults(entry)) for name in names)
    width, height = next(filter(None, (_pixels(value, longest) for value in asked)), default)
    return _within(width, height)


def number_of_images(entry: Mapping[str, Any], body: Mapping[str, Any]) -> int:
    """Return how many images are made, and billed: one, unless a parameter of the model says otherwise."""
    number = parameter(entry, body, "num_images") if "num_images" in properties(entry) else 1
    return number if isinstance(number, int) else 1


def _within(width: int, height: int) -> tuple[int, int]:
    return min(max(width, 1), LARGEST), min(max(height, 1), LARGEST)


def _pixels(value: Any, longest: int) -> tuple[int, int] | None:
    """Read a preset's name, ``"640x480"``, ``"16:9"`` or ``{"width": 640, "height": 480}``."""
    if isinstance(value, Mapping):
        width, height = value.get("width"), value.get("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None
    if match := re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", str(value)):
        return int(match[1]), int(match[2])
    if match := re.fullmatch(r"([1-9][0-9]?):([1-9][0-9]?)", str(value)):
        ratio = int(match[1]) / int(match[2])
        return round(longest * min(1.0, ratio)), round(longest / max(1.0, ratio))
    return PRESETS.get(str(value))


_font = functools.lru_cache(maxsize=64)(ImageFont.load_default)


@functools.lru_cache(maxsize=64)
def draw(picture: Picture) -> bytes:
    """Return the encoded image. Takes some ten milliseconds: do not call it on an event loop."""
    image = _landscape(random.Random(picture.words), picture.width, picture.height)
    _label(image, picture)
    file = io.BytesIO()
    # Each format uses those options that it knows.
    image.save(file, picture.format, quality=picture.quality, compress_level=3, method=1)
    return file.getvalue()


def ready_made(picture: Picture) -> bytes:
    """Return the JPEG for its size, padded as requested, with a comment that makes this picture unique.

    Takes some ten microseconds, so an event loop may call it.
    """
    image = _one_for_all(picture.width, picture.height)
    comment = _segment(_COMMENT, hashlib.sha256(picture.words.encode()).hexdigest().encode())
    missing = (picture.ready_made or 0) - len(image) - len(comment)
    # JFIF's own segment, 20 bytes with the image's beginning, must come first.
    return b"".join((image[:20], comment, _filler(missing), image[20:]))


@functools.lru_cache(maxsize=8)
def _one_for_all(width: int, height: int) -> bytes:
    return draw(Picture("ready-made", "One image for all prompts", 0, 0, width, height, "JPEG", _QUALITY))


@functools.lru_cache(maxsize=8)
def _filler(least: int) -> bytes:
    """Return segments of at least so many bytes together, each of at most 65,537."""
    number = max(0, math.ceil(least / 65_537))
    return _segment(_FILLER, bytes(max(0, math.ceil(least / number) - 4))) * number if number else b""


def _segment(marker: bytes, content: bytes) -> bytes:
    # The length includes its own two bytes.
    return marker + (len(content) + 2).to_bytes(2) + content


def _landscape(dice: random.Random, width: int, height: int) -> Image.Image:
    """Return a sky, a sun and four ranges of hills, in matching colours."""
    hue = dice.random()
    sky = Image.linear_gradient("L").resize((width, height))
    image = ImageOps.colorize(sky, _colour(hue, 0.65, 0.55), _colour(hue + 0.12, 0.35, 1.0))
    pen = ImageDraw.Draw(image, "RGBA")
    x, y = dice.uniform(0.2, 0.8) * width, dice.uniform(0.15, 0.35) * height
    sun, light = dice.uniform(0.08, 0.16) * min(width, height), _colour(hue + 0.5, 0.25, 1.0)
    for glow, opacity in ((2.2, 40), (1.5, 70), (1.0, 255)):
        radius = sun * glow
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*light, opacity))
    ground = hue + dice.uniform(0.3, 0.7)
    for row in range(4):
        level = 0.35 + 0.13 * row
        ridge = [(x * width, y * height) for x, y in _ridge(dice, level)]
        colour = _colour(ground + 0.03 * row, 0.5, 0.75 - 0.15 * row)
        pen.polygon([(0, height), *ridge, (width, height)], fill=(*colour, 235))
    return image


def _ridge(dice: random.Random, level: float) -> Iterator[tuple[float, float]]:
    """Yield the upper edge of a range of hills, as fractions of the image's width and height."""
    waves = [(dice.uniform(0, 0.06) / n, dice.uniform(2, 5) * n, dice.uniform(0, 7)) for n in (1, 2, 4)]
    for x in (step / 64 for step in range(65)):
        yield x, level + sum(high * math.sin(fast * x + offset) for high, fast, offset in waves)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return ImageColor.getrgb(f"hsv({hue * 360 % 360:.0f},{saturation:.0%},{value:.0%})")


def _label(image: Image.Image, picture: Picture) -> None:
    """Write into the lower part that the image is simulated, with its prompt, model and seed."""
    pen = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    unit = max(4.0, min(width / 20, height / 13))
    margin, text, small = 0.6 * unit, 0.8 * unit, 0.5 * unit
    # A letter of Pillow's own font is about half as wide as it is high.
    prompt = written(picture.prompt, int((width - 2 * margin) / text / 0.5))
    facts = written(f"{picture.model}, seed {picture.seed}, {width} x {height}", 99)
    lines = [("SIMULATED", unit), *((line, text) for line in prompt), (facts[0], small)]
    y = height - margin - sum(1.25 * size for _, size in lines)
    pen.rectangle((0, y - margin, width, height), fill=(12, 14, 26, 190))
    for line, size in lines:
        pen.text((margin, y), line, font=_font(size), fill="white")
        y += 1.25 * size


def written(text: str, columns: int) -> list[str]:
    """Return the beginning of a text in at most two lines, with an ellipsis if more is left.

    Pillow's own font has few letters: others lose their accent or become a question mark.
    """
    apart = unicodedata.normalize("NFKD", text[:400])
    letters = "".join(letter for letter in apart if not unicodedata.combining(letter))
    plain = letters.encode("ascii", "replace").decode()
    return textwrap.wrap(plain, max(1, columns), max_lines=2, placeholder="…")
