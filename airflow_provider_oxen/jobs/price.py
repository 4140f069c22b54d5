"""What the catalogue says that a request costs. Pure; what is charged in the end, the history tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.api.models import Model

__all__ = ["price"]


def price(model: Model, parameters: Mapping[str, Any]) -> float | None:
    """Return the USD that a request costs, or None where the catalogue does not tell.

    A model is priced by the image, some by quality and resolution; those that are billed by time or
    by token have no price that is known before.

    :param parameters: of the request; the schema's defaults stand in for those that are not given.
    """
    pricing = model.pricing or {}
    given = {**_defaults(model), **parameters}
    each: Any = pricing.get("cost_per_image")
    grid = pricing.get("cost_per_image_grid")
    if isinstance(grid, Mapping) and grid:
        row = grid.get(given.get("quality"))
        each = row.get(given.get("resolution")) if isinstance(row, Mapping) else None
    count = given.get("num_images", 1) if "num_images" in _properties(model) else 1
    if not _is_number(each) or not _is_number(count) or count < 1:
        return None
    return float(each) * float(count)


def _defaults(model: Model) -> dict[str, Any]:
    rules = _properties(model).items()
    return {name: rule["default"] for name, rule in rules if isinstance(rule, Mapping) and "default" in rule}


def _properties(model: Model) -> Mapping[str, Any]:
    properties = (model.request_schema or {}).get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
