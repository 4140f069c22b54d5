"""Arguments are given their types after rendering, or refused with their name, value and what is allowed."""

from __future__ import annotations

import types
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import create_model

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.jobs.arguments import (
    Amount,
    Arguments,
    Boolean,
    Name,
    Names,
    Number,
    OptionalText,
    Seconds,
    Text,
    Timeout,
    one_of,
    or_default,
    whole,
)
from airflow_provider_oxen.jobs.plain import shown

CHOICE = Annotated[Literal["a", "b"], one_of(Literal["a", "b"])]
POSITIVE = Annotated[int, or_default(whole(1))]


def read(kind: Any, value: Any, default: Any = "the default") -> Any:
    one: type[Arguments] = create_model("One", __base__=Arguments, it=(kind, default))
    return one.read({"it": value}).it  # type: ignore[attr-defined]


def problem(kind: Any, value: Any) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        read(kind, value)
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "found"),
    [(True, True), (False, False), ("True", True), (" false ", False), ("1", True), (0, False)],
    ids=repr,
)
def test_boolean_is_read_from_its_text(value, found):
    assert read(Boolean, value) is found


@pytest.mark.parametrize("value", ["yes", 2, []], ids=repr)
def test_what_is_no_boolean_is_refused(value):
    assert problem(Boolean, value) == f"it must be True or False, not {value!r}."


def test_choice_is_one_of_the_words():
    assert read(CHOICE, "b") == "b"


@pytest.mark.parametrize("value", ["c", "A", ["a"]], ids=repr)
def test_another_word_is_refused_with_those_allowed(value):
    assert problem(CHOICE, value) == f"it must be one of a, b, not {value!r}."


def test_text_is_stripped():
    assert read(Text, " a b\n") == read(OptionalText, " a b\n") == read(Name, " a b\n") == "a b"


@pytest.mark.parametrize("value", ["", "  ", "None", None, 5, ["a"]], ids=repr)
def test_what_is_no_text_is_refused(value):
    assert problem(Text, value) == f"it must be a text, not {value!r}."


@pytest.mark.parametrize("value", [None, "", "  ", "None", " null "], ids=repr)
@pytest.mark.parametrize(
    "kind",
    [Boolean, CHOICE, Name, OptionalText, POSITIVE, Number, Amount, Seconds],
    ids=["bool", "choice", "name", "text", "positive", "number", "amount", "seconds"],
)
def test_argument_has_its_default_where_a_template_has_nothing_to_say(kind, value):
    assert read(kind, value) == "the default"


@pytest.mark.parametrize("value", [None, "", "  ", "None", " null "], ids=repr)
def test_no_timeout_is_for_ever_and_not_the_default(value):
    assert read(Timeout, value) is None


@pytest.mark.parametrize("value", [5, False, ["a"]], ids=repr)
def test_optional_text_of_another_type_is_refused(value):
    assert problem(OptionalText, value) == f"it must be a text, not {value!r}."


@pytest.mark.parametrize(
    ("value", "expected"),
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
def test_mapping_is_read_from_json_too(value, expected):
    found = read(Names, value)

    assert found == expected
    assert type(found) is dict


def test_mapping_is_a_copy():
    given = {"a": 1}

    assert read(Names, given) is not given


def test_mapping_that_a_template_rendered_as_python_is_told_how_to_do_better():
    assert problem(Names, "{'a': 1}") == (
        "it was rendered to \"{'a': 1}\", which is not JSON: render it with '| tojson'."
    )


@pytest.mark.parametrize("value", [[1], "[1]", "5", 5, True, {5: 1}, {"": 1}, {None: 1}], ids=repr)
def test_what_is_no_mapping_of_names_is_refused(value):
    assert problem(Names, value).startswith("it must map names to values, not ")


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1), ("1", 1), (" 42 ", 42), (4.0, 4), ("4.0", 4), (10**12, 10**12)], ids=repr
)
def test_positive_is_an_integer_or_its_text(value, expected):
    found = read(POSITIVE, value)

    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "-4", 4.5, "4.5", "four", True, [4], float("nan"), float("inf"), "1e3"],
    ids=repr,
)
def test_what_is_no_positive_integer_is_refused(value):
    assert problem(POSITIVE, value) == f"it must be an integer of at least 1, not {value!r}."


