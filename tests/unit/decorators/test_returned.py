"""What a function may return, and what it comes to."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenPollError
from airflow_provider_oxen.decorators.returned import GoneRows, is_many, read_one
from airflow_provider_oxen.jobs.request import RequestArguments, fingerprint

DEFAULTS: dict[str, Any] = {
    "model": "z-image-turbo",
    "response_format": "url",
    "image_size": None,
    "num_inference_steps": "8",
    "seed": None,
    "target_namespace": None,
    "model_params": {"output_format": "webp", "strength": 0.5},
}


def test_a_text_is_the_prompt_and_the_rest_is_the_operators():
    assert read_one("A {{ red }} cube", DEFAULTS) == {
        "prompt": "A {{ red }} cube",
        **DEFAULTS,
        "num_inference_steps": 8,
    }


def test_a_mapping_overrides_fields_and_every_other_name_is_a_model_parameter():
    asked = read_one(
        {"prompt": "A cube", "seed": 7, "model": "gpt-image-2", "num_inference_steps": None, "strength": 0.9},
        DEFAULTS,
    )

    assert (asked["prompt"], asked["seed"], asked["model"]) == ("A cube", 7, "gpt-image-2")
    assert asked["num_inference_steps"] == 8
    assert asked["model_params"] == {"output_format": "webp", "strength": 0.9}


def test_what_is_read_is_plain_json_and_reads_to_the_same_request_again():
    returned = MappingProxyType(
        {
            "prompt": "A cube",
            "image_size": OrderedDict(width="64", height=48),
            "model_params": {"loras": ("a", "b")},
        }
    )

    asked = read_one(returned, DEFAULTS)

    assert asked == json.loads(json.dumps(asked))
    assert asked["image_size"] == {"width": 64, "height": 48}
    first = RequestArguments.read(
        dict(
            prompt="A cube",
            model="z-image-turbo",
            image_size={"width": 64, "height": 48},
            num_inference_steps=8,
            model_params={"output_format": "webp", "strength": 0.5, "loras": ["a", "b"]},
        )
    ).request()
    assert fingerprint(RequestArguments.read(asked).request()) == fingerprint(first)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "is not a prompt, a mapping that holds one, or a list of them, but nothing (null)"),
        (7, "but a number"),
        (b"A cube", "but of type bytes"),
        ({"A cube"}, "but of type set"),
        ("", "empty"),
        ("None", "empty"),
        ({}, "cannot be used: there is no prompt."),
        ({"promt": "A cube"}, "cannot be used: there is no prompt, but 'promt': rename it."),
        ({"text": "A cube"}, "cannot be used: there is no prompt."),
        ({"prompt": 7}, "prompt must be a text, not 7"),
        ({"prompt": "A cube", "seed": "seven"}, "seed must be an integer"),
        ({"prompt": "A cube", "seed": float("nan")}, "seed must be an integer"),
        ({"prompt": "A cube", "guidance": float("nan")}, "cannot be written as JSON"),
        ({"prompt": "A cube", "loras": {"a set"}}, "cannot be written as JSON"),
        ({"prompt": "A cube", "target_repo": "a/b"}, "must not hold 'target_repo'"),
        ({"prompt": "A cube", "id": "cube"}, "has an id, which names a row of a batch"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_spent(returned, said):
    with pytest.raises(OxenInvalidRequest) as caught:
        read_one(returned, DEFAULTS)

    message = caught.value.message
    assert message.startswith("What the function returned ")
    assert said in message
    assert caught.value.spent == "no"
    assert ".." not in message


def test_what_a_mapping_sets_to_nothing_is_as_the_operator_has_it():
    asked = read_one({"prompt": "A cube", "id": None, "model": "", "strength": None}, DEFAULTS)

    assert (asked["model"], asked["model_params"]) == (DEFAULTS["model"], DEFAULTS["model_params"])


@pytest.mark.parametrize("returned", [[], ["A cube"], ("A cube",), deque(["A cube"])], ids=repr)
def test_a_list_is_a_batch_however_long_it_is(returned):
    assert is_many(returned)


@pytest.mark.parametrize("returned", ["A cube", {"prompt": "A cube"}, b"A cube", {"A cube"}, None], ids=repr)
def test_nothing_else_is_a_batch(returned):
    assert not is_many(returned)


@pytest.mark.parametrize("ask", [list, len], ids=["read", "counted"])
def test_rows_that_are_gone_are_not_taken_for_none(ask):
    with pytest.raises(OxenPollError, match="the function is not called again in this try"):
        ask(GoneRows())
