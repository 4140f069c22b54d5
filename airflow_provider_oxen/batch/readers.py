"""Read prompts from plain text, JSON Lines and CSV: rows, or problems with their lines, for any content.

Everything must be UTF-8, and no line or record may be longer than fits in memory; anything else is a problem.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from airflow_provider_oxen.batch.rows import RawRow, from_value
from airflow_provider_oxen.jobs.plain import shown

__all__ = ["MAX_LINE", "NotJSON", "column_problem", "parse", "read_csv", "read_jsonl", "read_text"]

MAX_LINE = 2 * 1024 * 1024
"""Most bytes of a line. The longest prompt takes 1.2 MB in JSON if all of its 100,000 characters are written
as escaped surrogate pairs; the rest is for other fields, such as a picture as base64 text."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""The longer marks first: a mark of UTF-32 begins with one of UTF-16."""


class NotJSON(ValueError):
    """A text is not JSON, or has more than one meaning. The error's text is a clause."""


def read_text(file: BinaryIO) -> Iterator[RawRow]:
    """Return a row for each line; the line is the prompt. Blank lines are skipped."""
    return _read(file, lambda line: RawRow(line.number, {"prompt": line.text}))


def read_jsonl(file: BinaryIO) -> Iterator[RawRow]:
    """Return a row for each line: an object, or a text that is the prompt. Blank lines are skipped."""
    return _read(file, _json_row)


def _read(file: BinaryIO, row_of: Callable[[_Line], RawRow]) -> Iterator[RawRow]:
    for line in _lines(file):
        if line.problem:
            yield RawRow(line.number, {}, line.problem)
        elif line.text.strip():
            yield row_of(line)


def _json_row(line: _Line) -> RawRow:
    try:
        return from_value(line.number, parse(line.text), "an object or a text")
    except NotJSON as error:
        return RawRow(line.number, {}, str(error))


