"""Requests hold what was set and no more; answers are read for what is known of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_oxen.api.models import (
    HUB_PARAMETERS,
    GenerateAnswer,
    GenerateRequest,
    Generation,
    ImageItem,
    Model,
    parameters,
)
from airflow_provider_oxen.api.settings import Settings


def test_body_holds_what_was_set_and_no_more():
    request = GenerateRequest(model="m", prompt="p")

    assert request.body() == {"model": "m", "prompt": "p", "response_format": "url"}


def test_body_holds_fixed_and_free_parameters_side_by_side():
    request = GenerateRequest(
        model="m",
        prompt="p",
        response_format="b64_json",
        target_namespace="org",
        image_size={"width": 64, "height": 32},
        num_inference_steps=4,
        seed=0,
        aspect_ratio="16:9",
        guidance={"scale": 3.5, "off": None},
    )

    assert request.body() == {
        "model": "m",
        "prompt": "p",
        "response_format": "b64_json",
        "target_namespace": "org",
        "image_size": {"width": 64, "height": 32},
        "num_inference_steps": 4,
        "seed": 0,
        "aspect_ratio": "16:9",
        "guidance": {"scale": 3.5, "off": None},
    }


def test_parameters_are_what_a_request_schema_can_describe():
    hubs = {name: "x" for name in HUB_PARAMETERS - {"model", "response_format"}}
    request = GenerateRequest(model="m", prompt="p", seed=7, aspect_ratio="16:9", **hubs)

    assert parameters(request.body()) == {"prompt": "p", "seed": 7, "aspect_ratio": "16:9"}


def test_free_parameters_may_have_the_names_of_methods():
    names = {"body": 1, "parameters": 2, "self": 3, "model_dump": 4, "_x": 5}

    assert GenerateRequest(model="m", prompt="p", **names).body().items() >= names.items()


def test_request_does_not_change_once_it_is_made():
    request = GenerateRequest(model="m", prompt="p")

    with pytest.raises(ValidationError, match="frozen"):
        request.seed = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    "odd",
    [
        {"created": "soon"},
        {"created": float("inf")},
        {"created": 10**400},
        {"created": True},
        {"created": {}},
        {"model": 5},
        {"images": [{"url": "https://a/1", "revised_prompt": ["…"]}]},
    ],
    ids=str,
)
def test_fact_of_an_unknown_shape_does_not_cost_the_image_beside_it(odd):
    answer = GenerateAnswer.model_validate({"images": [{"url": "https://a/1"}], **odd})

    assert answer.images == [ImageItem(url="https://a/1")]
    assert (answer.model, answer.created) == (None, None)


def test_facts_of_an_answer_are_read():
    answer = GenerateAnswer.model_validate(
        {"model": "m", "created": 1780000000, "images": [{"url": "https://a/1", "revised_prompt": "p"}]}
    )

    assert (answer.model, answer.created, answer.images[0].revised_prompt) == ("m", 1780000000, "p")


def test_representation_of_an_image_holds_neither_its_link_nor_its_bytes():
    shown = repr(GenerateAnswer(images=[{"url": "https://a/1?sig=x", "b64_json": "aGk="}]))

    assert "sig" not in shown
    assert "aGk=" not in shown


@pytest.mark.parametrize(
    ("capabilities", "outputs"),
    [
        ({"input": ["text"], "output": ["image"]}, ["image"]),
        ({"output": ["image", "video"]}, ["image", "video"]),
        ({"output": "image"}, []),
        ({}, []),
        (None, []),
    ],
    ids=str,
)
def test_what_a_model_makes_is_read_from_its_capabilities(capabilities, outputs):
    model = Model.model_validate({"id": "m", "endpoint": "/images/generate", "capabilities": capabilities})

    assert sorted(model.outputs) == outputs


@pytest.mark.parametrize(
    ("facts", "obstacle"),
    [
        ({}, None),
        ({"can_run_inference": True}, None),
        ({"can_run_inference": False}, "the hub says it cannot run inference"),
        ({"model_type": "base", "deployments": []}, None),
        ({"model_type": "base", "deployments": [{"status": "inactive"}]}, None),
        ({"model_type": "custom"}, None),
        ({"model_type": "custom", "deployments": [{"status": "error"}, {"status": "active"}]}, None),
        (
            {"model_type": "custom", "deployments": [{"status": "inactive"}, {"status": "deploying"}, {}]},
            "no deployment of this custom model is active (now: deploying, inactive, unknown)",
        ),
        (
            {"model_type": "custom", "deployments": []},
            "no deployment of this custom model is active (now: none)",
        ),
    ],
    ids=str,
)
def test_model_runs_unless_the_hub_says_otherwise(facts, obstacle):
    assert Model.model_validate({"id": "m", **facts}).obstacle == obstacle


def test_row_shows_neither_links_nor_what_it_echoes():
    row = Generation.model_validate(
        {
            "generation_id": "g-1",
            "status": "done",
            "download_url": "https://a.example/x?sig=1",
            "prompt": "A cube",
        }
    )

    assert "a.example" not in repr(row)
    assert "A cube" in repr(row)


def test_id_that_holds_the_key_is_none():
    Settings(api_key="models-key-that-must-not-leak")

    with pytest.raises(ValueError, match="generation_id"):
        Generation.model_validate({"generation_id": "models-key-that-must-not-leak", "status": "queued"})


def test_name_of_a_model_is_whole_but_for_the_key():
    Settings(api_key="models-key-that-must-not-leak")
    told = "org/model#2 models-key-that-must-not-leak"

    assert Generation(generation_id="g-1", model=told).model == "org/model#2 ***"
    assert GenerateAnswer(model=told, images=[{"url": "https://a.example/1"}]).model == "org/model#2 ***"
