"""Evaluate the rules of a model's request schema, each on its own.

The hub's schemas are OpenAPI-flavoured JSON Schema, written by many authors. A rule that cannot be evaluated
here (an unknown type, a pattern of another dialect, a reference to somewhere else) must not disable the
others. :func:`readable` replaces it with a mark. When evaluation reaches the mark, it reports itself, and
every rule that depends on it is undecided: it does not count against the request, whatever ``not`` or
``oneOf`` would make of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from airflow_provider_oxen.catalogue.bounds import (
    LONGEST_TEXT,
    MOST_ITEMS,
    UNREAD,
    Rules,
    repeats,
    too_expensive,
    unread,
)

__all__ = ["readable", "validator_class"]

_DROPPED = frozenset({UNREAD, "$schema", "additionalProperties", "unevaluatedProperties", "unevaluatedItems"})
"""Keywords that are never a rule here: a parameter that a schema does not list is no contradiction."""

_NAMES = frozenset({"$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})
"""Keywords that would change what a reference means; here a reference is only a path in the schema."""

_DEEPEST = 64
"""Levels of a schema that are read; :mod:`.bounds` evaluates fewer."""

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

_ROUNDING = 2
"""Rounding error of the sum of two decimals, in units in the last place: 0.1 + 0.2 is not exactly 0.3."""


def readable(node: Any, depth: int = 0) -> Any:
    """Return a schema as plain JSON Schema: ``nullable`` written out, and marks for unreadable rules."""
    if not isinstance(node, list | Mapping):
        return node
    if depth > _DEEPEST:
        return too_expensive()
    if isinstance(node, list):
        return [readable(item, depth + 1) for item in node]
    out, strange = Rules(), {}
    for key, value in _with_limits(node).items():
        if (
            key in _DROPPED
            or (key in _NAMES and isinstance(value, str))
            or (value is None and key in _SHAPES)
        ):
            # Some generators write null for each rule that they do not set.
            continue
        if key in _SHAPES and not _SHAPES[key](value):
            strange[key] = value
        elif key in _BY_NAME and isinstance(value, Mapping):
            out[key] = {name: _schema(rules, depth) for name, rules in value.items()}
        elif key in _IN_A_LIST:
            out[key] = [_schema(rules, depth) for rules in value]
        else:
            out[key] = value if key in _VALUES else readable(value, depth + 1)
    if node.get("nullable") is True:
        out = _nullable(out)
    return Rules({**out, UNREAD: strange}) if strange else out


@lru_cache(maxsize=1)
def validator_class() -> Any:
    """Return the validator class for readable schemas."""
    import jsonschema

    base = jsonschema.Draft202012Validator
    own = {
        UNREAD: _unread,
        "$ref": _reference(base.VALIDATORS["$ref"]),
        "$dynamicRef": _reference(base.VALIDATORS["$dynamicRef"]),
        "multipleOf": _multiple_of,
        "pattern": _pattern,
        "uniqueItems": _unique(base.VALIDATORS["uniqueItems"]),
        "anyOf": _any_of,
        "oneOf": _one_of,
        "not": _not,
        "if": _if,
        "contains": _contains,
    }
    return jsonschema.validators.extend(base, own)


def _is_multiple(value: float, step: float) -> bool:
    """Return whether a number is a multiple of another as both are written: 3.3 is a multiple of 0.1.

    A difference that is only a rounding error of floats does not count.
    """
    if value in (math.inf, -math.inf) or value != value:
        return False
    number, each = (Fraction(repr(one)) if isinstance(one, float) else Fraction(one) for one in (value, step))
    off = abs(number - round(number / each) * each)
    return off == 0 or (isinstance(value, float) and off <= _ROUNDING * Fraction(math.ulp(value)))


def _with_limits(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules with OpenAPI 3.0's exclusive limits (booleans beside a limit) as numbers."""
    rules = dict(node)
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if rules.get(exclusive) is False:
            del rules[exclusive]
        elif rules.get(exclusive) is True and _is_number(rules.get(limit)):
            rules[exclusive] = rules.pop(limit)
    return rules


def _nullable(rules: Rules) -> Rules:
    if not {"$ref", "allOf", "anyOf", "oneOf"}.isdisjoint(rules):
        return Rules(anyOf=[Rules(type="null"), rules])
    if isinstance(rules.get("type"), str):
        rules["type"] = [rules["type"], "null"]
    if isinstance(rules.get("enum"), list):
        rules["enum"] = [*rules["enum"], None]
    return rules


