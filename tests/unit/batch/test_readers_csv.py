"""CSV becomes rows; whatever will not do has its line and its reason, and the rest is read."""

from __future__ import annotations

import codecs
import csv
import io

import pytest

from airflow_provider_oxen.batch.readers import MAX_LINE, read_csv
from airflow_provider_oxen.batch.rows import RawRow

LONG = f"is longer than {MAX_LINE:,} bytes"
CUBE = RawRow(2, {"id": "1", "prompt": "A red cube"})


@pytest.fixture
def cell_limit():
    """Let a test set the csv module's limit, which is one of the whole process."""
    before = csv.field_size_limit()
    yield csv.field_size_limit
    csv.field_size_limit(before)


def table(content: bytes | str) -> list[RawRow]:
    limit = csv.field_size_limit()
    try:
        return list(read_csv(io.BytesIO(content.encode() if isinstance(content, str) else content)))
    finally:
        assert csv.field_size_limit() == limit


def after_cube(content: str) -> list[RawRow]:
    """Return the rows that a table with one row goes on with."""
    first, *others = table(f"id,prompt\n1,A red cube\n{content}")
    assert first == CUBE
    return others


def test_column_names_the_field_and_an_empty_cell_sets_nothing():
    assert table("seed,prompt,id,aspect_ratio\n7,A red cube,a-1,1:1\n,b,,\n") == [
        RawRow(2, {"seed": "7", "prompt": "A red cube", "id": "a-1", "aspect_ratio": "1:1"}),
        RawRow(3, {"prompt": "b"}),
    ]


def test_quoted_cell_holds_commas_quotes_and_line_breaks():
    assert after_cube('2,"a, ""b""\n\nc"\n\n3,d') == [
        RawRow(3, {"id": "2", "prompt": 'a, "b"\n\nc'}),
        RawRow(7, {"id": "3", "prompt": "d"}),
    ]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_mark_and_windows_line_ends_leave_the_very_same_rows(mark):
    content = '"prompt",id\n\nEin Würfel,1\n"two\nlines",2\n'

    assert table(mark + content.replace("\n", "\r\n").encode()) == table(content)
    assert table(content) == [
        RawRow(3, {"prompt": "Ein Würfel", "id": "1"}),
        RawRow(4, {"prompt": "two\nlines", "id": "2"}),
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "prompt", "prompt\n", "id,prompt\r\n\r\n"], ids=repr)
def test_nothing_and_a_header_alone_hold_no_rows(content):
    assert table(content) == []


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("id,text", "has no column 'prompt', but 'id, text'"),
        ("Prompt", "has no column 'prompt', but 'Prompt'"),
        ("id, prompt", "has no column 'prompt', but 'id,  prompt'"),
        (
            "id;prompt",
            "has no column 'prompt', but 'id;prompt': cells are parted by commas, not by semicolons",
        ),
        ("id\tprompt", "has no column 'prompt', but 'id\\tprompt': cells are parted by commas, not by tabs"),
        ("prompt,", "has a column without a name, at place 2"),
        ("prompt,,x;y", "has a column without a name, at place 2"),
        ("prompt,seed,id,seed,id,x", "names a column twice: 'seed, id'"),
        ("prompt,prompt", "names a column twice: 'prompt'"),
        ('prompt,"id', "has a quote that is not closed"),
        ('"prompt"x,id', "is not CSV: ',' expected after '\"'"),
    ],
)
def test_header_that_will_not_do_is_the_only_problem(header, told):
    assert table(f"\n{header}") == [RawRow(2, {}, told)]
    if '"' not in header:
        assert table(f"{header}\na,b\nc\n") == [RawRow(1, {}, told)]


