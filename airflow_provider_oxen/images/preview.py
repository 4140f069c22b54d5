"""Make a picture small enough to stand in a page as text."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LARGE", "SMALL", "Size", "preview"]


class Size(NamedTuple):
    """How large a preview may become.

    :ivar side: its longer side in pixels; smaller images keep their size.
    :ivar limit: most bytes of the file.
    :ivar kind: Pillow's name of its format.
    :ivar qualities: tried in this order until the bytes fit; with the last, even pure noise fits.
    """

    side: int
    limit: int
    kind: Literal["JPEG", "WEBP"]
    qualities: tuple[int, ...]


SMALL = Size(128, 5 * 1024, "JPEG", (75, 50, 25, 5))
"""To tell pictures apart in a grid of thousands. A photograph takes about half of the bytes."""

LARGE = Size(256, 12 * 1024, "WEBP", (80, 60, 40, 20, 0))
"""To look at in Airflow's web interface. It takes about ten times as long to make."""

_BACKGROUND = (238, 238, 238)
"""The colour behind transparency: a grey on which both white and black drawings can be seen."""


def preview(image: Image.Image, size: Size = SMALL) -> str | None:
    """Return a very small picture of an image as a ``data:`` URI, or None if none can be made.

    Never raises: a paid image must not fail because of its preview. The preview holds only pixels: no
    comment, location or camera.

    :param image: a decoded image, such as :func:`.verify.prove` passes on; it is not changed.
    """
    try:
        content = _encode(_shrink(image, size.side), size)
    except Exception:
        return None
    if content is None:
        return None
    return f"data:image/{size.kind.lower()};base64,{b64encode(content).decode()}"


def _shrink(image: Image.Image, side: int) -> Image.Image:
    """Return the image in RGB or grey, upright, with at most so many pixels on each side."""
    from PIL import Image, ImageOps

    whole = _plain(image)
    # First average whole pixels, which is fast; then resample the rest, which is exact. Both weigh
    # transparent pixels correctly.
    width, height = _fitted(whole.size, side)
    factors = max(1, whole.width // width), max(1, whole.height // height)
    if factors != (1, 1):
        whole = whole.reduce(factors)
    if whole.size != (width, height):
        whole = whole.resize((width, height), Image.Resampling.BILINEAR)
    small = _opaque(whole)
    small = small.copy() if small is image else small
    ImageOps.exif_transpose(small, in_place=True)
    # Pillow writes a comment that it has read, which may not be meant for a page.
    small.info.clear()
    return small


def _fitted(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Return the largest width and height of the same shape."""
    longest = max(most, *size)
    width, height = (max(1, round(side * most / longest)) for side in size)
    return width, height


def _plain(image: Image.Image) -> Image.Image:
    """Return an image whose pixels can be averaged: without palettes, bits or 16-bit greys."""
    if image.mode.startswith("I"):
        # How Pillow converts 16 bits to 8 differs between its versions; this gives the same in all.
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGB", "L", "CMYK", "YCbCr", "RGBA", "LA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _opaque(image: Image.Image) -> Image.Image:
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode in ("RGB", "L") else image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGB", image.size, _BACKGROUND)
    ground.paste(image, mask=image.getchannel("A"))
    ground.info.update(image.info)
    return ground


def _encode(image: Image.Image, size: Size) -> bytes | None:
    for quality in size.qualities:
        written = io.BytesIO()
        image.save(written, size.kind, quality=quality)
        if written.tell() <= size.limit:
            return written.getvalue()
    return None
