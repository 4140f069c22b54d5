"""Reading a catalogue entry: both layouts' words for it, what it costs, what it contradicts."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema
from referencing import Registry
from referencing.exceptions import Unresolvable

__all__ = [
    "as_ai",
    "as_classic",
    "contradiction",
    "cost",
    "defaults",
    "find",
    "obstacle",
    "parameter",
    "search",
    "takes",
]

TIMED_COST = 0.02
"""USD for an image of a model that bills by time: the hub documents no figure, a ledger needs one."""

_OWN = frozenset(
    {"model", "response_format", "target_namespace", "num_generations", "target_repo", "target_directory"}
)
"""Request fields that are the hub's own and stand in no model's schema."""


def find(catalogue: Iterable[dict[str, Any]], id: str) -> dict[str, Any] | None:
    """Return the model of that id, or None."""
    return next((entry for entry in catalogue if entry["id"] == id), None)


def search(catalogue: Iterable[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """Return the models whose id or display name contains the words, whatever their case."""
    words = words.lower()
    return [
        entry for entry in catalogue if words in f"{entry['id']}\n{entry.get('display_name', '')}".lower()
    ]


def as_ai(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model as the ``ai`` layout tells it."""
    return {name: value for name, value in entry.items() if name not in ("can_run_inference", "deprecated")}


def as_classic(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model as the ``classic`` layout tells it: nothing of prices and deployments."""
    return {
        "name": entry["id"],
        "display_name": entry.get("display_name", entry["id"]),
        "capabilities": entry.get("capabilities", {}),
        "can_run_inference": entry.get("can_run_inference", True) and _is_deployed(entry),
        "deprecated": entry.get("deprecated", False),
        "model_type": entry.get("model_type", "base"),
        "json_request_schema": entry.get("request_schema", {}),
    }


def obstacle(entry: Mapping[str, Any]) -> str | None:
    """Return why the model generates no image now, or None."""
    if "image" not in entry.get("capabilities", {}).get("output", ["image"]):
        return f"Model does not generate images: {entry['id']}"
    if not entry.get("can_run_inference", True):
        return f"Model cannot run inference: {entry['id']}"
    if not _is_deployed(entry):
        return f"Model is not deployed: {entry['id']}"
    return None


def parameter(entry: Mapping[str, Any], body: Mapping[str, Any], name: str) -> Any:
    """Return a parameter of the request, else the default in the model's schema, else None."""
    return body[name] if body.get(name) is not None else defaults(entry).get(name)


def defaults(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the model's schema gives a default."""
    return {name: rules["default"] for name, rules in _properties(entry).items() if "default" in rules}


def takes(entry: Mapping[str, Any], name: str) -> bool:
    """Whether the model's schema lists the parameter."""
    return name in _properties(entry)


def cost(entry: Mapping[str, Any], body: Mapping[str, Any]) -> float:
    """Return the price of one image in USD: flat, or by quality and resolution."""
    pricing = entry.get("pricing") or {}
    grid = pricing.get("cost_per_image_grid")
    if grid:
        row = grid.get(parameter(entry, body, "quality")) or next(iter(grid.values()))
        return float(row.get(parameter(entry, body, "resolution")) or next(iter(row.values())))
    flat = pricing.get("cost_per_image")
    return TIMED_COST if flat is None else float(flat)


def contradiction(entry: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Return the first parameter that the model's schema contradicts and why, or None.

    A parameter that the schema does not list passes, as does everything where the schema is broken.
    """
    parameters = {name: value for name, value in body.items() if name not in _OWN}
    try:
        validator = _validator(json.dumps(entry.get("request_schema") or {}))
        error = next(validator.iter_errors(parameters), None)
    except (jsonschema.SchemaError, Unresolvable):
        return None
    if error is None:
        return None
    return ": ".join(filter(None, [".".join(map(str, error.absolute_path)), error.message]))


@functools.lru_cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    plain = _spell_out_null(json.loads(schema))
    jsonschema.Draft202012Validator.check_schema(plain)
    # An empty registry: a "$ref" to elsewhere must not be fetched.
    return jsonschema.Draft202012Validator(plain, registry=Registry())


def _is_deployed(entry: Mapping[str, Any]) -> bool:
    if entry.get("model_type") != "custom":
        return True
    return any(deployment.get("status") == "active" for deployment in entry.get("deployments", []))


def _properties(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = (entry.get("request_schema") or {}).get("properties") or {}
    return properties


def _spell_out_null(node: Any) -> Any:
    """Return the schema with OpenAPI's ``nullable`` in JSON Schema's words."""
    if isinstance(node, list):
        return [_spell_out_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _spell_out_null(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain
