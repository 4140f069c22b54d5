"""A model's request schema, as the hub writes it, says what is wrong with a request in words for people."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api import schema
from airflow_provider_oxen.api.models import HUB_PARAMETERS
from airflow_provider_oxen.api.schema import SEED_LIMIT, Problem

from .conftest import Loopback

KLEIN: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "x-order": 0},
        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 8},
        "guidance_scale": {"type": "number", "minimum": 0, "maximum": 10, "x-hidden": True},
        "seed": {"type": "integer", "nullable": True, "example": "any"},
        "output_format": {"type": "string", "enum": ["webp", "jpg", "png"], "default": "webp"},
        "quality": {"enum": [50, 75, 100], "nullable": True},
        "input_image": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "size": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/size"}]},
        "fast": {"type": "boolean"},
    },
    "$defs": {
        "size": {
            "type": "object",
            "required": ["width", "height"],
            "properties": {"width": {"type": "integer", "minimum": 64}, "height": {"type": "integer"}},
        },
    },
    "additionalProperties": False,
}


def one(rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a schema with one parameter, ``p``."""
    return {"type": "object", "properties": {"p": rules}, **more}


def messages(request_schema: dict[str, Any] | None, **parameters: Any) -> list[str]:
    return [problem.message for problem in schema.check(request_schema, parameters)]


@pytest.mark.parametrize(
    "parameters",
    [
        {"prompt": "p"},
        {"prompt": "p", "num_inference_steps": 50, "guidance_scale": 3.5, "seed": 7},
        {"prompt": "p", "num_inference_steps": 4.0},
        {"prompt": "p", "seed": None, "quality": None},
        {"prompt": "p", "output_format": "png", "quality": 75, "fast": False},
        {"prompt": "p", "input_image": ["https://a/1", "https://a/2"]},
        {"prompt": "p", "size": "square"},
        {"prompt": "p", "size": {"width": 64, "height": 1}},
    ],
    ids=str,
)
def test_request_that_fits_has_no_problem(parameters):
    assert schema.check(KLEIN, parameters) == []


@pytest.mark.parametrize(
    ("parameters", "parameter", "rule", "message"),
    [
        ({}, "prompt", "required", "prompt: missing, and the model requires it"),
        ({"prompt": 5}, "prompt", "type", "prompt: must be of type string, not 5"),
        (
            {"num_inference_steps": 0},
            "num_inference_steps",
            "minimum",
            "num_inference_steps: must be at least 1, not 0",
        ),
        (
            {"num_inference_steps": 51},
            "num_inference_steps",
            "maximum",
            "num_inference_steps: must be at most 50, not 51",
        ),
        (
            {"num_inference_steps": "4"},
            "num_inference_steps",
            "type",
            "num_inference_steps: must be of type integer, not '4'",
        ),
        (
            {"guidance_scale": 10.5},
            "guidance_scale",
            "maximum",
            "guidance_scale: must be at most 10, not 10.5",
        ),
        ({"seed": "x"}, "seed", "type", "seed: must be of type integer or null, not 'x'"),
        (
            {"output_format": "gif"},
            "output_format",
            "enum",
            "output_format: must be one of ['webp', 'jpg', 'png'], not 'gif'",
        ),
        ({"quality": 60}, "quality", "enum", "quality: must be one of [50, 75, 100, None], not 60"),
        (
            {"input_image": ["a", 2]},
            "input_image.1",
            "type",
            "input_image.1: must be of type string, not 2",
        ),
        (
            {"input_image": ["a", "b", "c"]},
            "input_image",
            "maxItems",
            "input_image: breaks the rule maxItems: 2, not ['a', 'b', 'c']",
        ),
    ],
    ids=str,
)
def test_contradiction_names_parameter_rule_and_value(parameters, parameter, rule, message):
    whole = {"prompt": "p", **parameters} if parameters else {}

    assert schema.check(KLEIN, whole) == [Problem(parameter, rule, message, is_error=True)]


def test_contradiction_of_a_choice_shows_what_was_given():
    [problem] = schema.check(KLEIN, {"prompt": "p", "size": {"width": 63, "height": 1}})

    assert (problem.parameter, problem.rule, problem.is_error) == ("size", "anyOf", True)
    assert problem.message.endswith(", not {'width': 63, 'height': 1}")


def test_nested_parameter_is_named_by_its_path():
    size = one({"$ref": "#/$defs/size"}, **{"$defs": KLEIN["$defs"]})

    assert messages(size, p={"width": 63}) == [
        "p.height: missing, and the model requires it",
        "p.width: must be at least 64, not 63",
    ]


def test_every_missing_parameter_is_named_once():
    two = {"required": ["a", "b"], "properties": {"a": {}, "b": {}}}

    assert messages(two) == ["a, b: missing, and the model requires it"]
    assert messages(two, b=1) == ["a: missing, and the model requires it"]


