"""What an image costs is known from the catalogue, or it is not known: never a guess."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.jobs.price import price

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
        {"cost_per_image": "0.01"},
        {"cost_per_image": True},
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
        ({"quality": "best"}, None),
        ({"resolution": "8K"}, None),
        ({"quality": None}, None),
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


@pytest.mark.parametrize("grid", [{"low": 0.02}, {"low": None}, {"low": []}], ids=repr)
def test_grid_of_another_shape_tells_no_price(grid):
    pricing = {"cost_per_image": 0.5, "cost_per_image_grid": grid}

    assert price(model(pricing, quality={"default": "low"}), {}) is None


@pytest.mark.parametrize("grid", [None, {}, []], ids=repr)
def test_empty_grid_leaves_the_flat_price(grid):
    assert price(model({"cost_per_image": 0.5, "cost_per_image_grid": grid}), {}) == 0.5


@pytest.mark.parametrize(
    ("parameters", "usd"), [({}, 0.02), ({"num_images": 3}, 0.03), ({"num_images": "3"}, None)], ids=repr
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
