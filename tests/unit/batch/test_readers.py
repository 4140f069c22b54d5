"""Plain text and JSON Lines become rows; what will not do has its line and reason, and the rest is read."""

from __future__ import annotations

import codecs
import io
import json
from typing import Any

import pytest

from airflow_provider_oxen.batch.readers import MAX_LINE, NotJSON, parse, read_jsonl, read_text
from airflow_provider_oxen.batch.rows import MAX_PROMPT, RawRow

LONG = f"is longer than {MAX_LINE:,} bytes"
CUBE = RawRow(1, {"prompt": "A red cube"})


def text(content: bytes | str) -> list[RawRow]:
    return list(read_text(io.BytesIO(content.encode() if isinstance(content, str) else content)))


def jsonl(content: bytes | str) -> list[RawRow]:
    return list(read_jsonl(io.BytesIO(content.encode() if isinstance(content, str) else content)))


def problem_of(rows: list[RawRow], line: int) -> str:
    """Return a line's problem; the row has nothing that might be taken for a prompt."""
    (found,) = [row for row in rows if row.line == line]
    assert found.values == {}
    assert found.problem is not None
    assert not found.problem.endswith(".")
    return found.problem


class TestText:
    """A prompt a line."""

    def test_each_line_is_a_prompt_as_it_is(self):
        assert text('A red cube\n  "Ein Würfel", 🎲\t \nlast') == [
            CUBE,
            RawRow(2, {"prompt": '  "Ein Würfel", 🎲\t '}),
            RawRow(3, {"prompt": "last"}),
        ]

    def test_blank_lines_are_no_rows_and_are_counted(self):
        assert text("\n \t\nA red cube\n\u3000\n\nb\n\n") == [
            RawRow(3, {"prompt": "A red cube"}),
            RawRow(6, {"prompt": "b"}),
        ]

    @pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \n", codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\n"])
    def test_nothing_holds_no_rows(self, content):
        assert text(content) == []
        assert jsonl(content) == []

    @pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"], ids=repr)
    def test_line_ends_with_lf_and_with_nothing_else(self, mark):
        assert text(f"a{mark}b\nc") == [RawRow(1, {"prompt": f"a{mark}b"}), RawRow(2, {"prompt": "c"})]

    def test_carriage_return_within_a_line_stays_to_be_refused(self):
        assert text(b"a\rb\r\nc\r") == [RawRow(1, {"prompt": "a\rb"}), RawRow(2, {"prompt": "c\r"})]


class TestEncoding:
    """UTF-8, with or without its mark; anything else is told with its line."""

    @pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("last", [True, False])
    def test_mark_and_windows_line_ends_leave_the_very_same_rows(self, mark, end, last):
        lines = ["Ein Würfel", "", "A red cube"]
        objects = ['{"prompt": "Ein Würfel"}', "", '"A red cube"']
        rows = [RawRow(1, {"prompt": "Ein Würfel"}), RawRow(3, {"prompt": "A red cube"})]

        for read, given in ((text, lines), (jsonl, objects)):
            assert read(mark + end.join(line.encode() for line in given) + end * last) == rows

    @pytest.mark.parametrize(
        ("encoding", "mark", "name"),
        [
            ("utf-16-le", codecs.BOM_UTF16_LE, "UTF-16"),
            ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16"),
            ("utf-32-le", codecs.BOM_UTF32_LE, "UTF-32"),
            ("utf-32-be", codecs.BOM_UTF32_BE, "UTF-32"),
        ],
    )
    def test_mark_of_another_encoding_is_the_only_problem(self, encoding, mark, name):
        content = mark + 'A red cube\n"b"\n'.encode(encoding)
        told = f"begins with the byte order mark of {name}: save the file as UTF-8"

        assert text(content) == jsonl(content) == [RawRow(1, {}, told)]

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
    def test_utf_16_without_a_mark_is_recognised(self, encoding):
        rows = text("A red cube\n".encode(encoding))

        assert rows[0].line == 1
        assert problem_of(rows, 1).endswith(": is it UTF-16? Save the file as UTF-8")
        assert "UTF-16" in problem_of(text("é\n".encode("utf-16-le")), 1)

    def test_bytes_that_are_not_utf_8_are_told_with_line_place_and_origin(self):
        rows = text("A red cube\nEin Würfel\nb".encode("cp1252"))

        assert rows[0] == CUBE
        assert rows[2] == RawRow(3, {"prompt": "b"})
        assert problem_of(rows, 2) == (
            "is not UTF-8: byte 6 of the line is 0xFC, probably Windows-1252 or Latin-1, where it is 'ü'"
        )

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (b"caf\xe9", "byte 4 of the line is 0xE9, probably Windows-1252 or Latin-1, where it is 'é'"),
            (b"\x81", "byte 1 of the line is 0x81, perhaps of no text at all"),
            ("é".encode() + b"\xe2\x82", "byte 3 of the line is 0xE2, after characters that are UTF-8: "),
            (b"\xed\xa0\x80", "byte 1 of the line is 0xED"),
            (b"\xc0\xaf", "byte 1 of the line is 0xC0"),
            ("aé".encode("utf-16-le"), "byte 3 of the line is 0xE9, probably UTF-16"),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("read", [text, jsonl])
    def test_broken_utf_8_is_told_wherever_it_stands(self, read, line, told):
        rows = read(b'"a"\r\n' + line + b'\r\n"b"\r\n')

        assert [row.line for row in rows] == [1, 2, 3]
        assert problem_of(rows, 2).startswith(f"is not UTF-8: {told}")

    def test_nul_in_a_line_is_told(self):
        assert problem_of(text("a\nb\0c\n"), 2) == (
            "holds a NUL at character 2: is it UTF-16? Save the file as UTF-8"
        )

    @pytest.mark.parametrize("read", [text, jsonl])
    def test_mark_within_the_file_is_told(self, read):
        rows = read(codecs.BOM_UTF8 + b'"a"\n' + codecs.BOM_UTF8 + b'"b"\n')

        assert problem_of(rows, 2) == "begins with a byte order mark of its own: were files put together?"
        assert problem_of(read(codecs.BOM_UTF8 * 2 + b'"a"'), 1).startswith("begins with a byte order mark")