def test_header_in_another_encoding_is_told():
    (row,) = table("prompt,größe\na,b\n".encode("cp1252"))
    assert (row.line, row.values) == (1, {})
    assert row.problem is not None
    assert row.problem.startswith("is not UTF-8: byte 10 of the line is 0xF6, probably Windows-1252")
    assert table(codecs.BOM_UTF16_LE + "prompt\na\n".encode("utf-16-le")) == [
        RawRow(1, {}, "begins with the byte order mark of UTF-16: save the file as UTF-8")
    ]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("2", "has 1 cells, and the header 2"),
        ("2,a, and b", "has 3 cells, and the header 2"),
        (" ", "has 1 cells, and the header 2"),
        ("2,a,", "has 3 cells, and the header 2"),
        ('2,"a"b', "is not CSV: ',' expected after '\"'"),
        ("2,a\rb", "holds a carriage return without a line feed: end lines with LF or CRLF"),
        ("2,a\0b", "holds a NUL at character 4: is it UTF-16? Save the file as UTF-8"),
        ('2,"a\0\n"', "holds a NUL at character 5: is it UTF-16? Save the file as UTF-8"),
    ],
)
def test_record_that_will_not_do_is_told_and_the_rest_is_read(record, told):
    first, *others = after_cube(f"{record}\n3,b")

    assert first == RawRow(3, {}, told)
    assert others == [RawRow(4 + record.count("\n"), {"id": "3", "prompt": "b"})]


def test_broken_utf_8_within_a_quoted_cell_is_told_with_its_line_and_the_rest_is_read():
    content = 'id,prompt\n1,"a\nü\nö"\n2,b\n3,"ü'.encode("cp1252")
    tail = "probably Windows-1252 or Latin-1, where it is 'ü'"

    assert table(content) == [
        RawRow(2, {}, f"is not UTF-8: byte 1 of the line is 0xFC, {tail} (in line 3)"),
        RawRow(5, {"id": "2", "prompt": "b"}),
        RawRow(6, {}, f"is not UTF-8: byte 4 of the line is 0xFC, {tail}"),
    ]


def test_quote_that_is_never_closed_is_told():
    assert after_cube('2,"b\n3,c\n') == [RawRow(3, {}, "has a quote that is not closed")]


@pytest.mark.parametrize("cell", ["{}", '"{}"', '"a\n{}\nb"', '"{}\nb"', '"a\n{}"'], ids=repr)
@pytest.mark.parametrize("size", [MAX_LINE + 1, 3 * MAX_LINE])
def test_line_that_is_too_long_is_told_and_the_rest_is_read(cell, size):
    lines, before = cell.count("\n"), cell.partition("{")[0].count("\n")

    first, second = after_cube(f"2,{cell.format('x' * size)}\n3,b")

    assert first == RawRow(3, {}, f"{LONG} (in line 4)" if before else LONG)
    assert second == RawRow(4 + lines, {"id": "3", "prompt": "b"})


def test_cell_above_the_modules_limit_is_told_and_the_rest_is_read(cell_limit):
    cell_limit(131_072)

    first, second = after_cube(f"2,{'x' * 131_073}\n3,b")

    assert first == RawRow(3, {}, "has a cell of more than 131,072 characters: is a quote not closed?")
    assert second == RawRow(4, {"id": "3", "prompt": "b"})


@pytest.mark.parametrize("limit", [131_072, 2**31 - 1])
def test_quote_that_is_not_closed_never_takes_the_whole_file(cell_limit, limit):
    cell_limit(limit)
    record = "3," + "b" * 998
    count = 3 * MAX_LINE // 1000

    first, *others = after_cube('2,"a\n' + f"{record}\n" * count)

    assert first.line == 3
    assert first.problem is not None
    assert first.problem.endswith(": is a quote not closed?")
    taken = count - len(others)
    assert min(limit, MAX_LINE) - 1002 < taken * 1001 < min(limit, MAX_LINE) + 1002
    assert others[0] == RawRow(4 + taken, {"id": "3", "prompt": "b" * 998})
    assert others[-1].line == 3 + count
