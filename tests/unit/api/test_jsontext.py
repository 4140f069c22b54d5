"""JSON of strangers is read within bounds, and one odd thing in it costs nothing else."""

from __future__ import annotations

import json

import pytest

from airflow_provider_oxen.api import jsontext
from airflow_provider_oxen.api.jsontext import MAX_DEPTH, TooExpensive, loads

DEEP = MAX_DEPTH + 50


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, "ä"]}', {"a": [1, 2.5, None, "ä"]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
        ('{"a": NaN, "b": -Infinity, "c": 1}', {"a": None, "b": None, "c": 1}),
        (f'{{"a": {"9" * 5000}, "b": {"9" * 30}}}', {"a": None, "b": int("9" * 30)}),
        ('{"a": "\\ud83d", "\\udfff": 1, "b": "\\ud83d\\ude00"}', {"a": "?", "?": 1, "b": "😀"}),
        ('{"a": NaN, "b": 1e999}', {"a": None, "b": None}),
        (f'{{"a": {"[" * DEEP}{"]" * DEEP}, "b": 1}}', {"b": 1}),
        ('{"a": ' + '{"x":' * DEEP + "1" + "}" * DEEP + ', "b": 1}', {"b": 1}),
    ],
    ids=["usual", "mark", "utf-16", "nan", "digits", "halves", "exponent", "lists", "objects"],
)
def test_what_is_odd_costs_nothing_else(text, value):
    found = loads(text)

    assert value.items() <= found.items() if isinstance(value, dict) else found == value
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def test_what_lies_too_deep_is_left_out():
    found = loads(f"[{'[' * DEEP}{']' * DEEP}]")
    depth = 0
    while found:
        [found] = found
        depth += 1

    assert found is None
    assert depth == MAX_DEPTH


@pytest.mark.parametrize("text", ["", "{", "nope", b"\xff\xfe\x00", '{"a" 1}', "\ud800"])
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(ValueError, match=r"\S"):
        loads(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deep"),
        (f"[{'{},' * 1_001}1]", "more than 1,000 values"),
        (f"[{'[],' * 1_001}1]", "more than 1,000 values"),
        (f'"{"x" * 5_000}"', "more than 5,000 bytes"),
    ],
    ids=["deep", "objects", "lists", "long"],
)
def test_what_is_dear_is_not_read(text, why):
    with pytest.raises(TooExpensive, match=why):
        loads(
            text,
            longest=5_000 if "bytes" in why else jsontext.MAX_BYTES,
            many=1_000 if "values" in why else jsontext.MAX_VALUES,
        )


def test_a_long_text_is_one_value():
    assert loads(json.dumps({"b64_json": "A" * 300_000}), many=1_000) == {"b64_json": "A" * 300_000}
