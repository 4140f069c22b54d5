"""The price of a request according to the catalogue. Pure; the history has the actual charge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.api.values import usd
from airflow_provider_oxen.catalogue.values import properties

__all__ = ["price"]


def price(model: Model, parameters: Mapping[str, Any]) -> float | None:
    """Return the price of a request in USD, or None if the catalogue does not have it.

    A model is priced per image, some by quality and resolution. Models that are billed by time, by token or
    by a provider's credit have no price that is known in advance.

    :param parameters: parameters of the request; the schema's defaults replace missing ones.
    """
    pricing = model.pricing or {}
    method = pricing.get("method")
    if method is not None and str(method).casefold() != "per_image":
        return None
    given = _defaults(model) | {name: value for name, value in parameters.items() if value is not None}
    each = _of_grid(pricing.get("cost_per_image_grid"), given)
    if each is None:
        each = usd(pricing.get("cost_per_image"))
    count = _count(given.get("num_images", 1)) if "num_images" in properties(model.request_schema) else 1
    # Check the product again as an amount: the number of images may be anything.
    return None if each is None or count is None else usd(each * count)


def _of_grid(grid: Any, given: Mapping[str, Any]) -> float | None:
    """Return the price in the grid by quality and resolution, or by one of them if the grid has no more.

    A grid of one row needs no quality, and ``size`` may replace ``resolution``.
    """
    rows = _folded(grid)
    quality, resolution = given.get("quality"), given.get("resolution", given.get("size"))
    row = _at(rows, quality)
    if row is None and len(rows) == 1 and isinstance(only := next(iter(rows.values())), Mapping):
        row = only
    for found in (_at(_folded(row), resolution), row, _at(rows, resolution)):
        if (each := usd(found)) is not None:
            return each
    return None


def _folded(value: Any) -> dict[str, Any]:
    """Return a mapping with its keys in one case; an empty one for any other value."""
    if not isinstance(value, Mapping):
        return {}
    return {str(key).strip().casefold(): item for key, item in value.items()}


def _at(row: Mapping[str, Any], key: Any) -> Any:
    return row.get(str(key).strip().casefold())


def _count(value: Any) -> int | None:
    """Return how many images are billed: all that are requested, whether or not they are returned."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value < 1e6 and value == int(value) else None


def _defaults(model: Model) -> dict[str, Any]:
    rules = properties(model.request_schema).items()
    return {name: rule["default"] for name, rule in rules if isinstance(rule, Mapping) and "default" in rule}
