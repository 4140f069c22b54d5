"""Find the parts of an image file that hold its pixels, without decoding anything.

Text, profiles, thumbnails and locations may be huge, broken or stripped while the image itself is perfect. A
decoder that reads them may refuse the image, or unpack more than a worker has.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
import zlib
from bisect import bisect_right
from typing import BinaryIO, NamedTuple, cast

__all__ = ["Broken", "Parts", "exif_with", "gif", "jpeg", "orientation", "png", "whole"]

_CHUNK = 64 * 1024

_PNG_PIXELS = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Chunks that pixels depend on although their names mark them as ancillary: transparency and animation."""

_EXIF = b"Exif\0\0"
_LONGEST_EXIF = 64 * 1024

_SOS, _EOI, _APP1, _COMMENT = 0xDA, 0xD9, 0xE1, 0xFE
_APPS = frozenset(range(0xE0, 0xF0)) - {0xE0, 0xEE}
"""Application segments of a JPEG, except JFIF's and Adobe's, which say what the colours mean."""


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
_JPEG = b"\xff\xd8\xff"

_MOST_PICTURES, _MOST_SEGMENTS, _MOST_CHUNKS = 16, 10_000, 300_000
"""Limits, so that no untrusted file takes minutes: a profile has 255 segments, and encoders write chunks of
8 KiB or more."""

_MOST_BLOCKS = 2_000_000
"""The same limit for a GIF: with full blocks, as encoders write them, this is half a gigabyte."""

_ORIENTATION = 0x0112


class Broken(Exception):
    """The parts do not fit together; the text is a clause that says why."""


class Parts(NamedTuple):
    """An image's file, reduced to what its pixels need.

    :ivar file: the file to decode.
    :ivar exif: without its first six bytes; empty if there is none.
    :ivar scans: how often a decoder goes over all pixels.
    :ivar pixels: over all frames, if that must be known before opening: opening allocates them.
    :ivar ends: whether the end mark is there, for formats whose decoder does not need it.
    """

    file: BinaryIO
    exif: bytes = b""
    scans: int = 1
    pixels: int = 0
    ends: bool = True


class _Spliced(io.RawIOBase):
    """Some ranges of a file, joined together."""

    def __init__(self, file: BinaryIO, ranges: list[tuple[int, int]]) -> None:
        super().__init__()
        self._file = file
        self._ranges = ranges
        self._ends = list(itertools.accumulate(size for _, size in ranges))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    # typeshed has any writable buffer; whoever reads this gives a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        number = bisect_right(self._ends, self._at)
        if number == len(self._ends):
            return 0
        (start, size), left = self._ranges[number], self._ends[number] - self._at
        self._file.seek(start + size - left)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _spliced(file: BinaryIO, ranges: list[tuple[int, int]]) -> BinaryIO:
    file.seek(0)
    return file if len(ranges) == 1 else cast("BinaryIO", io.BufferedReader(_Spliced(file, ranges), _CHUNK))


def _add(ranges: list[tuple[int, int]], start: int, size: int) -> None:
    """Add a range; extend the last one if it continues there."""
    if sum(ranges[-1]) == start:
        ranges[-1] = (ranges[-1][0], ranges[-1][1] + size)
    else:
        ranges.append((start, size))


def whole(file: BinaryIO) -> Parts:
    """Return the file as it is: only a decoder can check this format."""
    file.seek(0)
    return Parts(file)


def png(file: BinaryIO) -> Parts:
    """Return the chunks of a PNG that hold its pixels, each checked against its checksum.

    :raises Broken: if a checksum does not match, or the end is missing.
    """
    file.seek(8)
    ranges, exif = [(0, 8)], b""
    for _ in range(_MOST_CHUNKS):
        start = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise Broken("it is cut short")
        size, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            raise Broken("its chunks do not follow each other")
        if kind[:1].isupper() or kind in _PNG_PIXELS:
            if not _fits(file, kind, size):
                raise Broken(f"it is cut short, or its {kind.decode()} is damaged")
            _add(ranges, start, 12 + size)
        elif kind == b"eXIf" and size <= _LONGEST_EXIF:
            data = file.read(size)
            exif = data if file.read(4) == struct.pack(">I", zlib.crc32(kind + data)) else exif
        if kind == b"IEND":
            return Parts(_spliced(file, ranges), exif)
        file.seek(start + 12 + size)
    raise Broken("it has too many chunks")


