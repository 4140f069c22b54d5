"""A body on record, and the arguments that it is said to be made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.catalogue import values
from airflow_provider_oxen.jobs.fitting import is_other_job, is_same, misfits
from airflow_provider_oxen.jobs.request import RequestArguments, fingerprint

IDENTITY = "0123456789abcdef" * 4
PLAIN: dict[str, Any] = {"model": "m", "prompt": "A red cube"}


def asked(**parameters: Any) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        name: parameters.pop(name) for name in ("seed", "image_size") if name in parameters
    }
    return RequestArguments.read(dict(**PLAIN, **fixed, model_params=parameters)).request().body()


VALUES = [
    "4", " 4 ", "4.0", "3.50", "007", "1.5e3", "true", "True", " TRUE ", "None", "", "null", "high", " high ",
    "0x2A", 4, 4.0, 3.5, -0.0, 1e300, True, False, [1, "2", {"deep": 1.0}], {"a": {"b": [True, None]}},
]  # fmt: skip
RULES: list[Any] = [
    None,
    *({"type": kind} for kind in ("integer", "number", "boolean", "string")),
    {"type": ["integer", "null"]},
    {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
    {"enum": [4, "high", True, 3.5, "None"]},
    {"type": "string", "enum": ["4", "high"]},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_whatever_a_schema_makes_of_an_argument_fits(value):
    request = RequestArguments.read(dict(**PLAIN, model_params={"guidance": value})).request()
    for rule in RULES:
        coerced = values.coerce({"properties": {"guidance": rule}}, {"guidance": value})
        body = json.loads(json.dumps({**PLAIN, "seed": 7, **coerced}))
        assert misfits(request.body(), body, IDENTITY) == [], rule


@pytest.mark.parametrize(
    ("before", "now"), [("4", 4), (4.0, "4"), ("true", True), (True, "True"), ([1.0, "2"], [1, 2])], ids=repr
)
def test_one_request_in_other_words_fits(before, now):
    """Its fingerprint is the same, so the record is not of a changed request."""
    was, request = (
        RequestArguments.read(dict(**PLAIN, model_params={"guidance": value})).request()
        for value in (before, now)
    )

    assert fingerprint(was) == fingerprint(request)
    assert misfits(request.body(), was.body(), IDENTITY) == []


@pytest.mark.parametrize("asked_for", ["64x32", "64 X 32", {"width": 64, "height": 32}], ids=repr)
@pytest.mark.parametrize(
    "body",
    [{"image_size": "64x32"}, {"image_size": {"width": 64, "height": 32}}, {"width": 64, "height": 32}],
    ids=repr,
)
def test_size_fits_in_every_form_that_a_model_may_take(asked_for, body):
    assert misfits(asked(image_size=asked_for), {**PLAIN, **body}, IDENTITY) == []
    assert is_same({**PLAIN, **body}, asked(image_size=asked_for))
    assert is_same(asked(image_size=asked_for), {**PLAIN, **body})


ALTERED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "another value": ({"guidance": "3.5"}, {"guidance": 4}, ["guidance"]),
    "a number for true": ({"safe": True}, {"safe": 1}, ["safe"]),
    "none for a value": ({"guidance": 3.5}, {}, ["guidance"]),
    "a further one": ({}, {"quality": "max"}, ["a further parameter"]),
    "another within": ({"size": {"width": 1}}, {"size": {"width": 2}}, ["size"]),
    "another seed": ({"seed": 4}, {"seed": 5}, ["seed"]),
    "no seed": ({"seed": 4}, {}, ["seed"]),
    "a seed that is none": ({}, {"seed": "7"}, ["seed"]),
    "true for a seed": ({}, {"seed": True}, ["seed"]),
    "another size": ({"image_size": "square_hd"}, {"image_size": "portrait_4_3"}, ["image_size"]),
    "another size in pixels": ({"image_size": "64x32"}, {"image_size": "64x64"}, ["image_size"]),
    "another width": (
        {"image_size": "64x32"},
        {"width": 32, "height": 32},
        ["image_size", "a further parameter"],
    ),
    "a width beside another": (
        {"image_size": "64x32", "width": 64},
        {"width": 64, "height": 32},
        ["image_size", "a further parameter"],
    ),
    "another's directory": ({}, {"target_directory": "airflow/another"}, ["target_directory"]),
    "two": ({"a": 1, "b": 2}, {"a": 2, "b": 1}, ["a", "b"]),
}


@pytest.mark.parametrize(("arguments", "body", "odd"), ALTERED.values(), ids=ALTERED)
def test_what_no_schema_makes_of_them_does_not_fit(arguments, body, odd):
    assert misfits(asked(**arguments), {**PLAIN, **body}, IDENTITY) == odd


def test_value_that_is_too_deep_to_be_read_does_not_fit():
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]

    assert misfits(asked(guidance=1), {**PLAIN, "guidance": deep}, IDENTITY) == ["a value of many levels"]


def test_where_the_answer_goes_and_who_pays_are_held_elsewhere():
    beside = {"response_format": "b64_json", "target_namespace": "org", "target_repo": "org/shots"}
    body = {**PLAIN, **beside, "target_directory": f"airflow/{IDENTITY}/abc"}

    assert misfits(asked(), body, IDENTITY) == []
    assert is_same({**PLAIN, "seed": 7}, {"seed": 7.0, **PLAIN, "response_format": "b64_json"})
    assert not is_same({**PLAIN, "seed": 7}, PLAIN)


@pytest.mark.parametrize("name", ["seed", "target_directory"])
def test_other_job_is_what_bears_another_mark(name):
    assert is_other_job({name: 1}, {name: 2})
    assert not is_other_job({name: 1}, {name: 1})
    assert not is_other_job({name: 1}, {})
    assert not is_other_job({}, {name: 1})