def parse(text: str) -> Any:
    """Return the value of a JSON text by the standard, which is stricter than Python's own reader.

    :raises NotJSON: also for an object with the same name twice.
    """
    try:
        return _DECODER.decode(text)
    except NotJSON:
        raise
    except json.JSONDecodeError as error:
        raise NotJSON(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise NotJSON("is not JSON that can be read: it is nested too deep") from None
    except ValueError as error:
        # A number with more digits than Python converts.
        raise NotJSON(f"is not JSON that can be read: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise NotJSON(f"names {shown(twice, 60)} twice in one object")
    return found


def _constant(name: str) -> Any:
    raise NotJSON(f"holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def read_csv(file: BinaryIO) -> Iterator[RawRow]:
    """Return a row for each record; an empty cell sets nothing, and blank lines between records are skipped.

    Commas separate the cells; quotes enclose cells with commas or line breaks. If the header cannot be used,
    it is the only row, with its problem: nothing after it has a meaning.
    """
    records = _records(_Feed(_lines(file)))
    header = next(records, None)
    if header is None:
        return
    line, names, problem = header
    if wrong := problem or column_problem(names):
        yield RawRow(line, {}, f"{wrong}{_other_delimiter(names)}")
        return
    for line, cells, problem in records:
        if problem:
            yield RawRow(line, {}, problem)
        elif len(cells) != len(names):
            yield RawRow(line, {}, f"has {len(cells):,} cells, and the header {len(names):,}")
        else:
            yield RawRow(line, {name: cell for name, cell in zip(names, cells, strict=True) if cell})


def column_problem(names: list[str]) -> str:
    """Return what is wrong with a table's columns, as a clause, or the empty string."""
    if "prompt" not in names:
        return f"has no column 'prompt', but {shown(', '.join(names))}"
    if "" in names:
        return f"has a column without a name, at place {names.index('') + 1:,}"
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return f"names a column twice: {shown(', '.join(twice))}" if twice else ""


def _other_delimiter(names: list[str]) -> str:
    """Return the end of a clause for a header whose cells seem to have another separator."""
    marks = {} if "prompt" in names else {";": "semicolons", "\t": "tabs"}
    found = [word for mark, word in marks.items() if any(mark in name for name in names)]
    return f": cells are parted by commas, not by {found[0]}" if found else ""


def _records(feed: _Feed) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield the records that are not blank: the line on which each begins, its cells, and a problem."""
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            # The reader starts again with the next line.
            yield feed.start, [], feed.problem or _csv_problem(error)
        else:
            if cells or feed.problem:
                yield feed.start, cells, feed.problem


class _TooLong(Exception):
    """A record has more bytes than a line may have; usually a quote was not closed."""


class _Feed:
    """The lines for the csv module, which reads more of them while a quoted cell continues.

    The record's size is limited here: the csv module's own limit of a cell applies to the whole process, and
    other code may have set it to anything.

    :ivar start: the line on which the record begins.
    :ivar problem: the first problem of the record's lines.
    """

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._number = 0

    def begin(self) -> None:
        """Use the next line as a record's first."""
        self.start = self._number + 1
        self.problem: str | None = None
        self._size = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number = line.number
        self._size += len(line.text)
        if line.problem and not self.problem:
            where = "" if line.number == self.start else f" (in line {line.number})"
            self.problem = f"{line.problem}{where}"
        if self._size > MAX_LINE:
            raise _TooLong
        self._size += 1
        return f"{line.text}\n"


def _csv_problem(error: Exception) -> str:
    """Return the csv module's error as a clause that says what to look for."""
    text = str(error)
    if isinstance(error, _TooLong):
        return f"has more than {MAX_LINE:,} characters up to the record's end: is a quote not closed?"
    if text.startswith("field larger"):
        return f"has a cell of more than {csv.field_size_limit():,} characters: is a quote not closed?"
    if text.startswith("new-line character"):
        return "holds a carriage return without a line feed: end lines with LF or CRLF"
    if text == "unexpected end of data":
        return "has a quote that is not closed"
    return f"is not CSV: {text}"


class _Line(NamedTuple):
    """A line without its end.

    :ivar number: from 1.
    :ivar text: with a problem, what is still needed to know where a quoted cell ends.
    :ivar problem: a clause.
    """

    number: int
    text: str
    problem: str | None = None


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """Yield the lines; the byte order mark of UTF-8 is not part of the first.

    A line ends with LF or CRLF, and with nothing else that Unicode calls a line end.
    """
    number, longest = 0, MAX_LINE + len(b"\r\n")
    while raw := file.readline(longest):
        number += 1
        whole = raw.endswith(b"\n")
        cut = not whole and len(raw) == longest
        if number == 1:
            encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
            if encoding:
                yield _Line(1, "", f"begins with the byte order mark of {encoding}: save the file as UTF-8")
                return
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if whole:
            raw = raw[:-1].removesuffix(b"\r")
        if cut or len(raw) > MAX_LINE:
            quotes = raw.count(b'"') + (_skip(file, longest) if cut else 0)
            yield _Line(number, '"' * (quotes % 2), f"is longer than {MAX_LINE:,} bytes")
        else:
            yield _decoded(number, raw)


def _skip(file: BinaryIO, step: int) -> int:
    """Read to the end of the line, and return how many quotes there were."""
    quotes = 0
    while raw := file.readline(step):
        quotes += raw.count(b'"')
        if raw.endswith(b"\n"):
            break
    return quotes


def _decoded(number: int, raw: bytes) -> _Line:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        at = error.start
        problem = f"is not UTF-8: byte {at + 1:,} of the line is 0x{raw[at]:02X}, {_guess(raw, at)}"
        return _Line(number, raw.decode(errors="replace"), problem)
    if "\0" in text:
        at = text.index("\0") + 1
        return _Line(number, text, f"holds a NUL at character {at:,}: is it UTF-16? Save the file as UTF-8")
    if text.startswith("\ufeff"):
        return _Line(number, text, "begins with a byte order mark of its own: were files put together?")
    return _Line(number, text)


def _guess(raw: bytes, at: int) -> str:
    """Return the probable encoding of a line with a byte that is not UTF-8."""
    if b"\0" in raw:
        return "probably UTF-16"
    if not raw[:at].isascii():
        return "after characters that are UTF-8: probably one was damaged or cut off"
    meant = raw[at : at + 1].decode("cp1252", errors="ignore")
    return (
        f"probably Windows-1252 or Latin-1, where it is {meant!r}" if meant else "perhaps of no text at all"
    )
