"""What of a schema would take too long is seen beforehand, and the rest is checked."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_oxen.catalogue import schema
from airflow_provider_oxen.catalogue.bounds import LONGEST_TEXT, MOST_ITEMS, UNREAD, affordable, repeats
from airflow_provider_oxen.catalogue.rules import readable

DOUBLED: dict[str, Any] = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(60)}
OTHER = {"steps": {"type": "integer"}}


def told(rules: Any, value: Any = "x", **more: Any) -> list[tuple[str, bool]]:
    """Return what is said of a parameter beside another one that is wrong."""
    found = schema.check({"properties": {"p": rules, **OTHER}, **more}, {"p": value, "steps": "many"})
    return [(problem.message, problem.is_error) for problem in found]


WRONG = ("steps: must be of type integer, not 'many'", True)


@pytest.mark.parametrize(
    ("pattern", "variable"),
    [
        ("^#[0-9a-fA-F]{6}$", 0),
        ("a{3}", 0),
        ("^$", 0),
        ("[a-z]+", 1),
        ("^[A-Z]{2}-[0-9]{1,3}$", 1),
        ("^(png|jpe?g)$", None),
        ("^(png|jpg)$", 1),
        ("^[0-9]+:[0-9]+$", 2),
        (r"^\d+x\d+$", 2),
        ("^[^]]+$", 1),
    ],
)
def test_simple_patterns_are_cheap(pattern, variable):
    assert repeats(pattern) == variable


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a|a)*b", "(.*){20}x", "a?a?a?aaa", "(?:a?){40}a{40}", "^.*.*.*x", "(a|b)(a|b)(a|b)",
        r"(a)\1", "(?=a)b", r"\p{L}+", "a{200}", "(", "a" * 201, 7,
    ],
)  # fmt: skip
def test_other_patterns_are_not_checked(pattern):
    assert repeats(pattern) is None
    [warning] = [message for message, is_error in told({"pattern": pattern}, "a" * 40) if not is_error]
    assert warning.startswith("p: the rule pattern of the model's request schema cannot be evaluated")


def test_a_repetition_is_not_held_against_a_long_text():
    rules = {"pattern": "^[a-z]+$"}

    assert told(rules, "a" * LONGEST_TEXT) == [WRONG]
    assert told(rules, "a" * LONGEST_TEXT + "1")[1][0].startswith("p: the rule pattern of the model")
    assert told(rules, "1")[0][0].startswith("p: breaks the rule pattern")
    assert told({"pattern": "^a"}, "a" * 5000) == [WRONG]
    assert told(rules, 5) == [WRONG]


def test_items_of_a_long_list_are_not_held_against_each_other():
    rules = {"uniqueItems": True}

    assert told(rules, [1, 1])[0][0].startswith("p: breaks the rule uniqueItems")
    assert told(rules, [{}] * (MOST_ITEMS + 1))[1][0].startswith("p: the rule uniqueItems of the model")


@pytest.mark.parametrize(
    "rules",
    [
        {"$ref": "#/$defs/s0"},
        {"$ref": "#"},
        {"$ref": "#/properties/p"},
        {"anyOf": [{"const": n} for n in range(600)]},
        {"not": {"$dynamicRef": "#/properties/p"}},
        {"$ref": "#/$defs/value/const"},
        {"$ref": "#/$defs/odd/$unread/minimum"},
    ],
    ids=["doubling", "the whole", "itself", "branches", "dynamic", "a value", "a broken rule"],
)
def test_dear_rules_of_a_parameter_are_one_warning_and_the_others_are_checked(rules):
    slow = {"pattern": "(a+)+$"}
    began = time.process_time()
    defs = {**DOUBLED, "value": {"const": slow}, "odd": {"minimum": slow}}
    found = told(rules, "a" * 40 + "!", **{"$defs": defs})

    assert_one_warning(found)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("way", ["/oneOf/-1", "/oneOf/000001", "/oneOf/ 1", "/anyOf/1"])
def test_references_cost_what_they_lead_to_however_they_are_written(way):
    """Each leads to the second rule of a list; the last is the list that ``nullable`` is written as."""
    defs = {}
    for n in range(40):
        twice = {"allOf": [{"$ref": f"#/$defs/s{n + 1}{way}"}] * 2}
        defs[f"s{n}"] = {**twice, "nullable": True} if "anyOf" in way else {"oneOf": [{}, twice]}
    began = time.process_time()
    found = told({"$ref": f"#/$defs/s0{way}"}, **{"$defs": defs})

    assert_one_warning(found)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["default", "title", "type"])
@pytest.mark.parametrize("base", [{}, {"$id": "https://a.example"}], ids=["no id", "id"])
def test_rules_of_a_parameter_with_a_keywords_name_cost_what_they_do(name, base):
    nested = {"$ref": "#/$defs/s0", "$defs": DOUBLED, **base}
    began = time.process_time()
    found = told({"properties": {name: nested}}, {name: 5}, **{"$defs": DOUBLED})

    assert_one_warning(found)
    assert time.process_time() - began < 2


def assert_one_warning(found: list[tuple[str, bool]]) -> None:
    assert WRONG in found
    [warning] = [message for message, is_error in found if not is_error]
    assert warning.endswith("cannot be evaluated and was not checked: 'more than is checked'")


def test_nested_rules_have_a_deepest_level():
    rules: Any = {"type": "integer"}
    for _ in range(90):
        rules = {"not": rules}

    assert told(rules)[1][0].endswith("was not checked: 'more than is checked'")


@pytest.mark.parametrize("more", [{"allOf": [{"$ref": "#"}]}, {"if": {"$ref": "#/$defs/s0"}}])
def test_dear_rules_of_the_request_itself_leave_the_parameters(more):
    found = told({"type": "string"}, **more, **{"$defs": DOUBLED, "required": ["prompt"]})

    assert [message for message, is_error in found if is_error] == [
        "prompt: missing, and the model requires it", WRONG[0],
    ]  # fmt: skip
    assert any(message.endswith("'more than is checked'") for message, _ in found)


def test_references_are_followed_as_they_are_written():
    defs = {"a/b": {"type": "integer"}, "list": {"anyOf": [{}, {"type": "boolean"}]}}
    for target in ("#/$defs/a~1b", "#/$defs/list/anyOf/1"):
        assert told({"$ref": target}, **{"$defs": defs})[0][0].startswith("p: must be of type")
    for target in (
        "#/$defs/list/anyOf/9",
        "#/$defs/list/anyOf/x",
        "#/$defs/a~1b/type/x",
        "https://a.example",
    ):
        assert told({"$ref": target}, **{"$defs": defs})[0] == WRONG


def test_names_that_would_turn_references_are_left_out():
    assert readable(
        {"$id": "http://a.example", "properties": {"p": {"$anchor": "x", "type": "integer"}}}
    ) == {"properties": {"p": {"type": "integer"}}}


def test_a_whole_request_has_a_budget():
    rules = {f"p{n}": {"anyOf": [{"const": i} for i in range(240)]} for n in range(40)}
    cheap = affordable(readable({"properties": rules}))["properties"]

    assert 10 <= sum(UNREAD not in each for each in cheap.values()) < 30
