"""Check a request against a model's request schema, and describe the problems for people.

The hub's schemas are OpenAPI-flavoured JSON Schema. They drift from what the hub accepts. So a contradiction
is an error, and a parameter that the schema merely does not list is a warning, unless it is a misspelt listed
name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_oxen.api.models import HUB_PARAMETERS
from airflow_provider_oxen.api.redact import MAX_LINE_INPUT, redacted_line, without_queries
from airflow_provider_oxen.catalogue.bounds import UNREAD, affordable
from airflow_provider_oxen.catalogue.rules import readable, validator_class
from airflow_provider_oxen.catalogue.values import names, pixels, properties, wanted

__all__ = ["Problem", "check", "did_you_mean", "sized"]

_SHORTEST_WORD = 3
"""Shortest word, in letters, that may be misspelt: ``top_k`` is no misspelling of ``top_p``."""


class Problem(NamedTuple):
    """One contradiction between a request and a schema.

    :ivar parameter: name of the parameter, with a path for nested ones (``image_size.width``).
    :ivar rule: the JSON Schema keyword that is broken, ``unlisted`` or ``schema``.
    :ivar message: a sentence with the parameter, the rule and the value.
    :ivar is_error: False if the schema does not contradict the request.
    """

    parameter: str
    rule: str
    message: str
    is_error: bool


def sized(schema: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with an ``image_size`` in pixels in the form that the model takes.

    The form is the given text if the schema names exactly that text, a mapping, or ``width`` and ``height``
    beside the other parameters. If the model takes none of them, :func:`check` says why.
    """
    asked, size = parameters.get("image_size"), pixels(parameters.get("image_size"))
    if size is None:
        return dict(parameters)
    rest = {name: value for name, value in parameters.items() if name != "image_size"}
    listed = properties(schema)
    if not listed:
        # Use the form in the hub's documentation.
        return {**rest, "image_size": size}
    as_given: dict[str, Any] = {"image_size": asked}
    as_mapping: dict[str, Any] = {"image_size": size}
    beside = size.keys() <= listed.keys() and rest.keys().isdisjoint(size)
    named = isinstance(asked, str) and not _fits(schema, {"image_size": f"{asked}?"})
    forms = [*([as_given] if named else []), as_mapping, *([size] if beside else [])]
    for form in forms:
        if form.keys() <= listed.keys() and _fits(schema, form):
            return {**rest, **form}
    # None fits: use the form that gives the clearest message.
    if "image_size" not in listed and beside:
        return {**rest, **size}
    rules = listed.get("image_size")
    only_mapping = isinstance(rules, Mapping) and wanted(rules) == {"object"}
    return {**rest, **(as_mapping if only_mapping else as_given)}


