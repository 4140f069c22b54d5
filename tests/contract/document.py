"""The hub's OpenAPI document: our copy, what is served of it, and whose operation a request is."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("hub-openapi.json")

OUTSIDE = re.compile(
    r"/api/(events|authorize|users/me)|/api/repos/[^/]+/[^/]+/files/.+|/api/images/.+|/api/evaluations/.+"
)
"""Paths that the hub has and its document does not: they go past Prism. The document is silent on the stream
of events, on whose key it is, on the files of results and on the ``classic`` layout."""

SPREAD = {"alwaysFakeOptionals": False, "fixedProbabilities": True, "optionalsProbability": 0.7}
"""How Prism's random answers are made: of what may be missing, other three tenths are missing in each. (With
probabilities that are not fixed, lists come to have up to eighty entries.)"""


class Amendment(NamedTuple):
    """Where the document is known to be wrong about the live hub.

    :ivar where: keys that lead to an ``enum``.
    :ivar value: that it lacks.
    """

    where: tuple[str, ...]
    value: str
    why: str


AMENDMENTS = (
    Amendment(
        ("components", "schemas", "Model", "properties", "pricing", "properties", "method", "enum"),
        "per_provider_credit",
        "a model of the live catalogue is priced so (2026-09-26)",
    ),
)


def document() -> dict[str, Any]:
    """Return the document, to the letter."""
    read: dict[str, Any] = json.loads(PATH.read_text())
    return read


def served() -> dict[str, Any]:
    """Return the document as Prism gets it: amended."""
    changed = copy.deepcopy(document())
    for amendment in AMENDMENTS:
        values: Any = changed
        for key in amendment.where:
            values = values[key]
        if amendment.value in values:
            raise SystemExit(f"The document has {amendment.value!r} by now: take the amendment out.")
        values.append(amendment.value)
    return {**changed, "x-json-schema-faker": SPREAD}


class Operations:
    """The operations of the document, by method and path."""

    def __init__(self) -> None:
        paths = document()["paths"]
        # A path that is spelt out goes before one with a parameter.
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path, set(paths[path]))
            for path in sorted(paths, key=lambda path: path.count("{"))
        ]

    def names(self) -> list[str]:
        """Return all of them, such as ``GET /api/ai/queue``."""
        return [f"{method.upper()} {path}" for _, path, methods in self._paths for method in sorted(methods)]

    def name(self, method: str, path: str) -> str | None:
        """Return the name of the operation that a request asks for, or None."""
        for pattern, template, methods in self._paths:
            if method.lower() in methods and pattern.fullmatch(path):
                return f"{method} {template}"
        return None
