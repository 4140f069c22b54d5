"""Prompts as CSV: a column ``prompt``, perhaps ``id``, and others that name fields of the request."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from airflow_provider_oxen.batch.lines import MAX_LINE, Line, read_lines
from airflow_provider_oxen.batch.raw import Raw
from airflow_provider_oxen.jobs.arguments import shown

__all__ = ["column_problem", "read_csv"]


def read_csv(file: BinaryIO) -> Iterator[Raw]:
    """Return a row a record; an empty cell sets nothing, and a blank line between records is none.

    Commas part the cells, quotes hold what has commas or line breaks in it. Where the header will not do, it
    is the only row, with its problem: nothing after it can be told.
    """
    records = _records(_Feed(read_lines(file)))
    header = next(records, None)
    if header is None:
        return
    names = header.cells
    wrong = header.problem or column_problem(names)
    if wrong:
        yield Raw(header.line, {}, f"{wrong}{_other_delimiter(names)}")
        return
    for line, cells, problem in records:
        if problem:
            yield Raw(line, {}, problem)
        elif len(cells) != len(names):
            yield Raw(line, {}, f"has {len(cells):,} cells, and the header {len(names):,}")
        else:
            yield Raw(line, {name: cell for name, cell in zip(names, cells, strict=True) if cell})


def column_problem(names: list[str]) -> str:
    """Return what is wrong with a table's columns, as a clause, or the empty string."""
    if "prompt" not in names:
        return f"has no column 'prompt', but {shown(', '.join(names))}"
    if "" in names:
        return f"has a column without a name, at place {names.index('') + 1:,}"
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return f"names a column twice: {shown(', '.join(twice))}" if twice else ""


def _other_delimiter(names: list[str]) -> str:
    """Return the end of a clause for a header whose cells seem to be parted by something else."""
    if "prompt" in names:
        return ""
    marks = {";": "semicolons", "\t": "tabs"}
    found = [word for mark, word in marks.items() if any(mark in name for name in names)]
    return f": cells are parted by commas, not by {found[0]}" if found else ""


class _Record(NamedTuple):
    """A record that is not blank.

    :ivar line: that it begins on.
    """

    line: int
    cells: list[str]
    problem: str | None = None


def _records(feed: _Feed) -> Iterator[_Record]:
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            # The reader starts anew with the next line.
            yield _Record(feed.start, [], feed.problem or _told(error))
        else:
            if cells or feed.problem:
                yield _Record(feed.start, cells, feed.problem)


class _TooLong(Exception):
    """A record goes on for more bytes than a line may have: most often, a quote was not closed."""


class _Feed:
    """The lines for the csv module, which asks for more where a quoted cell goes on.

    The record's size is watched here: the module's own limit of a cell is one of the whole process, and
    other code may have set it to anything.

    :ivar start: the line that the record begins on.
    :ivar problem: the first one of the record's lines.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._number = self._size = 0
        self.begin()

    def begin(self) -> None:
        """Take the next line for a record's first."""
        self.start = self._number + 1
        self._size = 0
        self.problem: str | None = None

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


def _told(error: Exception) -> str:
    """Return the module's words as a clause that tells what to look for."""
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
