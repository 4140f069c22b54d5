"""Convert values to the types in a request schema, for what a template or pandas has changed.

Nothing is judged here; see :func:`.schema.check`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "UNSET",
    "coerce",
    "exact_number",
    "names",
    "pixels",
    "properties",
    "seed_range",
    "takes",
    "wanted",
]

UNSET = frozenset({"", "None", "null"})
"""What a template renders to if there is no value."""

SEED_LIMIT = 2**31 - 1
"""Largest derived seed if the schema names no maximum; every known image model accepts it."""

_PIXELS = re.compile(r"\s*([1-9][0-9]{0,5})\s*[xX×*]\s*([1-9][0-9]{0,5})\s*(?:px)?\s*")


def properties(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the rules of each parameter that the schema lists."""
    listed = (schema or {}).get("properties")
    return listed if isinstance(listed, Mapping) else {}


def takes(schema: Mapping[str, Any] | None, parameter: str) -> bool:
    """Return whether the schema lists the parameter."""
    return parameter in properties(schema)


def seed_range(schema: Mapping[str, Any] | None) -> tuple[int, int]:
    """Return the smallest and the largest seed that the schema allows, both included."""
    rules = properties(schema).get("seed")
    rules = rules if isinstance(rules, Mapping) else {}
    low = max(_whole(rules.get("minimum"), 0), 0)
    high = _whole(rules.get("maximum"), SEED_LIMIT)
    return (low, min(high, low + SEED_LIMIT)) if high >= low else (0, SEED_LIMIT)


def coerce(schema: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert rendered strings to the schema's types if that loses nothing.

    A template renders to a string. So ``"4"`` becomes 4 if the schema wants a number, ``"true"`` becomes True
    if it wants a boolean, and ``"None"`` and ``""`` become unset if it does not want a string.
    :func:`.schema.check` reports everything else.
    """
    listed = properties(schema)
    coerced = {name: _coerce(listed.get(name), value) for name, value in parameters.items()}
    return {name: value for name, value in coerced.items() if value is not None}


def pixels(value: Any) -> dict[str, int] | None:
    """Return width and height of a size in pixels, ``"1024x768"`` or a mapping of both; else None."""
    if isinstance(value, Mapping):
        both = value.keys() == {"width", "height"} and all(isinstance(side, int) for side in value.values())
        return dict(value) if both else None
    found = _PIXELS.fullmatch(value) if isinstance(value, str) else None
    return {"width": int(found[1]), "height": int(found[2])} if found else None


def exact_number(text: str) -> int | float | None:
    """Return the number that a text spells, or None: ``"4"`` is 4, ``"3.50"`` is 3.5."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        return int(text)
    if re.fullmatch(r"[+-]?[0-9]{1,30}\.[0-9]{1,30}([eE][+-]?[0-9]{1,2})?", text):
        return float(text)
    return None


def names(value: Any) -> list[str]:
    """Return the texts in a list, and ignore everything else in it."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _whole(value: Any, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if not abs(value) < math.inf:
        return default
    # Keep a seed within the integers that every JSON library can read.
    return int(min(max(value, -(2**63)), 2**63 - 1))


def _coerce(rules: Any, value: Any) -> Any:
    if not isinstance(value, str | float) or not isinstance(rules, Mapping):
        return value
    types = wanted(rules)
    if isinstance(value, float):
        # pandas turns an integer beside a null into a float.
        return int(value) if value.is_integer() and "integer" in types and "number" not in types else value
    choices = rules.get("enum")
    if "string" in types or (isinstance(choices, list) and value in choices):
        return value
    if isinstance(choices, list) and not types:
        return next((choice for choice in choices if str(choice) == value.strip()), value)
    return _exact(value, types)


def wanted(rules: Mapping[str, Any]) -> set[str]:
    """Return the types that a parameter's rules allow, if they name any."""
    kind = rules.get("type")
    types = {kind} if isinstance(kind, str) else set(names(kind))
    for key in ("anyOf", "oneOf"):
        branches = rules.get(key)
        for branch in branches if isinstance(branches, list) else []:
            if isinstance(branch, Mapping):
                types |= wanted(branch)
    return types


def _exact(value: str, types: set[str]) -> Any:
    text = value.strip()
    if types and text in UNSET:
        return None
    if "boolean" in types and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    number = exact_number(text)
    if number is not None and ("number" in types or ("integer" in types and number == int(number))):
        return number if "number" in types else int(number)
    return value
