"""What counts as an image: one table of formats, and the facts that are kept for each image."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, get_type_hints

from airflow_provider_oxen.images import parts

__all__ = ["FACTS", "FORMATS", "SUFFIXES", "USUAL", "Format", "ImageFacts", "format_of"]


class Format(NamedTuple):
    """A format of image files.

    :ivar name: Pillow's name.
    :ivar suffixes: the first is used for new files.
    :ivar begins: matches the first bytes.
    :ivar parts: reads the parts that hold the pixels; raises :class:`.parts.Broken` if they are not whole.
    """

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    begins: re.Pattern[bytes]
    parts: Callable[[BinaryIO], parts.Parts] = parts.whole


FORMATS = (
    Format("PNG", "image/png", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), parts.png),
    Format("JPEG", "image/jpeg", (".jpg", ".jpeg"), re.compile(rb"\xff\xd8\xff"), parts.jpeg),
    Format("WEBP", "image/webp", (".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    Format("GIF", "image/gif", (".gif",), re.compile(rb"GIF8"), parts.gif),
    Format("AVIF", "image/avif", (".avif",), re.compile(rb".{4}ftypavi[fs]", re.DOTALL)),
)

USUAL = {suffix: one.suffixes[0] for one in FORMATS for suffix in one.suffixes}
"""The suffix for new files, by every suffix that an image may have."""

SUFFIXES = frozenset(USUAL)

_SUFFIX = {one.media_type: one.suffixes[0] for one in FORMATS}


class ImageFacts(NamedTuple):
    """The facts of an image in its sidecar, in XCom and from :meth:`.OxenHook.download`.

    :ivar width: in pixels, after the rotation in EXIF; so is the height.
    :ivar bytes: size of the file.
    :ivar sha256: hexadecimal.
    :ivar preview: a very small picture of the image as a ``data:`` URI, if one was made.
    """

    media_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    preview: str | None = None

    @property
    def suffix(self) -> str:
        """The suffix of its file's name."""
        return _SUFFIX[self.media_type]

    def record(self) -> dict[str, Any]:
        """Return the facts as they are stored and passed on, without a missing preview."""
        return {name: value for name, value in self._asdict().items() if value is not None}


FACTS: dict[str, type] = {
    name: kind for name, kind in get_type_hints(ImageFacts).items() if name != "preview"
}
"""The facts known for every image, with their types."""


def format_of(head: bytes) -> Format | None:
    """Return the format of a file from its first 16 bytes, or None."""
    return next((one for one in FORMATS if one.begins.match(head)), None)
