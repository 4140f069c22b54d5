"""Arguments are given their types after rendering, or refused with their name, value and what is allowed."""

from __future__ import annotations

import types
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.jobs import arguments


def problem(read: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        read("it", *given, **named)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "read"),
    [(True, True), (False, False), ("True", True), (" false ", False), ("1", True), (0, False)],
    ids=repr,
)
def test_boolean_is_read_from_its_text(value, read):
    assert arguments.boolean("it", value) is read


@pytest.mark.parametrize("value", ["", "None", None, "yes", 2, []], ids=repr)
def test_what_is_no_boolean_is_refused(value):
    assert problem(arguments.boolean, value) == f"it must be True or False, not {value!r}."


def test_choice_is_one_of_the_words():
    assert arguments.choice("it", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", ["c", "", None, "A", ["a"]], ids=repr)
def test_another_word_is_refused_with_those_allowed(value):
    assert problem(arguments.choice, value, ("a", "b")) == f"it must be one of a, b, not {value!r}."


def test_text_is_stripped():
    assert arguments.text("it", " a b\n") == arguments.optional_text("it", " a b\n") == "a b"


@pytest.mark.parametrize("value", ["", "  ", None, 5, ["a"]], ids=repr)
def test_what_is_no_text_is_refused(value):
    assert problem(arguments.text, value) == f"it must be a text, not {value!r}."


@pytest.mark.parametrize("value", [None, "", "  ", "None", " null "], ids=repr)
def test_optional_text_is_none_where_a_template_has_nothing_to_say(value):
    assert arguments.optional_text("it", value) is None


@pytest.mark.parametrize("value", [5, False, ["a"]], ids=repr)
def test_optional_text_of_another_type_is_refused(value):
    assert problem(arguments.optional_text, value) == f"it must be a text, not {value!r}."


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": 1, "b": None}, {"a": 1, "b": None}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ('{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        (None, {}),
        ("null", {}),
        (" null ", {}),
        ("None", {}),
        ("  ", {}),
        ({}, {}),
    ],
    ids=repr,
)
def test_mapping_is_read_from_json_too(value, read):
    found = arguments.mapping("it", value)

    assert found == read
    assert type(found) is dict


def test_mapping_is_a_copy():
    given = {"a": 1}

    assert arguments.mapping("it", given) is not given


def test_mapping_that_a_template_rendered_as_python_is_told_how_to_do_better():
    assert problem(arguments.mapping, "{'a': 1}") == (
        "it was rendered to \"{'a': 1}\", which is not JSON: render it with '| tojson'."
    )


@pytest.mark.parametrize("value", [[1], "[1]", "5", 5, True, {5: 1}, {"": 1}, {None: 1}], ids=repr)
def test_what_is_no_mapping_of_names_is_refused(value):
    assert problem(arguments.mapping, value).startswith("it must map names to values, not ")


@pytest.mark.parametrize(
    ("value", "read"), [(1, 1), ("1", 1), (" 42 ", 42), (4.0, 4), ("4.0", 4), (10**12, 10**12)], ids=repr
)
def test_positive_is_an_integer_or_its_text(value, read):
    found = arguments.positive("it", value)

    assert found == read
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "-4", 4.5, "4.5", "four", "", "None", None, True, [4], float("nan"), float("inf"), "1e3"],
    ids=repr,
)
def test_what_is_no_positive_integer_is_refused(value):
    assert problem(arguments.positive, value) == f"it must be an integer of at least 1, not {value!r}."


def test_whole_number_has_a_least():
    assert arguments.whole("it", "0", least=0) == 0
    assert problem(arguments.whole, 4, least=5) == "it must be an integer of at least 5, not 4."


def test_value_is_shown_in_short():
    assert arguments.shown("a") == "'a'"
    assert arguments.shown("x" * 198) == f"'{'x' * 198}'"
    assert arguments.shown("x" * 199) == f"'{'x' * 198}…"


@pytest.mark.parametrize(
    ("value", "read"),
    [(1, 1.0), (0.5, 0.5), ("0.5", 0.5), (" 3 ", 3.0), ("3.0", 3.0), (1e-9, 1e-9), (10**12, 1e12)],
    ids=repr,
)
def test_number_is_read_from_its_text(value, read):
    found = arguments.number("it", value, above=0)

    assert found == read
    assert type(found) is float


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0",
        "-0.5",
        "much",
        "",
        "None",
        None,
        True,
        "True",
        [1],
        float("nan"),
        float("inf"),
        "inf",
        "1e3",
    ],
    ids=repr,
)
def test_what_is_no_number_above_the_limit_is_refused(value):
    assert problem(arguments.number, value, above=0) == f"it must be a number above 0, not {value!r}."


def test_number_has_a_limit_that_it_must_exceed():
    assert arguments.number("it", 2, above=1.5) == 2.0
    assert problem(arguments.number, 1.5, above=1.5) == "it must be a number above 1.5, not 1.5."


@pytest.mark.parametrize(
    ("value", "read"),
    [(3, 3.0), ("2.5", 2.5), (timedelta(minutes=2), 120.0), (timedelta(milliseconds=20), 0.02)],
    ids=repr,
)
def test_seconds_are_a_number_or_a_timedelta(value, read):
    assert arguments.seconds("it", value) == read


@pytest.mark.parametrize("value", [0, "soon", None, True], ids=repr)
def test_what_is_no_time_is_refused(value):
    assert problem(arguments.seconds, value) == f"it must be a number above 0, not {value!r}."


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-5)], ids=repr)
def test_time_that_is_over_is_refused(value):
    assert problem(arguments.seconds, value) == f"it must be a number above 0, not {value.total_seconds()!r}."
