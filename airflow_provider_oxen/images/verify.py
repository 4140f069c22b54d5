"""Prove that bytes are a whole image, and of which format."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.images.media import FORMATS, ImageFacts, format_of
from airflow_provider_oxen.images.parts import Broken, exif_with, orientation, whole
from airflow_provider_oxen.images.received import HEAD, describe

if TYPE_CHECKING:
    from PIL import Image

    from airflow_provider_oxen.images.fetched import Fetched

__all__ = ["MAX_FRAMES", "MAX_PIXELS", "MakePreview", "judge", "prove"]

log = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels over all frames: 10,000 by 10,000. That is six times what the
largest known model makes, and 400 MB as RGBA. A larger one counts as a decompression bomb."""

MAX_FRAMES = 1_000

MAX_SCANNED = 20 * MAX_PIXELS
"""Most pixels over all scans of a JPEG. A progressive one has about ten scans, and a decoder goes over all
pixels for each of them, even for an empty one."""

_FIRST_ON_ITS_SIDE = 5
"""From this EXIF orientation on, width and height are exchanged when the image is shown."""

_UNKNOWN = "not an image of a known format"

_HEAD = 16
"""Bytes that identify a format."""

MakePreview: TypeAlias = "Callable[[Image.Image], str | None]"
"""Makes a preview of an image's first frame, which is decoded but not yet proved to be whole; it must not
change the image."""


class _Strict:
    """Makes Pillow refuse truncated files, and accept any size, while any thread decodes here.

    These are settings of the whole process, which a Dag file may have changed: the first of several threads
    sets them, and the last one restores them. :data:`MAX_PIXELS` limits the size of an image.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._lenient = False
        self._pixels: int | None = None

    def __enter__(self) -> None:
        from PIL import Image, ImageFile

        with self._lock:
            if not self._inside:
                self._lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
                self._pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        from PIL import Image, ImageFile

        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._lenient
                Image.MAX_IMAGE_PIXELS = self._pixels


_STRICT = _Strict()


def prove(got: Fetched, make_preview: MakePreview | None = None) -> ImageFacts:
    """Decode every pixel and return the facts. Bytes after the image's end do no harm.

    The file is left at its beginning.

    :raises OxenBadImage: with the reason, if the bytes are not a whole image of a known format.
    """
    try:
        with _STRICT:
            return _decode(got, make_preview)
    except OxenBadImage:
        raise
    except Broken as error:
        raise _bad(str(error)) from None
    except Exception as error:
        # Decoders raise almost any error on broken input; in each case nothing is proved.
        first = (redacted_line(str(error)) or type(error).__name__).rstrip(".")
        # Pillow quotes the file object; its address would make every message different.
        reason = _UNKNOWN if "cannot identify" in first else first
        raise _bad(reason) from None
    finally:
        got.file.seek(0)


def judge(got: Fetched, same: str | None = None, make_preview: MakePreview | None = None) -> ImageFacts:
    """Prove received bytes, and tell a broken image from something that was sent in its place.

    :param same: SHA-256 of what came for the same image before, again and again: the hub has nothing else.
    :raises OxenBadImage: ``not_yet`` if a link may return other bytes later.
    """
    try:
        facts = prove(got, make_preview)
        if got.doubt and got.linked and got.sha256 != same:
            error = _bad(got.doubt)
            error.doubted = True
            raise error
        if got.doubt:
            log.warning("The image is whole, and %s. It is kept: the same bytes came each time.", got.doubt)
        return facts
    except OxenBadImage as found:
        head = got.file.read(HEAD)
        got.file.seek(0)
        error = found
        if found.reason == _UNKNOWN:
            # Describe the bytes for the person who has to find out why they are no image.
            error = _bad(f"{_UNKNOWN} ({describe(head, got.size, got.content_type)})")
        error.sha256 = got.sha256
        error.damaged = format_of(head[:_HEAD]) is not None
        error.not_yet = got.linked and got.sha256 != same
        raise error from None


def _decode(got: Fetched, make_preview: MakePreview | None) -> ImageFacts:
    from PIL import Image

    got.file.seek(0)
    known = format_of(got.file.read(_HEAD))
    parts = (known.parts if known else whole)(got.file)
    if parts.pixels > MAX_PIXELS:
        raise _bad(f"{parts.pixels:,} pixels in all frames is more than is decoded")
    with Image.open(parts.file, formats=[one.name for one in FORMATS]) as image:
        width, height = image.size
        frames, preview = getattr(image, "n_frames", 1), None
        if width * height * frames > MAX_PIXELS or frames > MAX_FRAMES:
            raise _bad(f"{width} x {height} pixels in {frames} frame(s) is more than is decoded")
        if width * height * parts.scans > MAX_SCANNED:
            raise _bad(f"{width} x {height} pixels in {parts.scans} scans is more than is decoded")
        rotation = orientation(parts.exif or image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
        for frame in range(frames):
            image.seek(frame)
            image.load()
            if not frame:
                _keep_only_orientation(image, rotation)
                preview = make_preview(image) if make_preview else None
        kind = str(image.format)
    if not parts.ends:
        raise _bad("it is cut short")
    if rotation >= _FIRST_ON_ITS_SIDE:
        width, height = height, width
    media_type = next(one.media_type for one in FORMATS if one.name == kind)
    return ImageFacts(media_type, width, height, got.size, got.sha256, preview)


def _keep_only_orientation(image: Image.Image, rotation: int) -> None:
    """Keep only the orientation of an image's metadata: the rest may be broken."""
    for name in ("exif", "xmp"):
        image.info.pop(name, None)
    if rotation > 1:
        image.info["exif"] = exif_with(rotation)


def _bad(reason: str) -> OxenBadImage:
    return OxenBadImage(f"The bytes that came are not a whole image: {reason}.", reason=reason)
