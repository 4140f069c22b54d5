"""The models that a local hub starts with, and functions to read an entry in both layouts.

An entry is a plain dict with the fields of the ``ai`` layout, so that you can copy one from the real hub's
``GET /api/ai/models`` into :attr:`.HubSettings.catalogue`. It also has ``can_run_inference`` and
``deprecated``, which the ``classic`` layout returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "as_ai",
    "as_classic",
    "cost",
    "default_catalogue",
    "defaults",
    "is_deployed",
    "parameter",
    "recorded",
]

_UNTOLD_COST = 0.02
"""Price in USD of an image whose model has no price in the catalogue, such as one billed by time; a ledger
needs a number."""


def default_catalogue() -> list[dict[str, Any]]:
    """Return a fresh catalogue, which the caller may change."""
    return [*recorded(), *_entries("other_catalogue.json")]


def recorded() -> list[dict[str, Any]]:
    """Return models of the live catalogue, exactly as they were in September 2026."""
    return _entries("hub_catalogue.json")


def as_ai(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model in the ``ai`` layout, with all fields that the hub's OpenAPI requires."""
    told = {name: value for name, value in entry.items() if name not in ("can_run_inference", "deprecated")}
    # ``created``: the hub says 1 of each of its own.
    return {"id": entry["id"], "object": "model", "created": 1, "owned_by": "oxen", **told}


def as_classic(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model in the ``classic`` layout, without prices and deployments."""
    return {
        "name": entry["id"],
        "display_name": entry.get("display_name", entry["id"]),
        "capabilities": entry.get("capabilities", {}),
        "can_run_inference": entry.get("can_run_inference", True) and is_deployed(entry),
        "deprecated": entry.get("deprecated", False),
        "model_type": entry.get("model_type", "base"),
        "json_request_schema": entry.get("request_schema", {}),
    }


def is_deployed(entry: Mapping[str, Any]) -> bool:
    """Return whether the model runs now, as far as the user decides that."""
    if entry.get("model_type") != "custom":
        return True
    return any(deployment.get("status") == "active" for deployment in entry.get("deployments", []))


def parameter(entry: Mapping[str, Any], body: Mapping[str, Any], name: str) -> Any:
    """Return a parameter of the request, or the default in the model's schema, or None."""
    return body[name] if body.get(name) is not None else defaults(entry).get(name)


def defaults(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with a default in the model's schema."""
    return {name: rules["default"] for name, rules in properties(entry).items() if "default" in rules}


def properties(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters that the model's schema lists, each with its rules."""
    listed: Mapping[str, Any] = (entry.get("request_schema") or {}).get("properties") or {}
    return listed


def cost(entry: Mapping[str, Any], body: Mapping[str, Any]) -> float:
    """Return the price of one image in USD: by quality and resolution, by one of them, or a flat price."""
    pricing = entry.get("pricing") or {}
    grid = pricing.get("cost_per_image_grid") or {}
    quality = parameter(entry, body, "quality")
    resolution = parameter(entry, body, "resolution") or parameter(entry, body, "size")
    row = _cell(grid, quality)
    if row is None and len(grid) == 1:
        [row] = grid.values()
    found = _cell(row, resolution) if isinstance(row, Mapping) else row
    if found is None:
        found = _cell(grid, resolution)
    usd = pricing.get("cost_per_image") if found is None or isinstance(found, Mapping) else found
    return _UNTOLD_COST if usd is None else float(usd)


def _entries(file: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(Path(__file__).with_name(file).read_bytes())["data"]
    return entries


def _cell(row: Mapping[str, Any], key: Any) -> Any:
    return {name.lower(): value for name, value in row.items()}.get(str(key).lower())
