"""Decide which rules of a model's request schema are cheap enough to check, before any rule is checked.

A schema of some hundred bytes can ask for an endless amount of work: references to references that double
each time, or a pattern with one repetition in another. A timeout would not help: while a pattern is matched,
nothing else in the process runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "LONGEST_TEXT",
    "MOST_ITEMS",
    "UNREAD",
    "Rules",
    "affordable",
    "repeats",
    "too_expensive",
    "unread",
]

UNREAD = "$unread"
"""The mark: a keyword that holds the rules that are not evaluated, by their keyword."""

LONGEST_TEXT = 1_000
"""Longest value, in characters, that is matched against a pattern with a repetition."""

MOST_ITEMS = 300
"""Longest list whose items are compared with each other."""

_STEPS, _ALL_STEPS = 500, 5_000
"""Most rules to evaluate for one parameter and for a whole request, including what they refer to. The largest
schema of a known model has some hundred."""

_DEEPEST = 32
"""Levels of rules, including followed references."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

_VALUES = frozenset(
    {"enum", "const", "default", "examples", "required", "type", "title", "description", UNREAD}
)

_LONGEST_PATTERN = 200

_QUANTIFIER = r"(?:[*+?]|\{(?P<least>\d{0,4})(?P<range>,(?P<most>\d{0,4}))?\})[?+]?"
_ATOM = re.compile(
    r"\((?:\?:)?(?P<choice>[^()\[\]\\*+?{}|]*(?:\|[^()\[\]\\*+?{}|]*)*)\)"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsSbB.\-/:+*?()\[\]{}^$|\\]|[^\\()\[\]{}*+?|]",
    re.DOTALL,
)
_REPEATED = re.compile(_QUANTIFIER)
_MOST_TIMES = 100


class Rules(dict[str, Any]):
    """Rules that can be evaluated: the work of :func:`.rules.readable`. Values such as an enum's are none."""


def unread(rules: Any) -> Rules:
    """Return the mark for rules that are not evaluated."""
    return Rules({UNREAD: {"schema": rules}})


def too_expensive() -> Rules:
    """Return the mark for rules that would take too long."""
    return unread("more than is checked")


def affordable(schema: Rules) -> Rules:
    """Return a schema in which a mark replaces the rules of each parameter that are too expensive.

    :param schema: as it will be evaluated.
    """
    cost = _Cost(schema)
    properties = schema.get("properties")
    out = dict(schema)
    left = _ALL_STEPS
    if isinstance(properties, dict):
        out["properties"] = cheap = {}
        for name, rules in properties.items():
            steps = cost.of(rules, 1)
            cheap[name] = rules if steps <= min(_STEPS, left) else too_expensive()
            left -= steps if steps <= min(_STEPS, left) else 1
    apart = ("properties", "$defs", "definitions")
    rest = Rules({key: value for key, value in schema.items() if key not in apart})
    if cost.of(rest, 1) > min(_STEPS, left):
        known = {key: rest[key] for key in ("type", "required") if key in rest}
        out = (
            {key: value for key, value in out.items() if key not in rest}
            | known
            | {"allOf": [too_expensive()]}
        )
    return Rules(out)


def repeats(pattern: Any) -> int | None:
    """Return how many parts of a pattern vary in length or in choice; None if the pattern is too expensive.

    A cheap pattern takes at most as many steps as the square of the text's length: no group is repeated, and
    at most one part has a variable length, or two if the pattern is anchored at the beginning of the text.
    """
    if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
        return None
    anchored = pattern.startswith("^")
    at, variable = int(anchored), 0
    while at < len(pattern):
        atom = _ATOM.match(pattern, at)
        if atom is None:
            return None
        variable += "|" in (atom["choice"] or "")
        at = atom.end()
        times = _REPEATED.match(pattern, at)
        if times is None:
            continue
        if atom["choice"] is not None or int(times["least"] or times["most"] or 0) > _MOST_TIMES:
            return None
        if not (times["least"] and not times["range"]):
            variable += 1
        at = times.end()
    return variable if variable <= (2 if anchored else 1) else None


class _Cost:
    """Counts the rules that an evaluation may reach; each reference counts as often as it is followed."""

    def __init__(self, root: Rules) -> None:
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        self._resolver = Registry().resolver_with_root(DRAFT202012.create_resource(root))
        self._known: dict[str, int] = {}

    def of(self, node: Any, depth: int) -> int:
        """Return the number of steps of some rules; more than is allowed if they are endless."""
        if depth > _DEEPEST:
            return _ALL_STEPS + 1
        steps, targets, parts = 0, [], []
        if isinstance(node, Rules):
            steps = 1
            parts = [value for key, value in node.items() if key not in _VALUES]
            targets = [node[key] for key in _REFERENCES if isinstance(node.get(key), str)]
        elif isinstance(node, Mapping):
            # Rules by name; a parameter may be called "default".
            parts = list(node.values())
        elif isinstance(node, list):
            parts = node
        for part in parts:
            if steps > _ALL_STEPS:
                break
            steps += self.of(part, depth + 1)
        return steps + sum(map(self._referred, targets))

    def _referred(self, target: str) -> int:
        if target not in self._known:
            # A reference to itself is endless.
            self._known[target] = _ALL_STEPS + 1
            self._known[target] = self._at(target)
        return self._known[target]

    def _at(self, target: str) -> int:
        from referencing.exceptions import Unresolvable

        try:
            # Follow it as the validator will: it also knows "/-1" and "/01". Nothing is fetched.
            found = self._resolver.lookup(target).contents
        except (Unresolvable, ValueError, TypeError, AttributeError, LookupError):
            return 0
        if isinstance(found, Mapping) and not isinstance(found, Rules):
            # It is no rule and was not made readable: it may hold a pattern of any cost.
            return _ALL_STEPS + 1
        return self.of(found, 1)
