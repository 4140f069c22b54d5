"""What an image costs is known from the catalogue, or it is not known: never a guess."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.localhub.catalogue import recorded

LIVE = {entry["id"]: Model.model_validate(entry) for entry in recorded()}

GRID = {"low": {"1K": 0.02, "4K": 0.08}, "high": {"1K": 0.28, "4K": 1.13}}


def model(pricing: Any, **properties: Any) -> Model:
    schema = {"type": "object", "properties": properties}
    return Model(id="m", pricing=pricing, request_schema=schema)


def test_image_costs_what_the_catalogue_says():
    assert price(model({"method": "per_image", "cost_per_image": 0.014}), {}) == 0.014


@pytest.mark.parametrize(
    "pricing",
    [
        None,
        {},
        {"method": "time", "cost_per_image": None},
        {"method": "token"},
        {"method": "per_provider_credit", "cost_per_credit": 0.08},
        {"method": "per_video_output_second", "cost_per_image": 0.01},
        {"cost_per_image": True},
        {"cost_per_image": -0.01},
        {"cost_per_image": float("nan")},
        {"cost_per_image": float("inf")},
        {"cost_per_image": 10**400},
        {"cost_per_image": 1e12},
        {"cost_per_image": "cheap"},
        {"cost_per_image": "-0.01"},
        {"cost_per_image": "1e400"},
        {"cost_per_image": ""},
        {"cost_per_image": {"usd": 0.01}},
        {"cost_per_image": [0.01]},
    ],
    ids=repr,
)
def test_price_that_is_not_told_is_not_known(pricing):
    assert price(model(pricing), {}) is None


def test_model_without_a_schema_has_its_price():
    assert price(Model(id="m", pricing={"cost_per_image": 1}), {"num_images": 3}) == 1.0


@pytest.mark.parametrize(
    ("parameters", "usd"),
    [
        ({"quality": "low", "resolution": "1K"}, 0.02),
        ({"quality": "high", "resolution": "4K"}, 1.13),
        ({"quality": "high"}, 0.28),
        ({}, 0.02),
        ({"quality": "HIGH", "resolution": "4k"}, 1.13),
        ({"quality": "best"}, None),
        ({"resolution": "8K"}, None),
        ({"quality": None}, 0.02),
    ],
    ids=repr,
)
def test_grid_goes_by_quality_and_resolution_with_the_schemas_defaults(parameters, usd):
    made = model(
        {"cost_per_image": None, "cost_per_image_grid": GRID},
        quality={"type": "string", "default": "low"},
        resolution={"default": "1K"},
    )

    assert price(made, parameters) == usd


@pytest.mark.parametrize(
    "grid", [{"low": None}, {"low": []}, {"low": {"1K": -1}}, {"low": 10**400}], ids=repr
)
def test_what_a_grid_does_not_tell_falls_back_to_the_flat_price(grid):
    pricing = {"cost_per_image": 0.5, "cost_per_image_grid": grid}

    assert price(model(pricing, quality={"default": "low"}, resolution={"default": "1K"}), {}) == 0.5


@pytest.mark.parametrize(
    ("grid", "parameters", "usd"),
    [
        ({"low": 0.02, "high": 0.2}, {"quality": "High"}, 0.2),
        ({"1K": 0.02, "4K": 0.2}, {"resolution": "4k"}, 0.2),
        ({"1K": "0.02"}, {"resolution": "1k"}, 0.02),
        ({"1K": 0.02}, {"resolution": "4k"}, 0.5),
        ({"high": {"512": 0.05}}, {"resolution": 512}, 0.05),
        ({"high": {"2K": 0.05}}, {"size": "2k"}, 0.05),
        ({"high": {"2K": 0.05}}, {"size": "1024x1024"}, 0.5),
    ],
    ids=repr,
)
def test_grid_of_one_row_or_of_one_level_needs_no_more_than_it_tells(grid, parameters, usd):
    assert price(model({"cost_per_image": 0.5, "cost_per_image_grid": grid}), parameters) == usd


@pytest.mark.parametrize(
    ("id", "parameters", "usd"),
    [
        ("nano-banana-2", {}, 0.1313),
        ("nano-banana-2", {"resolution": "512"}, 0.0585),
        ("nano-banana-2", {"resolution": "4k"}, 0.1963),
        ("flux-3-image", {}, 0.0624),
        ("flux-3-image", {"resolution": "768SQ"}, 0.0533),
        ("flux-3-image", {"resolution": "4K"}, 0.7891),
        ("gpt-image-2", {}, 0.29),
        ("gpt-image-2", {"quality": "low", "resolution": "1K"}, 0.004),
        ("gpt-image-2", {"quality": "high", "resolution": "4K"}, 1.13),
        ("gpt-image-2", {"quality": "ultra"}, None),
        ("gpt-image-2-5-flare", {}, 0.0517),
        ("gpt-image-2-5-flare", {"quality": "max", "resolution": "4K"}, 0.5203),
        ("gpt-image-2-5-flare", {"quality": "max"}, 0.2067),
        ("bytedance-seedream-5-pro", {"size": "1K"}, 0.045),
        ("qwen-image-3", {}, 0.039),
        ("qwen-image-3", {"num_images": 4}, 0.156),
        ("ideogram-v4", {"num_images": 2}, 0.12),
        ("z-image-turbo", {}, 0.01),
        ("qwen-image-2-1", {}, 0.109),
        ("topazlabs-image-upscale", {}, 0.05),
        ("topazlabs-wonder-3-5-image", {}, None),
        ("xai-grok-imagine-image-edit", {}, 0.022),
    ],
)
def test_each_live_model_costs_what_its_entry_says(id, parameters, usd):
    assert price(LIVE[id], parameters) == (None if usd is None else pytest.approx(usd))


def test_every_live_model_is_tried():
    marks = test_each_live_model_costs_what_its_entry_says.pytestmark
    assert {case[0] for case in marks[0].args[1]} == set(LIVE)


@pytest.mark.parametrize("grid", [None, {}, []], ids=repr)
def test_empty_grid_leaves_the_flat_price(grid):
    assert price(model({"cost_per_image": 0.5, "cost_per_image_grid": grid}), {}) == 0.5


@pytest.mark.parametrize(
    ("parameters", "usd"),
    [
        ({}, 0.02),
        ({"num_images": 3}, 0.03),
        ({"num_images": "3"}, None),
        ({"num_images": True}, None),
        ({"num_images": 1.5}, None),
        ({"num_images": float("inf")}, None),
        ({"num_images": float("nan")}, None),
        ({"num_images": 10**400}, None),
        ({"num_images": 0}, None),
    ],
    ids=repr,
)
def test_several_images_cost_as_many_times_as_much(parameters, usd):
    made = model({"cost_per_image": 0.01}, num_images={"type": "integer", "default": 2})

    assert price(made, parameters) == pytest.approx(usd) if usd else price(made, parameters) is None


def test_number_of_images_counts_only_where_the_model_takes_one():
    assert price(model({"cost_per_image": 0.01}), {"num_images": 3}) == 0.01


def test_schema_of_another_shape_is_no_reason_to_fail():
    odd = Model(id="m", pricing={"cost_per_image": 0.01}, request_schema={"properties": ["seed"]})

    assert price(odd, {}) == 0.01
    assert price(model({"cost_per_image": 0.01}, seed=True), {}) == 0.01
