from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.catalogue import default_catalogue

CATALOGUE = default_catalogue()
Z_IMAGE = models.find(CATALOGUE, "z-image-turbo")
GPT = models.find(CATALOGUE, "gpt-image-2")
CUSTOM = models.find(CATALOGUE, "local-user-brand-style")


@pytest.mark.parametrize(
    ("entry", "body", "usd"),
    [
        (Z_IMAGE, {}, 0.01),
        (GPT, {}, 0.07),
        (GPT, {"quality": "high", "resolution": "4K"}, 1.13),
        (GPT, {"quality": "superb", "resolution": "9K"}, 0.02),
        (CUSTOM, {}, models.TIMED_COST),
        ({"id": "bare"}, {}, models.TIMED_COST),
    ],
)
def test_cost_is_flat_or_by_quality_and_resolution(entry, body, usd):
    assert models.cost(entry, body) == usd


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
    found = models.contradiction(Z_IMAGE, body)
    assert found == problem or (found and problem and found.startswith(problem))


@pytest.mark.parametrize(
    "schema",
    [{"type": "no such type"}, {"properties": {"prompt": {"$ref": "https://example.com/x.json"}}}, None, {}],
)
def test_schema_that_cannot_be_read_contradicts_nothing(schema):
    assert models.contradiction({"id": "x", "request_schema": schema}, {"prompt": "x"}) is None


def test_nullable_inside_lists_is_understood():
    branch = {"type": "object", "properties": {"width": {"type": "integer", "nullable": True}}}
    entry = {"request_schema": {"properties": {"image_size": {"anyOf": [{"type": "string"}, branch]}}}}
    assert models.contradiction(entry, {"image_size": {"width": None}}) is None
    assert models.contradiction(entry, {"image_size": {"width": "wide"}})


@pytest.mark.parametrize(
    ("id", "obstacle"),
    [
        ("z-image-turbo", None),
        ("stable-diffusion-xl", None),
        ("local-user-product-shots", None),
        ("local-user-brand-style", "Model is not deployed"),
        ("black-forest-labs-flux-1-pro", "Model cannot run inference"),
        ("qwen3-8b-instruct", "Model does not generate images"),
        ("google-veo-3-1-fast", "Model does not generate images"),
    ],
)
def test_what_stands_against_a_model(id, obstacle):
    assert models.obstacle(models.find(CATALOGUE, id)) == (f"{obstacle}: {id}" if obstacle else None)


def test_classic_layout_tells_of_deployments_only_whether_the_model_runs():
    told = models.as_classic(CUSTOM)
    assert set(told) == {
        "name", "display_name", "capabilities", "can_run_inference", "deprecated", "model_type",
        "json_request_schema",
    }  # fmt: skip
    assert told["can_run_inference"] is False
    assert models.as_classic({**CUSTOM, "deployments": [{"status": "active"}]})["can_run_inference"] is True


def test_ai_layout_tells_prices_and_deployments():
    told = models.as_ai(CUSTOM)
    assert told["deployments"] == [{"status": "inactive"}]
    assert told["pricing"]["method"] == "time"
    assert not {"can_run_inference", "deprecated"} & set(told)


def test_search_looks_at_id_and_display_name_whatever_the_case():
    assert [entry["id"] for entry in models.search(CATALOGUE, "Z-IMAGE")] == ["z-image-turbo"]
    assert [entry["id"] for entry in models.search(CATALOGUE, "[klein]")] == [
        "black-forest-labs-flux-2-klein-4b"
    ]
    assert models.search(CATALOGUE, "nothing of the sort") == []
