"""Decide which rules of a model's request schema are cheap enough to check, before any rule is checked.

A schema of some hundred bytes can ask for an endless amount of work: references to references that double
each time, or a pattern with one repetition in another. A timeout would not help: while a pattern is matched,
nothing else in the process runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

__all__ = ["LONGEST_TEXT", "MOST_ITEMS", "affordable", "repeats"]

DEAR = "more than is checked"
"""Replaces rules that are too expensive. It is no rule itself, so :mod:`.rules` marks it as not read."""

LONGEST_TEXT = 1_000
"""Longest value, in characters, that is matched against a pattern with a repetition."""

MOST_ITEMS = 300
"""Longest list whose items are compared with each other."""

_STEPS, _ALL_STEPS = 500, 5_000
"""Most rules to evaluate for one parameter and for a whole request, including what they refer to. The largest
schema of a known model has some hundred."""

_DEEPEST = 32
"""Levels of rules, including followed references."""

_DROPPED = frozenset({"$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})
"""Keywords that would change what a reference means; here a reference is only a path in the schema."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

_VALUES = frozenset({"enum", "const", "default", "examples", "required", "type", "title", "description"})

_LONGEST_PATTERN = 200

_QUANTIFIER = r"(?:[*+?]|\{(?P<least>\d{0,4})(?P<range>,(?P<most>\d{0,4}))?\})[?+]?"
_ATOM = re.compile(
    r"\((?:\?:)?(?P<choice>[^()\[\]\\*+?{}|]*(?:\|[^()\[\]\\*+?{}|]*)*)\)"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsSbB.\-/:+*?()\[\]{}^$|\\]|[^\\()\[\]{}*+?|]",
    re.DOTALL,
)
_REPEATED = re.compile(_QUANTIFIER)
_MOST_TIMES = 100


def affordable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in which :data:`DEAR` replaces the rules of each parameter that are too expensive."""
    tidy = _without_names(schema, 0)
    cost = _Cost(tidy)
    properties = tidy.get("properties")
    out = dict(tidy)
    left = _ALL_STEPS
    if isinstance(properties, dict):
        out["properties"] = cheap = {}
        for name, rules in properties.items():
            steps = cost.of(rules, 1)
            cheap[name] = rules if steps <= min(_STEPS, left) else DEAR
            left -= steps if steps <= min(_STEPS, left) else 1
    rest = {key: value for key, value in tidy.items() if key not in ("properties", "$defs", "definitions")}
    if cost.of(rest, 1) > min(_STEPS, left):
        known = {key: rest[key] for key in ("type", "required") if key in rest}
        out = {key: value for key, value in out.items() if key not in rest} | known | {"allOf": [DEAR]}
    return out


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


def _without_names(node: Any, depth: int) -> Any:
    """Return rules without the keywords that would rename them; DEAR replaces what lies too deep."""
    if isinstance(node, list):
        return [_without_names(item, depth + 1) for item in node] if depth < 2 * _DEEPEST else DEAR
    if not isinstance(node, Mapping):
        return node
    if depth >= 2 * _DEEPEST:
        return DEAR
    return {
        key: value if key in _VALUES else _without_names(value, depth + 1)
        for key, value in node.items()
        if key not in _DROPPED or not isinstance(value, str)
    }


class _Cost:
    """Counts the rules that an evaluation may reach; each reference counts as often as it is followed."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[str, int] = {}

    def of(self, node: Any, depth: int) -> int:
        """Return the number of steps of some rules; more than is allowed if they are endless."""
        if depth > _DEEPEST:
            return _ALL_STEPS + 1
        if isinstance(node, Mapping):
            steps = 1
            parts = [value for key, value in node.items() if key not in _VALUES]
            targets = [node[key] for key in _REFERENCES if isinstance(node.get(key), str)]
        else:
            steps, parts, targets = 0, node if isinstance(node, list) else [], []
        for part in parts:
            if steps > _ALL_STEPS:
                break
            steps += self.of(part, depth + 1)
        return steps + sum(map(self._referred, targets))

    def _referred(self, target: str) -> int:
        if target not in self._known:
            # A reference to itself is endless.
            self._known[target] = _ALL_STEPS + 1
            self._known[target] = self.of(self._at(target), 1)
        return self._known[target]

    def _at(self, target: str) -> Any:
        if not target.startswith("#"):
            return None  # Nothing is fetched.
        node: Any = self._root
        for step in unquote(target[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdecimal() and len(key) < 6 and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, Mapping):
                node = node.get(key)
            else:
                return None
        return node