def _schema(rules: Any, depth: int) -> Any:
    return readable(rules, depth + 1) if _is_schema(rules) else unread(rules)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


_is_schema = _is_a(Mapping, bool)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_type(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _are_names(names) and _TYPES.issuperset(names)


def _is_pattern(value: Any) -> bool:
    if repeats(value) is None:
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning):
        return False
    return True


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "enum": _is_a(list),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], _is_number),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], _is_count),
    **dict.fromkeys(["minProperties", "maxProperties", "minContains", "maxContains"], _is_count),
    "uniqueItems": _is_a(bool),
    "pattern": _is_pattern,
    "patternProperties": lambda value: isinstance(value, Mapping) and all(map(_is_pattern, value)),
    "required": _are_names,
    "dependentRequired": lambda value: isinstance(value, Mapping) and all(map(_are_names, value.values())),
    **dict.fromkeys(["$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor"], _is_a(str)),
    **dict.fromkeys(["not", "if", "then", "else", "items", "contains", "propertyNames"], _is_schema),
    **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], _is_a(list)),
    **dict.fromkeys(["properties", "dependentSchemas"], _is_a(Mapping)),
}
"""What the value of each keyword must look like for the rule to be evaluated."""

_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_IN_A_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_VALUES = frozenset({"enum", "const", "required", "type", "dependentRequired"})


def _unread(validator: Any, rules: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    for rule, value in rules.items():
        yield _mark(rule, value)


def _mark(rule: str, value: Any) -> Any:
    from jsonschema import ValidationError

    return ValidationError("not evaluated", validator=UNREAD, validator_value=(rule, value))


def _against() -> Any:
    """Return an error without a message; the message is made later, from the error's rule and value."""
    from jsonschema import ValidationError

    return ValidationError("broken")


def _undecided(errors: list[Any]) -> list[Any]:
    """Return the marks that leave open whether a schema allows the value; an empty list if decided."""
    return errors if all(error.validator == UNREAD for error in errors) else []


def _tried(validator: Any, pairs: Iterable[tuple[Any, Any]], *, items: bool = False) -> tuple[int, list[Any]]:
    """Check values against schemas; return how many fit, and the marks of the undecided ones."""
    tried = [
        list(validator.descend(value, rules, path=at if items else None))
        for at, (value, rules) in enumerate(pairs)
    ]
    return tried.count([]), [mark for errors in tried for mark in _undecided(errors)]


def _any_of(validator: Any, branches: list[Any], instance: Any, schema: Any) -> Iterator[Any]:
    fitting, marks = _tried(validator, ((instance, rules) for rules in branches))
    if not fitting:
        yield from marks or [_against()]


def _one_of(validator: Any, branches: list[Any], instance: Any, schema: Any) -> Iterator[Any]:
    fitting, marks = _tried(validator, ((instance, rules) for rules in branches))
    if fitting > 1 or not (fitting or marks):
        yield _against()
    yield from marks


def _not(validator: Any, rules: Any, instance: Any, schema: Any) -> Iterator[Any]:
    fitting, marks = _tried(validator, [(instance, rules)])
    yield from [_against()] if fitting else marks


def _if(validator: Any, rules: Any, instance: Any, schema: Any) -> Iterator[Any]:
    fitting, marks = _tried(validator, [(instance, rules)])
    branch = schema.get("then" if fitting else "else", True)
    yield from marks or validator.descend(instance, branch)


def _contains(validator: Any, rules: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "array"):
        return
    fitting, marks = _tried(validator, ((item, rules) for item in instance), items=True)
    if marks:
        yield from marks
    elif not schema.get("minContains", 1) <= fitting <= schema.get("maxContains", fitting):
        yield _against()


def _multiple_of(validator: Any, step: float, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "number") and not _is_multiple(instance, step):
        yield _against()


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "string"):
        return
    if len(instance) > LONGEST_TEXT and repeats(pattern):
        yield _mark("pattern", pattern)
    elif not re.search(pattern, instance):
        yield _against()


def _unique(base: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def rule(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(instance, "array") and len(instance) > MOST_ITEMS:
            yield _mark("uniqueItems", unique)
        else:
            yield from base(validator, unique, instance, schema)

    return rule


def _reference(base: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def rule(validator: Any, target: str, instance: Any, schema: Any) -> Iterator[Any]:
        from referencing.exceptions import Unresolvable

        try:
            yield from base(validator, target, instance, schema)
        except (Unresolvable, ValueError, TypeError, AttributeError, LookupError):
            # The target does not exist, is elsewhere (nothing is fetched), or is no schema.
            yield _mark("$ref", target)

    return rule
