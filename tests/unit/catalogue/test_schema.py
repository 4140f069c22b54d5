"""A model's request schema, as the hub writes it, says what is wrong with a request in words for people."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.models import HUB_PARAMETERS
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.catalogue import schema, values
from airflow_provider_oxen.catalogue.schema import Problem
from airflow_provider_oxen.catalogue.values import SEED_LIMIT
from tests.unit.api.conftest import Loopback

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


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("num_inference_step", "num_inference_steps"), ("Output-Format", "output_format"), ("modle", "model")],
)
def test_listed_parameter_with_a_slip_in_its_name_is_an_error(slip, meant):
    message = f"{slip}: the model's request schema does not list this parameter. Did you mean {meant!r}?"

    assert schema.check(KLEIN, {slip: 4}, whole=False) == [Problem(slip, "unlisted", message, is_error=True)]


PRESETS = {"type": "string", "enum": ["square_hd", "512x512"]}
SIZE = {
    "type": "object",
    "required": ["width", "height"],
    "properties": {"width": {"type": "integer", "maximum": 2048}, "height": {"type": "integer"}},
}
BESIDE = {"width": {"type": "integer", "maximum": 2048}, "height": {"type": "integer"}}
PIXELS = {"width": 1024, "height": 768}


@pytest.mark.parametrize(
    ("properties", "asked", "sent"),
    [
        ({"image_size": SIZE}, "1024x768", {"image_size": PIXELS}),
        ({"image_size": {"anyOf": [PRESETS, SIZE]}}, " 1024 X 768px", {"image_size": PIXELS}),
        ({"image_size": {"anyOf": [{"type": "string"}, SIZE]}}, "1024×768", {"image_size": PIXELS}),
        ({"image_size": {}}, "1024*768", {"image_size": PIXELS}),
        ({"image_size": {"anyOf": [PRESETS, SIZE]}}, "512x512", {"image_size": "512x512"}),
        ({"image_size": {"anyOf": [PRESETS, SIZE]}}, "square_hd", {"image_size": "square_hd"}),
        ({"image_size": {"type": "string"}}, "1024x768", {"image_size": "1024x768"}),
        ({"image_size": {"pattern": "^[0-9]+x[0-9]+$"}}, "1024x768", {"image_size": "1024x768"}),
        (BESIDE, "1024x768", PIXELS),
        (BESIDE, PIXELS, PIXELS),
        ({**BESIDE, "image_size": PRESETS}, "1024x768", PIXELS),
        ({**BESIDE, "image_size": PRESETS}, "512x512", {"image_size": "512x512"}),
        ({**BESIDE, "image_size": SIZE}, PIXELS, {"image_size": PIXELS}),
        ({}, "1024x768", {"image_size": PIXELS}),
        (BESIDE, "wide", {"image_size": "wide"}),
        (BESIDE, {"width": 5}, {"image_size": {"width": 5}}),
        (BESIDE, None, {"image_size": None}),
    ],
    ids=str,
)
def test_size_in_pixels_takes_the_form_that_the_model_takes(properties, asked, sent):
    found = schema.sized({"properties": properties}, {"image_size": asked, "steps": 4})

    assert found == {**sent, "steps": 4}


@pytest.mark.parametrize(
    ("properties", "asked", "message"),
    [
        (
            {"prompt": {}, "aspect_ratio": {}},
            "1024x768",
            "does not list this parameter, nor width and height, so that '1024x768' means nothing to it; it "
            "lists prompt, aspect_ratio",
        ),
        (
            {"image_size": PRESETS},
            "1024x768",
            "image_size: must be one of ['square_hd', '512x512'], not '1024x768'",
        ),
        ({"image_size": SIZE}, "4096x768", "image_size.width: must be at most 2048, not 4096"),
        (BESIDE, "4096x768", "width: must be at most 2048, not 4096"),
        ({"width": {}, "size": {}}, "9x9", "'9x9' means nothing to it; it lists width, size"),
    ],
    ids=str,
)
def test_size_in_pixels_that_the_model_does_not_take_is_an_error(properties, asked, message):
    whole = {"properties": properties}
    [problem] = schema.check(whole, schema.sized(whole, {"image_size": asked}))

    assert problem.message.endswith(message)
    assert problem.is_error


def test_size_in_pixels_is_not_mixed_with_a_width_that_was_given():
    given = {"image_size": "1024x768", "width": 512}
    whole = {"properties": BESIDE}

    assert schema.sized(whole, given) == given
    assert [problem.parameter for problem in schema.check(whole, given)] == ["image_size"]


def test_schema_that_lists_nothing_calls_nothing_unlisted():
    assert messages({"type": "object"}, prompt="p", anything=1) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            [{"enum": ["a", "b"]}, {"type": "object", "required": ["width", "height"]}],
            "must be one of ['a', 'b'], or a mapping with width and height",
        ),
        ([{"enum": ["a", "b"]}, {"type": "object"}], "breaks the rule anyOf: "),
        ([{"enum": ["a", "b"]}, False], "breaks the rule anyOf: "),
    ],
)
def test_choice_is_told_in_words_where_there_are_words(rules, said):
    [message] = messages({"properties": {"size": {"anyOf": rules}}}, size=5)

    assert message.startswith(f"size: {said}")
    assert message.endswith(", not 5")


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
def test_broken_rule_is_one_warning_that_names_it(broken):
    [problem] = schema.check(broken, {"p": "x"})

    assert not problem.is_error
    assert problem.parameter in ("p", "")
    start = (
        f"{problem.parameter or 'the request'}: the rule {problem.rule} of the model's request schema cannot"
    )
    assert problem.message.startswith(f"{start} be evaluated and was not checked: ")


@pytest.mark.parametrize(
    "rules",
    [
        {"type": "colour"},
        {"type": ["integer", "colour"]},
        {"type": {"of": "colour"}},
        {"type": ["integer", ["null"]]},
        {"enum": "abc"},
        {"minimum": "low"},
        {"maximum": True},
        {"minimum": float("nan")},
        {"maximum": 10**400, "minimum": float("-inf")},
        {"exclusiveMaximum": [1]},
        {"exclusiveMinimum": True},
        {"multipleOf": 0},
        {"multipleOf": -0.1},
        {"maxLength": -1},
        {"maxLength": 1.5},
        {"minItems": "2"},
        {"pattern": r"^\p{L}+$"},
        {"pattern": "(?<word>a)"},
        {"pattern": "a{99999999999}"},
        {"pattern": ["a"]},
        {"patternProperties": {r"\p{L}": {"type": "string"}}},
        {"uniqueItems": "yes"},
        {"required": [5]},
        {"dependentRequired": {"a": "b"}},
        {"allOf": {"type": "string"}},
        {"allOf": ["string"]},
        {"not": "string"},
        {"items": [{"type": "string"}]},
        {"properties": ["a"]},
        {"$ref": "https://elsewhere.example/schema.json#/size"},
        {"$ref": "http://[/"},
        {"$ref": "#/required"},
        {"$ref": "#/required/first"},
        {"$ref": "#/properties/p"},
        {"$ref": 5},
        {"$id": 5},
        5,
        None,
        ["string"],
    ],
    ids=str,
)
def test_rule_that_cannot_be_evaluated_leaves_the_others(rules):
    p = {**rules, "const": "right"} if isinstance(rules, dict) else rules
    odd = {
        "required": ["prompt"],
        "properties": {"p": p, "q": {"type": "integer", "maximum": 9}, "prompt": {"type": "string"}},
    }
    problems = schema.check(odd, {"p": "wrong", "q": 10})

    told = {(problem.parameter, problem.rule) for problem in problems if problem.is_error}
    assert told >= {("prompt", "required"), ("q", "maximum")}
    assert (("p", "const") in told) is (isinstance(rules, dict) and rules != {"$ref": "#/properties/p"})
    assert [problem.parameter for problem in problems if not problem.is_error] == ["p"]


ODD: dict[str, Any] = {"pattern": r"\p{L}"}


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ({"anyOf": [ODD, {"type": "integer"}]}, "x"),
        ({"oneOf": [ODD, {"type": "integer"}]}, "x"),
        ({"oneOf": [ODD, {"type": "string"}]}, "x"),
        ({"not": ODD}, "x"),
        ({"not": {"not": ODD}}, "x"),
        ({"if": ODD, "then": {"type": "integer"}, "else": {"type": "boolean"}}, "x"),
        ({"contains": ODD}, ["x"]),
        ({"contains": ODD, "maxContains": 0}, ["x", "y"]),
        ({"propertyNames": ODD}, {"a": 1}),
        ({"$ref": "#/$defs/odd"}, "x"),
        ({"not": {"$ref": "#/$defs/odd"}}, "x"),
        ({"$ref": "#/components/schemas/odd"}, "x"),
    ],
    ids=str,
)
def test_what_depends_on_such_a_rule_is_undecided(rules, value):
    odd = one(rules, **{"$defs": {"odd": ODD}, "components": {"schemas": {"odd": ODD}}})
    problems = schema.check(odd, {"p": value})

    assert {(problem.rule, problem.is_error) for problem in problems} == {("pattern", False)}


@pytest.mark.parametrize(
    ("rules", "right", "wrong"),
    [
        ({"anyOf": [ODD, {"type": "string"}]}, "x", None),
        ({"anyOf": [{**ODD, "type": "string"}, {"type": "integer"}]}, 5, True),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "x", True),
        ({"oneOf": [{"type": "string"}, {"minLength": 3}, ODD]}, None, "long"),
        ({"not": {"type": "string"}}, 5, "x"),
        ({"not": {**ODD, "type": "string"}}, 5, None),
        ({"if": {"type": "string"}, "then": {"minLength": 3}, "else": {"minimum": 3}}, "long", 2),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, 2, "x"),
        ({"contains": {"type": "string"}}, ["x", 5], [5]),
        ({"contains": {"type": "string"}, "minContains": 2}, ["x", "y"], ["x"]),
        ({"contains": {"type": "string"}, "maxContains": 1}, ["x"], ["x", "y"]),
        ({"contains": {"type": "string"}}, "no array", []),
        ({"properties": {"a": {"type": "string"}}}, "no object", {"a": 5}),
        ({"pattern": "^[a-z]+$"}, "abc", "ABC"),
        ({"patternProperties": {"^a": {"type": "string"}}}, {"a": "x", "b": 5}, {"ab": 5}),
        ({"$ref": "#/x-parts/0"}, "x", 5),
    ],
    ids=str,
)
def test_combined_rules_decide_what_they_can(rules, right, wrong):
    def errors(value):
        whole = one(rules, **{"x-parts": [{"type": "string"}]})
        return [problem for problem in schema.check(whole, {"p": value}) if problem.is_error]

    assert right is None or errors(right) == []
    assert wrong is None or len(errors(wrong)) == 1


@pytest.mark.parametrize(
    ("rules", "right", "wrong"),
    [
        ({"minimum": 0, "exclusiveMinimum": True}, 0.1, 0),
        ({"maximum": 1, "exclusiveMaximum": True}, 0.9, 1),
        ({"minimum": 0, "exclusiveMinimum": False}, 0, -1),
        ({"maximum": 1, "exclusiveMaximum": False}, 1, 1.1),
        ({"exclusiveMinimum": 0}, 1, 0),
    ],
    ids=str,
)
def test_exclusive_limits_of_both_dialects_are_read(rules, right, wrong):
    assert messages(one(rules), p=right) == []
    [problem] = schema.check(one(rules), {"p": wrong})
    assert problem.is_error


@pytest.mark.parametrize(
    ("step", "right", "wrong"),
    [
        (0.1, [3.3, 0.3, 0.1 + 0.2, 7, 0, -1.1, 1e20, 1e300], [3.35, 0.05, 3.3000001]),
        (0.01, [0.07, 1.15, 19.99, 4.35], [0.075]),
        (0.05, [0.35, 1.15, 2], [0.36]),
        (1e-9, [0.123456789, 3], [1.5e-9]),
        (8, [64, 64.0, 2**60], [60, 64.5, 2**60 + 1]),
        (2.5, [5, 7.5], [4]),
        (64.0, [128], [100]),
    ],
    ids=str,
)
def test_multiple_is_counted_as_the_numbers_are_written(step, right, wrong):
    for value in right:
        assert messages(one({"multipleOf": step}), p=value) == [], value
    for value in wrong:
        shown = f"p: breaks the rule multipleOf: {step!r}, not {value!r}"
        assert messages(one({"multipleOf": step}), p=value) == [shown]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_number_is_no_multiple(value):
    assert len(messages(one({"multipleOf": 0.1}), p=value)) == 1


def test_schema_of_another_dialect_is_judged_by_the_same_rules():
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer", "exclusiveMinimum": 0}

    assert messages(one({"$ref": "#/$defs/old"}, **{"$defs": {"old": old}}), p=0) == [
        "p: breaks the rule exclusiveMinimum: 0, not 0"
    ]


def test_null_is_no_rule():
    nulls = dict.fromkeys(["minimum", "enum", "pattern", "anyOf", "required", "$ref", "multipleOf"])

    assert messages(one({**nulls, "type": "integer"}), p=5) == []
    assert messages(one({**nulls, "type": "integer"}), p="x") == ["p: must be of type integer, not 'x'"]


def test_what_a_schema_calls_like_our_mark_is_no_mark():
    assert messages(one({"$unread": 5, "type": "integer"}), p="x") == ["p: must be of type integer, not 'x'"]


def test_reference_without_an_end_in_the_request_itself_is_one_warning():
    endless = {"properties": {"p": {"type": "integer"}}, "allOf": [{"$ref": "#"}]}

    assert messages(endless, p="x")[0] == "p: must be of type integer, not 'x'"
    [warning] = [problem for problem in schema.check(endless, {"p": 1}) if not problem.is_error]
    assert "cannot be evaluated and was not checked: 'more than is checked'" in warning.message


def test_broken_list_of_required_parameters_is_none():
    assert messages({"required": "prompt", "properties": {"prompt": {}}}) == []
    assert messages({"required": [5, "prompt"], "properties": {"prompt": {}}}) == [
        "prompt: missing, and the model requires it"
    ]


@pytest.mark.parametrize("broken", [*BROKEN, {"properties": {"p": {"oneOf": [5, None]}}}], ids=str)
def test_broken_schema_leaves_parameters_and_seed_alone(broken):
    assert values.coerce(broken, {"p": "x"}) == {"p": "x"}
    assert values.seed_range(broken) == (0, SEED_LIMIT)


@pytest.mark.parametrize("place", ["$ref", "$dynamicRef"])
def test_remote_reference_is_not_fetched(place):
    with Loopback() as server:
        [problem] = schema.check(one({place: f"{server.url}/schema.json"}), {"p": "x"})

    assert server.asked == []
    assert problem.rule == "$ref"
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
    assert values.takes(request_schema, parameter) is listed


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
    assert values.seed_range({"properties": {"seed": rules}}) == bounds
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
    coerced = values.coerce(one(rules), {"p": text})["p"]

    assert coerced == value
    assert type(coerced) is type(value)


@pytest.mark.parametrize("text", ["None", "", "null", "  ", " None "])
def test_text_of_nothing_is_unset_where_no_text_is_wanted(text):
    assert values.coerce(one({"type": "integer"}), {"p": text}) == {}
    assert values.coerce(one({"type": "string"}), {"p": text}) == {"p": text}
    assert values.coerce(one({}), {"p": text}) == {"p": text}


def test_unlisted_parameters_stay_and_unset_ones_go():
    assert values.coerce(None, {"a": "4", "b": None}) == {"a": "4"}


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
    found = values.exact_number(text)

    assert found == number
    assert type(found) is type(number)


def test_a_whole_float_is_an_integer_where_the_schema_wants_one():
    wanted = {
        "properties": {
            "n": {"type": "integer"},
            "open": {"type": ["integer", "null"]},
            "scale": {"type": "number"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        }
    }
    given = {"n": 3.0, "open": 4.0, "scale": 3.0, "either": 3.0, "unlisted": 3.0}

    assert repr(values.coerce(wanted, given)) == repr({**given, "n": 3, "open": 4})
    assert values.coerce(wanted, {"n": 3.5}) == {"n": 3.5}


def test_pattern_that_is_none_is_one_warning():
    found = schema.check(one({"type": "string", "pattern": "[z-a]"}), {"p": 1})

    assert [(problem.rule, problem.is_error) for problem in found] == [("type", True), ("pattern", False)]


def test_schema_that_is_nested_too_deep_to_be_written_is_one_warning():
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}

    [problem] = schema.check(deep, {"prompt": "A red cube"})

    assert problem.rule == "schema"
    assert "nothing was checked" in problem.message


def test_key_is_hidden_before_what_a_schema_says_is_cut():
    key = "oxen-secret-key-of-a-schema"
    register_key(key)
    listed = {"x" * 190: {}, key: {}, "steps": {"enum": ["y" * 186, key]}}

    steps, size = schema.check({"properties": listed}, {"image_size": "64x32", "steps": 3})

    for message in (size.message, steps.message):
        assert "xen-s" not in message
        assert "***" in message


def test_item_whose_rule_cannot_be_read_is_told_by_its_place():
    rules = {"p": {"type": "array", "contains": {"pattern": "(a+)+"}}}

    [problem] = schema.check({"properties": rules}, {"p": ["aaaa"]})

    assert (problem.parameter, problem.rule, problem.is_error) == ("p.0", "pattern", False)