def _fits(file: BinaryIO, kind: bytes, size: int) -> bool:
    """Read a chunk's content, and return whether its checksum matches."""
    checksum = zlib.crc32(kind)
    while size:
        data = file.read(min(_CHUNK, size))
        if not data:
            return False
        checksum = zlib.crc32(data, checksum)
        size -= len(data)
    return file.read(4) == struct.pack(">I", checksum)


def jpeg(file: BinaryIO) -> Parts:
    """Return the segments of a JPEG that hold its first picture.

    Other pictures may follow, such as a depth map. Those must have an end mark, and are not decoded. They may
    have been stripped.

    :raises Broken: if an end mark is missing.
    """
    ranges, exif, end, scans = _picture(file, 0)
    for _ in range(_MOST_PICTURES):
        file.seek(end)
        if file.read(len(_JPEG)) != _JPEG:
            break
        end = _picture(file, end)[2]
    return Parts(_spliced(file, ranges), exif, scans)


def _picture(file: BinaryIO, start: int) -> tuple[list[tuple[int, int]], bytes, int, int]:
    """Return the ranges of one picture of a JPEG, its EXIF, its end and its number of scans."""
    ranges, exif, at = [(start, 2)], b"", start + 2
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        at = _next_marker(file, at)
        file.seek(at + 1)
        marker = file.read(1)[0]
        if marker == _EOI:
            _add(ranges, at, 2)
            return ranges, exif, at + 2, scans
        size = 2 + int.from_bytes(file.read(2))
        if marker == _APP1 and not scans and not exif:
            data = file.read(size - 4)
            exif = data.removeprefix(_EXIF) if data.startswith(_EXIF) else b""
        scans += marker == _SOS
        if scans or (marker not in _APPS and marker != _COMMENT):
            after = _next_marker(file, at + size) if scans else at + size
            _add(ranges, at, after - at)
            at = after
        else:
            at += size
    raise Broken("it has too many segments")


def _next_marker(file: BinaryIO, at: int) -> int:
    """Return the position of the next marker with content; what comes before is a scan, or is skipped."""
    file.seek(at)
    left = b""
    while data := file.read(_CHUNK):
        found = _MARKER.search(left + data)
        if found:
            return at - len(left) + found.start()
        at += len(data)
        left = data[-1:] if data[-1:] == b"\xff" else b""
    raise Broken("it is cut short")


def gif(file: BinaryIO) -> Parts:
    """Walk through the blocks of a GIF.

    Its frames may reach far beyond the size in its header, and the image grows to that. Pillow accepts a file
    that was cut between two frames.

    :raises Broken: if it has too many blocks.
    """
    file.seek(6)
    width, height = struct.unpack("<2H", file.read(4).ljust(4, b"\0"))
    frames = blocks = 0
    _skip_colours(file, file.read(1) or b"\0", 2)
    while (kind := file.read(1)) not in (b"", b";"):
        blocks += 1
        if kind == b",":
            left, top, wide, high = struct.unpack("<4H", file.read(8).ljust(8, b"\0"))
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            _skip_colours(file, file.read(1) or b"\0", 0)
        if kind in (b",", b"!"):
            file.seek(1, os.SEEK_CUR)
            while (size := ord(file.read(1) or b"\0")) and blocks <= _MOST_BLOCKS:
                blocks += 1
                file.seek(size, os.SEEK_CUR)
        if blocks > _MOST_BLOCKS:
            raise Broken("it has too many blocks")
    file.seek(0)
    return Parts(file, pixels=width * height * max(frames, 1), ends=kind == b";")


def _skip_colours(file: BinaryIO, flags: bytes, before: int) -> None:
    """Skip some bytes and the colour table that a descriptor's flags announce."""
    bits = ord(flags)
    file.seek(before + (3 << (bits % 8 + 1) if bits & 128 else 0), os.SEEK_CUR)


def orientation(exif: bytes) -> int:
    """Return the orientation in EXIF, from 1 to 8; 1 if it has no sensible value."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        [at] = struct.unpack_from(f"{order}I", exif, 4)
        [count] = struct.unpack_from(f"{order}H", exif, at)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * number)
            if tag == _ORIENTATION:
                return int(value) if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def exif_with(rotation: int) -> bytes:
    """Return an EXIF with only an orientation in it."""
    entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, rotation, 0)
    return _EXIF + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
