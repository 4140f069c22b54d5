"""A picture small enough to stand in a page as text."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LIMIT", "SIDE", "preview"]

SIDE = 128
"""Long side in pixels: enough to tell pictures apart in a grid; smaller images stay as they are."""

LIMIT = 5 * 1024
"""Bytes of a preview's JPEG at most. A photograph takes about half of it."""

_QUALITIES = (75, 50, 25, 5)
"""Tried one after the other until the bytes fit; the last holds pure noise."""

_GROUND = (238, 238, 238)
"""What shows behind transparency: a grey on which both white and black drawings are seen."""


def preview(image: Image.Image) -> str | None:
    """Return a very small JPEG of an image as a ``data:`` URI, or None where none can be made.

    Never raises: beside an image that was paid for, its preview is worth nothing. Nothing but the pixels gets
    into it: no comment, place or camera.

    :param image: decoded, such as :func:`.verify.prove` shows it; it is not changed.
    """
    try:
        content = _encode(_shrink(image))
    except Exception:
        return None
    return None if content is None else f"data:image/jpeg;base64,{b64encode(content).decode()}"


def _shrink(image: Image.Image) -> Image.Image:
    """Return the image in RGB or grey, at most SIDE pixels wide and high, upright."""
    from PIL import Image, ImageOps

    whole = _plain(image)
    # First whole pixels are averaged, which is fast, then the rest is resampled, which is fair. Both of them
    # know how to weigh transparent pixels.
    width, height = _fitted(whole.size)
    factors = max(1, whole.width // width), max(1, whole.height // height)
    if factors != (1, 1):
        whole = whole.reduce(factors)
    if whole.size != (width, height):
        whole = whole.resize((width, height), Image.Resampling.BILINEAR)
    small = _opaque(whole)
    small = small.copy() if small is image else small
    ImageOps.exif_transpose(small, in_place=True)
    # Pillow writes a comment that it has read; what stands there may not be for a page.
    small.info.clear()
    return small


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height, at most SIDE, of the same shape."""
    longest = max(SIDE, *size)
    width, height = (max(1, round(side * SIDE / longest)) for side in size)
    return width, height


def _plain(image: Image.Image) -> Image.Image:
    """Return an image whose pixels can be averaged: no palettes, bits or 16-bit greys."""
    if image.mode.startswith("I"):
        # What Pillow makes of 16 bits in 8 has changed between its versions; this is the same in all.
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGB", "L", "CMYK", "YCbCr", "RGBA", "LA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _opaque(image: Image.Image) -> Image.Image:
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode in ("RGB", "L") else image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGB", image.size, _GROUND)
    ground.paste(image, mask=image.getchannel("A"))
    ground.info.update(image.info)
    return ground


def _encode(image: Image.Image) -> bytes | None:
    for quality in _QUALITIES:
        written = io.BytesIO()
        image.save(written, "JPEG", quality=quality)
        if written.tell() <= LIMIT:
            return written.getvalue()
    return None