def test_missing_parameter_is_no_problem_of_a_part():
    assert schema.check(KLEIN, {"fast": True}, whole=False) == []
    assert schema.check(KLEIN, {"fast": 1}, whole=False)[0].rule == "type"


def test_fields_of_the_hub_are_never_missing():
    assert messages({"required": [*HUB_PARAMETERS], "properties": {"prompt": {}}}) == []


def test_unlisted_parameter_is_a_warning():
    assert schema.check(KLEIN, {"prompt": "p", "image_size": "square_hd"}) == [
        Problem(
            "image_size",
            "unlisted",
            "image_size: the model's request schema does not list this parameter; it is sent as it is",
            is_error=False,
        )
    ]


def test_schema_that_lists_nothing_calls_nothing_unlisted():
    assert messages({"type": "object"}, prompt="p", anything=1) == []


def test_errors_come_first():
    problems = schema.check(KLEIN, {"prompt": "p", "a_new_one": 1, "seed": "x", "fast": "x"})

    assert [problem.parameter for problem in problems] == ["fast", "seed", "a_new_one"]


def test_rule_about_the_whole_request_is_told_as_such():
    either = {"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}

    [message] = messages(either)
    assert message.startswith("the request: breaks the rule anyOf: ")


def test_long_values_are_shortened():
    [message] = messages(one({"type": "integer"}), p="x" * 1000)

    assert len(message) < 300
    assert message.endswith("x…")


@pytest.mark.parametrize("nothing", [None, {}], ids=str)
def test_without_a_schema_nothing_is_wrong(nothing):
    assert messages(nothing, anything=1) == []


@pytest.mark.parametrize(
    "rules",
    [
        {"type": "integer", "nullable": True},
        {"type": ["integer"], "nullable": False, "anyOf": [{"type": "null"}, {}]},
        {"enum": [1, 2], "nullable": True},
        {"$ref": "#/$defs/whole", "nullable": True},
        {"allOf": [{"$ref": "#/$defs/whole"}], "nullable": True},
        {"anyOf": [{"type": "integer"}, {"type": "boolean"}], "nullable": True},
        {"oneOf": [{"type": "integer"}, {"type": "boolean"}], "nullable": True},
    ],
    ids=str,
)
def test_nullable_lets_null_in_and_nothing_else(rules):
    whole = one(rules, **{"$defs": {"whole": {"type": "integer"}}})

    assert messages(whole, p=1) == []
    assert len(messages(whole, p="x")) == 1
    if rules["nullable"]:
        assert messages(whole, p=None) == []


@pytest.mark.parametrize("name", ["x-order", "nullable", "default", "example", "properties", "required"])
def test_parameter_may_have_the_name_of_a_keyword(name):
    odd = {"type": "object", "properties": {name: {"type": "integer"}}}

    assert messages(odd, **{name: 1}) == []
    assert messages(odd, **{name: "x"}) == [f"{name}: must be of type integer, not 'x'"]


@pytest.mark.parametrize("place", ["$defs", "definitions"])
@pytest.mark.parametrize("name", ["x-size", "default", "example"])
def test_definition_may_have_the_name_of_a_keyword(place, name):
    referring = one({"$ref": f"#/{place}/{name}"}, **{place: {name: {"type": "integer", "x-order": 1}}})

    assert messages(referring, p="x") == ["p: must be of type integer, not 'x'"]


def test_value_of_an_enum_may_look_like_a_schema():
    odd = one({"enum": [{"nullable": True}]})

    assert messages(odd, p={"nullable": True}) == []
    assert len(messages(odd, p={})) == 1


BROKEN: list[dict[str, Any]] = [
    one({"type": "colour"}),
    one({"type": 5}),
    one({"minimum": "low"}),
    one({"pattern": "("}),
    one({"exclusiveMinimum": True}),
    one({"anyOf": 5}),
    one({"$ref": "#/$defs/nowhere"}),
    one({"$ref": "#nowhere"}),
    one({"$ref": "#/properties/p"}),
    {"properties": []},
    {"properties": {"p": 5}},
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_broken_schema_is_one_warning(broken):
    [problem] = schema.check(broken, {"p": "x"})

    assert (problem.parameter, problem.rule, problem.is_error) == ("", "schema", False)
    assert problem.message.startswith("the model's request schema cannot be read (")
    assert problem.message.endswith("); nothing was checked")


def test_broken_list_of_required_parameters_is_none():
    assert messages({"required": "prompt", "properties": {"prompt": {}}}) == []
    assert messages({"required": [5, "prompt"], "properties": {"prompt": {}}}) == [
        "prompt: missing, and the model requires it"
    ]


@pytest.mark.parametrize("broken", [*BROKEN, {"properties": {"p": {"oneOf": [5, None]}}}], ids=str)
def test_broken_schema_leaves_parameters_and_seed_alone(broken):
    assert schema.coerce(broken, {"p": "x"}) == {"p": "x"}
    assert schema.seed_range(broken) == (0, SEED_LIMIT)


@pytest.mark.parametrize("place", ["$ref", "$dynamicRef"])
def test_remote_reference_is_not_fetched(place):
    with Loopback() as server:
        [problem] = schema.check(one({place: f"{server.url}/schema.json"}), {"p": "x"})

    assert server.asked == []
    assert problem.rule == "schema"
    assert not problem.is_error


@pytest.mark.parametrize(
    ("request_schema", "parameter", "listed"),
    [
        (KLEIN, "seed", True),
        (KLEIN, "aspect_ratio", False),
        ({}, "seed", False),
        (None, "seed", False),
        ({"properties": ["seed"]}, "seed", False),
    ],
    ids=["listed", "unlisted", "empty", "none", "broken"],
)
def test_schema_tells_what_the_model_takes(request_schema, parameter, listed):
    assert schema.takes(request_schema, parameter) is listed


@pytest.mark.parametrize(
    ("rules", "bounds"),
    [
        ({}, (0, SEED_LIMIT)),
        ({"minimum": 1, "maximum": 10}, (1, 10)),
        ({"minimum": 5, "maximum": 5}, (5, 5)),
        ({"minimum": -1, "maximum": 100}, (0, 100)),
        ({"maximum": 2**32 - 1}, (0, SEED_LIMIT)),
        ({"minimum": 10, "maximum": 2**63}, (10, 10 + SEED_LIMIT)),
        ({"minimum": 0.0, "maximum": 9.0}, (0, 9)),
        ({"minimum": 10, "maximum": 5}, (0, SEED_LIMIT)),
        ({"minimum": "low", "maximum": None}, (0, SEED_LIMIT)),
        ({"minimum": float("nan"), "maximum": float("inf")}, (0, SEED_LIMIT)),
        ({"maximum": 10**400}, (0, SEED_LIMIT)),
        ("any", (0, SEED_LIMIT)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_seed_is_drawn_within_what_the_schema_allows(rules, bounds):
    assert schema.seed_range({"properties": {"seed": rules}}) == bounds
    assert SEED_LIMIT == 2147483647


@pytest.mark.parametrize(
    ("rules", "text", "value"),
    [
        ({"type": "integer"}, "4", 4),
        ({"type": "integer"}, " -4 ", -4),
        ({"type": "integer"}, "4.0", 4),
        ({"type": "integer"}, "4.5", "4.5"),
        ({"type": "integer"}, "four", "four"),
        ({"type": "integer"}, "1e3", "1e3"),
        ({"type": "number"}, "3.5", 3.5),
        ({"type": "number"}, "4", 4),
        ({"type": "number"}, "0.5e3", 500.0),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, " False ", False),
        ({"type": "boolean"}, "1", "1"),
        ({"type": ["integer", "null"]}, "4", 4),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "4", 4),
        ({"oneOf": [{"anyOf": [{"type": "number"}]}, True]}, "4.5", 4.5),
        ({"type": "integer", "enum": [1, 2]}, "2", 2),
        ({"enum": [1, 2]}, " 2 ", 2),
        ({"enum": [1, 2]}, "3", "3"),
        ({"enum": [1, "2"]}, "2", "2"),
        ({"enum": ["1k", "2k"]}, "2k", "2k"),
        ({"type": "string"}, "4", "4"),
        ({"type": "string"}, "None", "None"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "4", "4"),
        ({"type": "array"}, "[1]", "[1]"),
        ({}, "4", "4"),
        ({"$ref": "#/$defs/whole"}, "4", "4"),
        ("any", "4", "4"),
        ({"type": "integer"}, 4.5, 4.5),
        ({"type": "integer"}, True, True),
    ],
    ids=str,
)
def test_rendered_text_becomes_what_the_schema_asks_for_where_nothing_is_lost(rules, text, value):
    coerced = schema.coerce(one(rules), {"p": text})["p"]

    assert coerced == value
    assert type(coerced) is type(value)


@pytest.mark.parametrize("text", ["None", "", "null", "  ", " None "])
def test_text_of_nothing_is_unset_where_no_text_is_wanted(text):
    assert schema.coerce(one({"type": "integer"}), {"p": text}) == {}
    assert schema.coerce(one({"type": "string"}), {"p": text}) == {"p": text}
    assert schema.coerce(one({}), {"p": text}) == {"p": text}


def test_unlisted_parameters_stay_and_unset_ones_go():
    assert schema.coerce(None, {"a": "4", "b": None}) == {"a": "4"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4),
        (" +4\n", 4),
        ("-4", -4),
        ("007", 7),
        ("9" * 30, int("9" * 30)),
        ("3.50", 3.5),
        ("-0.5", -0.5),
        ("1.5e3", 1500.0),
        ("1.5E-3", 0.0015),
        ("9" * 31, None),
        ("1e3", None),
        ("4.", None),
        (".5", None),
        ("1_000", None),
        ("1,5", None),
        ("٤", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("4 5", None),
    ],
)
def test_number_is_one_that_the_text_spells_out(text, number):
    found = schema.exact_number(text)

    assert found == number
    assert type(found) is type(number)
