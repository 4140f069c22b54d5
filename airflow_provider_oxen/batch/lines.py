"""The lines of a file that may be anything: UTF-8 or a problem, and never longer than memory should hold."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["MAX_LINE", "Line", "read_lines"]

MAX_LINE = 2 * 1024 * 1024
"""Bytes of a line at most. The longest prompt takes 1.2 MB in JSON where all of its 100,000 characters are
written as two escaped halves; the rest is for other fields, such as a picture as base64 text."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""The longer ones first: a mark of UTF-32 begins with one of UTF-16."""


class Line(NamedTuple):
    """A line without its end.

    :ivar number: from 1.
    :ivar text: where there is a problem, what is left of it to tell where a quoted cell ends.
    :ivar problem: a clause.
    """

    number: int
    text: str
    problem: str | None = None


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """Return the lines, one after the other; the byte order mark of UTF-8 is no part of the first.

    A line ends with LF or CRLF, and with nothing else that Unicode calls an end of a line.
    """
    number, longest = 0, MAX_LINE + len(b"\r\n")
    while raw := file.readline(longest):
        number += 1
        whole = raw.endswith(b"\n")
        cut = not whole and len(raw) == longest
        if number == 1:
            encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
            if encoding:
                yield Line(1, "", f"begins with the byte order mark of {encoding}: save the file as UTF-8")
                return
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if whole:
            raw = raw[:-1].removesuffix(b"\r")
        if cut or len(raw) > MAX_LINE:
            quotes = raw.count(b'"') + (_skip(file, longest) if cut else 0)
            yield Line(number, '"' * (quotes % 2), f"is longer than {MAX_LINE:,} bytes")
        else:
            yield _decoded(number, raw)


def _skip(file: BinaryIO, step: int) -> int:
    """Read up to the end of the line and return how many quotes there were."""
    quotes = 0
    while raw := file.readline(step):
        quotes += raw.count(b'"')
        if raw.endswith(b"\n"):
            break
    return quotes


def _decoded(number: int, raw: bytes) -> Line:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        at = error.start
        problem = f"is not UTF-8: byte {at + 1:,} of the line is 0x{raw[at]:02X}, {_guess(raw, at)}"
        return Line(number, raw.decode(errors="replace"), problem)
    if "\0" in text:
        at = text.index("\0") + 1
        return Line(number, text, f"holds a NUL at character {at:,}: is it UTF-16? Save the file as UTF-8")
    if text.startswith("\ufeff"):
        return Line(number, text, "begins with a byte order mark of its own: were files put together?")
    return Line(number, text)


def _guess(raw: bytes, at: int) -> str:
    """Return what a line probably is of which a byte is not UTF-8."""
    if b"\0" in raw:
        return "probably UTF-16"
    if not raw[:at].isascii():
        return "after characters that are UTF-8: probably one was damaged or cut off"
    meant = raw[at : at + 1].decode("cp1252", errors="ignore")
    return (
        f"probably Windows-1252 or Latin-1, where it is {meant!r}" if meant else "perhaps of no text at all"
    )
