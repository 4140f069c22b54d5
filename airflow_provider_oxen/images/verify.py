"""Proof that bytes are a whole image, and what kind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from airflow_provider_oxen.api.errors import OxenBadImage

if TYPE_CHECKING:
    from PIL import Image

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

_PNG_END = b"\xaeB`\x82"
"""The checksum of a PNG's last chunk, which is always empty."""

SUFFIXES = frozenset(suffix for _, suffix in FORMATS.values()) | {".jpeg"}


class Facts(NamedTuple):
    """What an image's bytes say of themselves; width and height in pixels."""

    media_type: str
    suffix: str
    width: int
    height: int


class _Strict:
    """Has Pillow refuse what is cut short while anybody decodes here.

    It is a setting of the whole process, which a Dag file may have changed: the first of several threads
    sets it, the last one puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._lenient = False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            if not self._inside:
                self._lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._lenient


_STRICT = _Strict()


def prove(file: BinaryIO, look: Callable[[Image.Image], None] = lambda image: None) -> Facts:
    """Decode every pixel and return the facts; bytes behind the image's end are no harm.

    :param file: seekable; left at its beginning.
    :param look: shown the first frame, decoded and not yet proved to be whole; it must not change it.
    :raises OxenBadImage: with the reason, where the bytes are not a whole image of a known format.
    """
    try:
        with _STRICT:
            return _decode(file, look)
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


def _decode(file: BinaryIO, look: Callable[[Image.Image], None]) -> Facts:
    from PIL import Image

    formats = list(FORMATS)
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        # Pillow's word for a JPEG that more pictures follow, such as a depth map.
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        width, height = image.size
        frames = getattr(image, "n_frames", 1)
        if width * height * frames > MAX_PIXELS or frames > MAX_FRAMES:
            raise _bad(f"{width} x {height} pixels in {frames} frame(s) is more than is decoded")
        if kind == "PNG":
            # Pillow decodes a PNG without its end; verify() reads every chunk, with its checksum, up to that.
            image.verify()
            whole = file.read(4) == _PNG_END
        else:
            for frame in range(frames):
                image.seek(frame)
                image.load()
                if not frame:
                    look(image)
            whole = kind != "GIF" or _gif_ends(file)
    if not whole:
        raise _bad("it is cut short")
    if kind == "PNG":
        file.seek(0)
        with Image.open(file, formats=formats) as image:
            image.load()
            look(image)
    media_type, suffix = FORMATS[kind]
    return Facts(media_type, suffix, width, height)


def _gif_ends(file: BinaryIO) -> bool:
    """Whether a GIF's blocks reach its end mark: Pillow takes one that was cut between two frames."""
    file.seek(10)
    _skip_colours(file, file.read(1), 2)
    while kind := file.read(1):
        if kind == b";":
            return True
        if kind == b",":
            file.seek(8, os.SEEK_CUR)
            _skip_colours(file, file.read(1), 0)
        if kind in (b",", b"!"):
            file.seek(1, os.SEEK_CUR)
            while size := ord(file.read(1) or b"\0"):
                file.seek(size, os.SEEK_CUR)
    return False


def _skip_colours(file: BinaryIO, flags: bytes, before: int) -> None:
    """Skip some bytes and the colour table that a descriptor's flags announce."""
    bits = ord(flags)
    file.seek(before + (3 << (bits % 8 + 1) if bits & 128 else 0), os.SEEK_CUR)


def _bad(reason: str) -> OxenBadImage:
    return OxenBadImage(f"The bytes that came are not a whole image: {reason}.", reason=reason)
