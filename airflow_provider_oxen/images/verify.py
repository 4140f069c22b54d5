"""Proof that bytes are a whole image, and what kind."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from airflow_provider_oxen.api.errors import OxenBadImage

__all__ = ["FORMATS", "MAX_FRAMES", "MAX_PIXELS", "SUFFIXES", "Facts", "prove"]

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels over all frames: 10,000 by 10,000, six times what the largest
known model makes, and 400 MB as RGBA. More is taken for a decompression bomb."""

MAX_FRAMES = 1_000

FORMATS: dict[str, tuple[str, str]] = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
    "GIF": ("image/gif", ".gif"),
    "AVIF": ("image/avif", ".avif"),
}
"""What counts as an image: Pillow's format, its media type and its suffix."""

SUFFIXES = frozenset(suffix for _, suffix in FORMATS.values()) | {".jpeg"}


class Facts(NamedTuple):
    """What an image's bytes say of themselves; width and height in pixels."""

    media_type: str
    suffix: str
    width: int
    height: int


def prove(file: BinaryIO) -> Facts:
    """Decode every pixel and return the facts; bytes behind the image's end are no harm.

    :param file: seekable; left at its beginning.
    :raises OxenBadImage: with the reason, where the bytes are not a whole image of a known format.
    """
    try:
        return _decode(file)
    except OxenBadImage:
        raise
    except Exception as error:
        # Decoders raise almost anything on broken input; whatever it is, nothing is proved.
        first = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        # Pillow quotes the file object, whose address would make every message another one.
        reason = "not an image of a known format" if "cannot identify" in first else first
        raise _bad(reason) from None
    finally:
        file.seek(0)


def _decode(file: BinaryIO) -> Facts:
    from PIL import Image

    formats = list(FORMATS)
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        frames = getattr(image, "n_frames", 1)
        pixels = image.width * image.height
        if pixels * min(frames, MAX_FRAMES) > MAX_PIXELS or frames > MAX_FRAMES:
            raise _bad(f"{image.width} x {image.height} pixels in {frames} frame(s) is more than is decoded")
        kind = str(image.format)
        if kind == "PNG":
            # Pillow decodes a PNG without its end; verify() reads every chunk to the last and its checksum.
            image.verify()
        else:
            for frame in range(frames):
                image.seek(frame)
                image.load()
        width, height = image.size
    if kind == "PNG":
        file.seek(0)
        with Image.open(file, formats=formats) as image:
            image.load()
    media_type, suffix = FORMATS[kind]
    return Facts(media_type, suffix, width, height)


def _bad(reason: str) -> OxenBadImage:
    return OxenBadImage(f"The bytes that came are not a whole image: {reason}.", reason=reason)
