"""A model's request schema held against a request: problems a person can read.

The hub's schemas are OpenAPI-flavoured JSON Schema. They drift from what the hub accepts, so
what a schema *contradicts* is an error and what it merely does not list is a warning.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_oxen.api.models import HUB_PARAMETERS

__all__ = ["UNSET", "Problem", "check", "coerce", "exact_number", "seed_range", "takes"]

UNSET = frozenset({"", "None", "null"})
"""What a template renders to when there is nothing to say."""

SEED_LIMIT = 2**31 - 1
"""Largest seed drawn where the schema names no maximum: what every known image model accepts."""


class Problem(NamedTuple):
    """One disagreement between a request and a schema.

    :ivar parameter: name of the parameter, with a path for nested ones (``image_size.width``).
    :ivar rule: the JSON Schema keyword that is broken, ``unlisted`` or ``schema``.
    :ivar message: a sentence naming the parameter, the rule and the value.
    :ivar is_error: False where the schema does not contradict the request.
    """

    parameter: str
    rule: str
    message: str
    is_error: bool


def takes(schema: Mapping[str, Any] | None, parameter: str) -> bool:
    """Whether the schema lists the parameter."""
    return parameter in _properties(schema)


def seed_range(schema: Mapping[str, Any] | None) -> tuple[int, int]:
    """Return the smallest and the largest seed the schema allows, both included."""
    rules = _properties(schema).get("seed")
    rules = rules if isinstance(rules, Mapping) else {}
    low = max(_whole(rules.get("minimum"), 0), 0)
    high = _whole(rules.get("maximum"), SEED_LIMIT)
    return (low, min(high, low + SEED_LIMIT)) if high >= low else (0, SEED_LIMIT)


def coerce(schema: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn rendered strings into what the schema asks for, where that loses nothing.

    A template renders to a string, so ``"4"`` becomes 4 where the schema wants a number, ``"true"``
    becomes True where it wants a boolean, and ``"None"`` and ``""`` become unset where it does not
    want a string. Anything else stays for :func:`check` to name.
    """
    properties = _properties(schema)
    coerced = {name: _coerce(properties.get(name), value) for name, value in parameters.items()}
    return {name: value for name, value in coerced.items() if value is not None}


def exact_number(text: str) -> int | float | None:
    """Return the number that the text spells, or None: ``"4"`` is 4, ``"3.50"`` is 3.5."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        return int(text)
    if re.fullmatch(r"[+-]?[0-9]{1,30}\.[0-9]{1,30}([eE][+-]?[0-9]{1,2})?", text):
        return float(text)
    return None


def check(
    schema: Mapping[str, Any] | None, parameters: Mapping[str, Any], *, whole: bool = True
) -> list[Problem]:
    """Return what the schema says against the parameters, errors first.

    :param schema: the model's request schema; None or a broken one gives one warning at most.
    :param parameters: the request without the fields that are the hub's own.
    :param whole: whether these are all parameters, so that a required one can be missing.
    """
    import jsonschema
    from referencing.exceptions import Unresolvable

    if not schema:
        return []
    try:
        validator = _validator(json.dumps(schema), whole)
        found = list(validator.iter_errors(dict(parameters)))
    except (jsonschema.SchemaError, Unresolvable, RecursionError) as error:
        text = f"the model's request schema cannot be read ({type(error).__name__}); nothing was checked"
        return [Problem("", "schema", text, is_error=False)]
    problems = [_problem(error) for error in found]
    listed = _properties(schema)
    for name in parameters:
        if listed and name not in listed:
            text = f"{name}: the model's request schema does not list this parameter; it is sent as it is"
            problems.append(Problem(name, "unlisted", text, is_error=False))
    return sorted(dict.fromkeys(problems), key=lambda problem: (not problem.is_error, problem.parameter))


@lru_cache(maxsize=64)
def _validator(schema: str, whole: bool) -> Any:
    """Return what judges requests; a batch has thousands of them for one model."""
    import jsonschema
    from referencing import Registry

    tidy = _tidy(json.loads(schema))
    required = _names(tidy.get("required")) if whole else []
    tidy["required"] = [name for name in required if name not in HUB_PARAMETERS]
    jsonschema.Draft202012Validator.check_schema(tidy)
    # An empty registry: a "$ref" to somewhere else must not make this worker fetch it.
    return jsonschema.Draft202012Validator(tidy, registry=Registry())


def _problem(error: Any) -> Problem:
    path = ".".join(str(part) for part in error.absolute_path)
    rule = str(error.validator)
    if rule == "required":
        absent = [name for name in error.validator_value if name not in error.instance]
        name = ".".join(filter(None, [path, ", ".join(absent)]))
        return Problem(name, rule, f"{name}: missing, and the model requires it", is_error=True)
    allowed = _shorten(error.validator_value)
    value = _shorten(error.instance)
    wording = {
        "type": f"must be of type {_types(error.validator_value)}",
        "enum": f"must be one of {allowed}",
        "minimum": f"must be at least {allowed}",
        "maximum": f"must be at most {allowed}",
    }.get(rule, f"breaks the rule {rule}: {allowed}")
    return Problem(path, rule, f"{path or 'the request'}: {wording}, not {value}", is_error=True)


def _types(value: Any) -> str:
    return " or ".join(str(name) for name in value) if isinstance(value, list) else str(value)


def _shorten(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _properties(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    properties = (schema or {}).get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _whole(value: Any, default: int) -> int:
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return int(value) if finite else default


_DROPPED = frozenset({"additionalProperties", "unevaluatedProperties"})


def _tidy(node: Any) -> Any:
    """Return the schema as plain JSON Schema: ``nullable`` spelled out, no rule against unknown names."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    out = {}
    for key, value in node.items():
        if key in _DROPPED:
            continue
        if key == "properties" and isinstance(value, Mapping):
            out[key] = {name: _tidy(rules) for name, rules in value.items()}
        else:
            out[key] = value if key in {"enum", "const", "required"} else _tidy(value)
    if node.get("nullable") is True:
        return _nullable(out)
    return out


def _nullable(rules: dict[str, Any]) -> dict[str, Any]:
    if not {"$ref", "allOf", "anyOf", "oneOf"}.isdisjoint(rules):
        return {"anyOf": [{"type": "null"}, rules]}
    if isinstance(rules.get("type"), str):
        rules["type"] = [rules["type"], "null"]
    if isinstance(rules.get("enum"), list):
        rules["enum"] = [*rules["enum"], None]
    return rules


def _coerce(rules: Any, value: Any) -> Any:
    if not isinstance(value, str) or not isinstance(rules, Mapping):
        return value
    types = _wanted(rules)
    choices = rules.get("enum")
    if "string" in types or (isinstance(choices, list) and value in choices):
        return value
    if isinstance(choices, list) and not types:
        return next((choice for choice in choices if str(choice) == value.strip()), value)
    return _exact(value, types)


def _wanted(rules: Mapping[str, Any]) -> set[str]:
    kind = rules.get("type")
    types = {kind} if isinstance(kind, str) else set(_names(kind))
    for key in ("anyOf", "oneOf"):
        branches = rules.get(key)
        for branch in branches if isinstance(branches, list) else []:
            if isinstance(branch, Mapping):
                types |= _wanted(branch)
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
