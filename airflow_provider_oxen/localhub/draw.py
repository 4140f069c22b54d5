"""Drawings instead of generated images: the same bytes for the same picture, marked as simulated."""

from __future__ import annotations

import colorsys
import functools
import hashlib
import io
import math
import random
import unicodedata
from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFont, ImageOps

from airflow_provider_oxen.localhub.picture import Picture

__all__ = ["draw"]

_CANVAS = 1024
"""Longest side in pixels of the art before it is brought to size: larger ones would only be slower."""

_INK = (255, 255, 255, 255)
_FAINT = (255, 255, 255, 180)
_PANEL = (12, 14, 26, 190)

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.lru_cache(maxsize=64)
def draw(picture: Picture) -> bytes:
    """Return the encoded image. Takes some ten milliseconds: not for an event loop."""
    image = _landscape(_dice(picture), picture.width, picture.height)
    _sign(image, picture)
    file = io.BytesIO()
    options = {"PNG": {"compress_level": 3}, "WEBP": {"quality": picture.quality, "method": 1}}
    image.save(file, picture.format, **options.get(picture.format, {"quality": picture.quality}))
    return file.getvalue()


def _dice(picture: Picture) -> random.Random:
    # Size and format are left out: the same request in another size shows the same landscape.
    words = repr((picture.model, picture.prompt, picture.seed, picture.index))
    return random.Random(int.from_bytes(hashlib.sha256(words.encode()).digest()))


def _landscape(dice: random.Random, width: int, height: int) -> Image.Image:
    scale = _CANVAS / max(width, height)
    canvas = (max(1, round(width * scale)), max(1, round(height * scale)))
    hue = dice.random()
    ground = hue + 0.3 + 0.4 * dice.random()
    shade = Image.linear_gradient("L").resize(canvas)
    image = ImageOps.colorize(shade, _colour(hue, 0.65, 0.55), _colour(hue + 0.12, 0.35, 1.0))
    pen = ImageDraw.Draw(image, "RGBA")
    _sun(pen, dice, canvas, _colour(hue + 0.5, 0.25, 1.0))
    for row in range(4):
        colour = _colour(ground + 0.03 * row, 0.5, 0.75 - 0.15 * row)
        pen.polygon(list(_ridge(dice, canvas, 0.35 + 0.13 * row)), fill=(*colour, 235))
    for _ in range(7):
        x, y, radius = dice.random() * canvas[0], dice.random() * canvas[1], (0.01 + 0.04 * dice.random())
        _disc(pen, x, y, radius * max(canvas), (255, 255, 255, 45))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _sun(pen: ImageDraw.ImageDraw, dice: random.Random, canvas: tuple[int, int], colour: Colour) -> None:
    x, y = (0.2 + 0.6 * dice.random()) * canvas[0], (0.15 + 0.2 * dice.random()) * canvas[1]
    radius = (0.08 + 0.08 * dice.random()) * min(canvas)
    for size, opacity in ((2.2, 40), (1.5, 70), (1.0, 255)):
        _disc(pen, x, y, radius * size, (*colour, opacity))


def _ridge(dice: random.Random, canvas: tuple[int, int], level: float) -> Iterator[tuple[float, float]]:
    """Yield the outline of a range of hills whose middle lies at ``level`` of the height."""
    width, height = canvas
    waves = [(0.06 * dice.random() / n, n * (2 + 3 * dice.random()), 7 * dice.random()) for n in (1, 2, 4)]
    yield (0, height)
    for x in (step / 64 for step in range(65)):
        y = level + sum(high * math.sin(fast * x + offset) for high, fast, offset in waves)
        yield (x * width, y * height)
    yield (width, height)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: tuple[int, ...]) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sign(image: Image.Image, picture: Picture) -> None:
    """Write over the lower part that this is simulated, of what, and by which model and seed."""
    pen = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    unit = max(4.0, min(width / 20, height / 13))
    margin = unit * 0.6
    title, text, small = (_font(unit * factor) for factor in (1.0, 0.8, 0.5))
    lines = [("SIMULATED", title, _INK)]
    lines += [(line, text, _INK) for line in _wrap(_plain(picture.prompt), text, width - 2 * margin, 2)]
    facts = f"{_plain(picture.model)} · seed {picture.seed} · {width} x {height}"
    lines += [(line, small, _FAINT) for line in _wrap(facts, small, width - 2 * margin, 1)]
    y = height - margin - sum(_height(font) for _, font, _ in lines)
    pen.rectangle((0, y - margin, width, height), fill=_PANEL)
    for line, font, ink in lines:
        pen.text((margin, y), line, font=font, fill=ink, stroke_width=unit / 40 if font is title else 0)
        y += _height(font)


@functools.lru_cache(maxsize=64)
def _font(size: float) -> Font:
    return ImageFont.load_default(size)


def _height(font: Font) -> float:
    return 1.25 * float(getattr(font, "size", 10))


def _plain(text: str) -> str:
    """Return the text in the letters that Pillow's own font has; others lose their accent or become ?."""
    apart = unicodedata.normalize("NFKD", text[:400])
    letters = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return letters.encode("ascii", "replace").decode()


def _wrap(text: str, font: Font, width: float, rows: int) -> list[str]:
    """Return the beginning of the text in at most so many lines, an ellipsis where more is left."""
    words, lines = text.split(), [""]
    while words:
        longer = f"{lines[-1]} {words[0]}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            words.pop(0)
        elif lines[-1] and len(lines) < rows:
            lines.append("")
        else:
            lines[-1] = _cut(longer, font, width)
            break
    return lines


def _cut(text: str, font: Font, width: float) -> str:
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