class TestLength:
    """A line of any length is a problem of its own and of no other, and is never held."""

    @pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    def test_longest_line_is_read(self, mark, end):
        content = mark + b"x" * (MAX_LINE - len(mark)) + end

        assert text(content + b"b" if end else content)[0].values["prompt"] == "x" * (MAX_LINE - len(mark))

    @pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    @pytest.mark.parametrize("more", [1, 2, 3, 4, MAX_LINE, 3 * MAX_LINE])
    @pytest.mark.parametrize("read", [text, jsonl])
    def test_longer_line_is_told_and_skipped_to_its_end(self, read, more, end, mark):
        rows = read(mark + b"x" * (MAX_LINE + more) + end + b'\n"b"' * bool(end))

        assert problem_of(rows, 1) == LONG
        assert [row.line for row in rows] == ([1, 3] if end else [1])

    def test_longest_prompt_fits_into_a_line_however_it_is_escaped(self):
        line = json.dumps({"prompt": "🎲" * MAX_PROMPT, "negative_prompt": "🎲" * 50_000})

        assert len(line) > 12 * MAX_PROMPT
        assert len(jsonl(line)[0].values["prompt"]) == MAX_PROMPT


class TestJSONLines:
    """An object a line, or a text."""

    def test_line_is_an_object_or_a_text(self):
        assert jsonl(
            '{"prompt": "A red cube", "id": 7, "seed": null, "image_size": {"width": 8}}\n"b"\n'
        ) == [
            RawRow(1, {"prompt": "A red cube", "id": 7, "seed": None, "image_size": {"width": 8}}),
            RawRow(2, {"prompt": "b"}),
        ]

    def test_blank_lines_are_no_rows_and_are_counted(self):
        assert jsonl('\n\r\n "A red cube" \n  \n') == [RawRow(3, {"prompt": "A red cube"})]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ('["a"]', "is not an object or a text, but a list"),
            ("[", "is not JSON: Expecting value at character 2"),
            ("1", "is not an object or a text, but a number"),
            ("1.5", "is not an object or a text, but a number"),
            ("true", "is not an object or a text, but true or false"),
            ("null", "is not an object or a text, but nothing (null)"),
            ("A red cube", "is not JSON: Expecting value at character 1"),
            (
                "{'prompt': 'a'}",
                "is not JSON: Expecting property name enclosed in double quotes at character 2",
            ),
            ('{"prompt": "a"', "is not JSON: Expecting ',' delimiter at character 15"),
            ('{"prompt": "a"} {}', "is not JSON: Extra data at character 17"),
            ('{"prompt": "a"},', "is not JSON: Extra data at character 16"),
            ('{"prompt": "a\tb"}', "is not JSON: Invalid control character at at character 14"),
            ('{"prompt": "a", "seed": 1, "seed": 2}', "names 'seed' twice in one object"),
            ('{"prompt": "a", "x": {"y": {"z": 1, "z": 1}}}', "names 'z' twice in one object"),
            ('{"prompt": "a", "prompt": "a"}', "names 'prompt' twice in one object"),
            ('{"prompt": "a", "seed": NaN}', "holds NaN, which is not JSON"),
            ('{"prompt": "a", "seed": [-Infinity]}', "holds -Infinity, which is not JSON"),
            ("Infinity", "holds Infinity, which is not JSON"),
        ],
        ids=str,
    )
    def test_what_is_neither_is_told_and_the_rest_is_read(self, line, told):
        assert jsonl(f'"A red cube"\n{line}\n"b"') == [CUBE, RawRow(2, {}, told), RawRow(3, {"prompt": "b"})]

    @pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000, f'{{"seed": {"9" * 5000}}}'])
    def test_what_python_cannot_read_is_told(self, line):
        assert problem_of(jsonl(line), 1).startswith("is not JSON that can be read: ")

    def test_long_name_is_not_quoted_whole(self):
        assert len(problem_of(jsonl(f'{{"{"x" * 1000}": 1, "{"x" * 1000}": 1}}'), 1)) < 120

    @pytest.mark.parametrize("value", [{}, {"a": [1, 2.5, None, True]}, [], "x", 5, None], ids=repr)
    def test_text_of_json_is_its_value(self, value: Any):
        assert parse(f" {json.dumps(value)} ") == value

    def test_text_that_is_none_is_refused(self):
        with pytest.raises(NotJSON, match="Expecting value at character 1"):
            parse("")