def test_whole_number_has_a_least():
    assert whole(0)("0") == 0
    assert problem(Annotated[int, or_default(whole(5))], 4) == "it must be an integer of at least 5, not 4."


def test_value_is_shown_in_short():
    assert shown("a") == "'a'"
    assert shown("x" * 198) == f"'{'x' * 198}'"
    assert shown("x" * 199) == f"'{'x' * 198}…"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.5, 0.5), ("0.5", 0.5), (" 3 ", 3.0), ("3.0", 3.0), (1e-9, 1e-9), (10**12, 1e12)],
    ids=repr,
)
def test_number_is_read_from_its_text(value, expected):
    found = read(Number, value)

    assert found == expected
    assert type(found) is float


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0",
        "-0.5",
        "much",
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
    assert problem(Number, value) == f"it must be a number above 0, not {value!r}."


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), ("2.5", 2.5), (timedelta(minutes=2), 120.0), (timedelta(milliseconds=20), 0.02)],
    ids=repr,
)
def test_seconds_are_a_number_or_a_timedelta(value, expected):
    assert read(Seconds, value) == read(Timeout, value) == expected


@pytest.mark.parametrize("value", [0, "soon", True], ids=repr)
def test_what_is_no_time_is_refused(value):
    assert problem(Seconds, value) == f"it must be a number of seconds above 0, not {value!r}."


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-5)], ids=repr)
def test_time_that_is_over_is_refused(value):
    assert problem(Timeout, value) == f"it must be a number of seconds above 0, not {value!r}."


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (5, 5.0),
        (0.5, 0.5),
        (Decimal("0.5"), 0.5),
        ("5", 5.0),
        (" 5.50 ", 5.5),
        ("$5", 5.0),
        ("$ 0.05", 0.05),
        ("$.5", 0.5),
        ("5.", 5.0),
        ("5$", 5.0),
        ("US$5", 5.0),
        ("5 USD", 5.0),
        ("usd 5", 5.0),
        ("5 dollars", 5.0),
        ("$1,000", 1000.0),
        ("1,234,567.50", 1234567.5),
        ("1_000", 1000.0),
        ("1e-05", 0.00001),
    ],
    ids=repr,
)
def test_amount_is_read_as_people_write_it(value, usd):
    assert read(Amount, value) == usd


@pytest.mark.parametrize(
    "value",
    [
        *("much", "0,50", "1,00", "0,500", "1.000,00", "€5", "5 EUR", "-5", "$-5", "$0", "nan", "inf"),
        *("5 5", "1e999", "٥", "5%", 0, -1, float("inf"), float("nan"), True, [5]),
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused_with_an_example(value):
    told = f"it must be a number above 0, not {value!r}. Write it in USD, as 5, 0.5 or '$5'."
    assert problem(Amount, value) == told


def test_all_that_will_not_do_is_told_at_once_in_one_line():
    both = create_model("Both", __base__=Arguments, one=(Boolean, False), other=(Seconds, 1.0))

    with pytest.raises(OxenInvalidRequest) as caught:
        both.read({"one": "yes", "other": "x" * 1000})

    told = caught.value.message
    assert told.startswith(
        "one must be True or False, not 'yes'. other must be a number of seconds above 0, "
    )
    assert len(told) < 400
    assert "\n" not in told


def test_what_pydantic_or_a_library_says_is_one_line_under_the_arguments_name():
    def stumble(value: Any) -> Any:
        raise ValueError("Invalid\nIPv6 URL")

    assert problem(Annotated[str, or_default(stumble)], "x") == (
        "it cannot be used: Value error, Invalid IPv6 URL."
    )
    with pytest.raises(OxenInvalidRequest, match=r"spent\. it cannot be used: Field required\.$"):
        create_model("One", __base__=Arguments, it=(str, ...)).read({})