def check(
    schema: Mapping[str, Any] | None, parameters: Mapping[str, Any], *, whole: bool = True
) -> list[Problem]:
    """Return the contradictions between the schema and the parameters, errors first.

    :param schema: the model's request schema; None or a broken one gives at most one warning.
    :param parameters: the request without the hub's own fields.
    :param whole: whether these are all parameters, so that a required one can be missing.
    """
    if not schema:
        return []
    try:
        validator = _validator(json.dumps(schema), whole)
        found = list(validator.iter_errors(dict(parameters)))
    except (RecursionError, ValueError) as error:
        text = f"the model's request schema cannot be read ({type(error).__name__}); nothing was checked"
        return [Problem("", "schema", text, is_error=False)]
    problems = [_problem(error) for error in found]
    listed = properties(schema)
    for name in parameters:
        if listed and name not in listed:
            problems.append(_unlisted(name, parameters[name], listed))
    return sorted(dict.fromkeys(problems), key=lambda problem: (not problem.is_error, problem.parameter))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question that suggests which names may be meant, with a leading space; or an empty text.

    Similar letters are not enough: ``num_images`` is similar to ``input_images``, and ``min_size`` to
    ``max_size``, and each is a parameter of its own. So names are compared word by word, and each word may
    have one typo.
    """
    near = [other for other in names if _is_slip_of(name, other)]
    return f" Did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""


def _is_slip_of(name: str, other: str) -> bool:
    words, others = _words(name), _words(other)
    if len(words) != len(others):
        words, others = ["".join(words)], ["".join(others)]
    return bool(words) and all(map(_is_near, words, others))


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200])
    return re.findall(r"[^\W\d_]+|\d+", apart.casefold())


def _is_near(word: str, other: str) -> bool:
    """Return whether two words differ by at most one letter: added, left out, replaced, or swapped."""
    if word == other:
        return True
    if min(len(word), len(other)) < _SHORTEST_WORD or not (word + other).isalpha():
        return False
    pairs = enumerate(zip(word, other, strict=False))
    at = next((at for at, (one, two) in pairs if one != two), min(len(word), len(other)))
    left, right = word[at:], other[at:]
    # A different first letter makes a different word: weight and height, task and mask.
    another = at > 0 and left[1:] == right[1:]
    swapped = left[:2] == right[:2][::-1] and left[2:] == right[2:]
    return another or swapped or left[1:] == right or left == right[1:]


def _fits(schema: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> bool:
    return not any(problem.is_error for problem in check(schema, parameters, whole=False))


@lru_cache(maxsize=64)
def _validator(schema: str, whole: bool) -> Any:
    """Return the validator for a schema; cached, because a batch has thousands of requests for one model."""
    from referencing import Registry

    rules = json.loads(schema)
    # A request is never null, and the parameters are looked for at the top.
    rules.pop("nullable", None)
    required = names(rules.get("required")) if whole else []
    rules["required"] = [name for name in required if name not in HUB_PARAMETERS]
    # An empty registry: this worker must never fetch the target of a "$ref".
    return validator_class()(affordable(readable(rules)), registry=Registry())


def _problem(error: Any) -> Problem:
    path = ".".join(str(part) for part in error.absolute_path)
    rule = str(error.validator)
    if rule == UNREAD:
        name, value = error.validator_value
        text = (
            f"{path or 'the request'}: the rule {name} of the model's request schema cannot be evaluated and "
            f"was not checked: {_shorten(value)}"
        )
        return Problem(path, name, text, is_error=False)
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
    if rule == "anyOf":
        wording = _any_of(error.validator_value) or wording
    return Problem(path, rule, f"{path or 'the request'}: {wording}, not {value}", is_error=True)


def _unlisted(name: str, value: Any, listed: Mapping[str, Any]) -> Problem:
    text = f"{name}: the model's request schema does not list this parameter"
    meant = did_you_mean(name, [*listed, *sorted(HUB_PARAMETERS)])
    if meant:
        return Problem(name, "unlisted", f"{text}.{meant}", is_error=True)
    if name == "image_size" and isinstance(value, str) and pixels(value):
        names = redacted_line(", ".join(listed))
        text += f", nor width and height, so that {value!r} means nothing to it; it lists {names}"
        return Problem(name, "unlisted", text, is_error=True)
    return Problem(name, "unlisted", f"{text}; it is sent as it is", is_error=False)


def _any_of(rules: list[Any]) -> str | None:
    """Return what a value may be, in words; None where a rule is none of the usual ones."""
    ways = list(map(_way, rules))
    return f"must be {', or '.join(filter(None, ways))}" if all(ways) else None


def _way(rule: Any) -> str | None:
    if not isinstance(rule, Mapping):
        return None
    if isinstance(rule.get("enum"), list):
        return f"one of {_shorten(rule['enum'])}"
    needed = names(rule.get("required"))
    if rule.get("type") != "object" or not needed:
        return None
    return f"a mapping with {redacted_line(' and '.join(needed))}"


def _types(value: Any) -> str:
    return " or ".join(str(name) for name in value) if isinstance(value, list) else str(value)


def _shorten(value: Any) -> str:
    # Redact before cutting: a cut could leave half a key.
    text = without_queries(repr(value), MAX_LINE_INPUT)
    return text if len(text) <= 200 else f"{text[:199]}…"
