"""What is checked, without a hub; test_generate.py and test_enqueue.py have the answers."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import HubSettings
from airflow_provider_oxen.localhub.answers import Refused
from airflow_provider_oxen.localhub.validation import admit, objection

SETTINGS = HubSettings()
BODY = {"model": "z-image-turbo", "prompt": "A red cube"}
Z_IMAGE = admit(SETTINGS, BODY)


@pytest.mark.parametrize(
    "parameters", [{"num_inference_steps": 99}, {"prompt": "A forbidden thing"}, {"response_format": "png"}]
)
def test_what_the_model_says_does_not_count_at_the_door(parameters):
    assert admit(SETTINGS, {**BODY, **parameters}) is Z_IMAGE


@pytest.mark.parametrize(
    ("id", "obstacle"),
    [
        ("stable-diffusion-xl", None),
        ("local-user-product-shots", None),
        ("local-user-brand-style", "Model is not deployed"),
        ("black-forest-labs-flux-1-pro", "Model cannot run inference"),
        ("qwen3-8b-instruct", "Model does not generate images"),
        ("google-veo-3-1-fast", "Model does not generate images"),
    ],
)
def test_what_stands_against_a_model(id, obstacle):
    if obstacle is None:
        assert admit(SETTINGS, {**BODY, "model": id})["id"] == id
        return
    with pytest.raises(Refused) as refused:
        admit(SETTINGS, {**BODY, "model": id})
    assert (refused.value.status, refused.value.text) == (400, f"{obstacle}: {id}")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"prompt": "x", "num_inference_steps": 8, "seed": 1, "output_format": "png"}, None),
        ({"prompt": "x", "seed": None}, None),
        ({"prompt": "x", "never_heard_of": object()}, None),
        ({"prompt": "x", "model": 1, "response_format": 1, "target_namespace": 1}, None),
        ({"prompt": "x", "num_inference_steps": 99}, "num_inference_steps: 99 is greater than the maximum"),
        ({"prompt": "x", "num_inference_steps": None}, "num_inference_steps: None is not of type 'integer'"),
        ({"prompt": "x", "output_format": "gif"}, "output_format: 'gif' is not one of"),
        ({}, "'prompt' is a required property"),
    ],
)
def test_schema_contradicts_only_what_it_lists(body, problem):
    found = objection(Z_IMAGE, body)
    assert (found is None) is (problem is None)
    assert found is None or found.startswith(f"Getting model response error: 422 - {problem}")


@pytest.mark.parametrize(
    "schema",
    [{"type": "no such type"}, {"properties": {"prompt": {"$ref": "https://example.com/x.json"}}}, None, {}],
)
def test_schema_that_cannot_be_read_contradicts_nothing_and_fetches_nothing(monkeypatch, schema):
    asked: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", asked.append)
    assert objection({"id": "x", "request_schema": schema}, {"prompt": "x"}) is None
    assert asked == []


def test_nullable_inside_lists_is_understood():
    branch = {"type": "object", "properties": {"width": {"type": "integer", "nullable": True}}}
    entry = {"request_schema": {"properties": {"image_size": {"anyOf": [{"type": "string"}, branch]}}}}
    assert objection(entry, {"image_size": {"width": None}}) is None
    assert objection(entry, {"image_size": {"width": "wide"}})


def test_fields_of_the_queue_are_no_parameters_of_the_model():
    entry = {"id": "x", "request_schema": {"additionalProperties": False, "properties": {"prompt": {}}}}
    own = {"num_generations": 2, "target_repo": "art", "target_directory": "new", "response_format": "url"}
    assert objection(entry, {"prompt": "A red cube", **own}) is None
    found = objection(entry, {"prompt": "A red cube", "seed": 1})
    assert found
    assert found.startswith("Getting model response error: 422 - Additional properties")
