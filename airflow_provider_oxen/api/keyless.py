"""Refuse a request that contains the connection's key: records would keep it, and many can read them.

A template can put the key there: Airflow also renders ``{{ conn… }}`` in what ``expand_kwargs`` receives,
whoever wrote that text.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.redact import LONG_KEY, SHORTEST_KEY, key_pattern

__all__ = ["holds_key", "names_with_key", "refuse_key"]

_CLOTHED = re.compile(r"%[0-9A-Fa-f]{2}|\\|&#?\w+;")
"""Marks of a text that may hold the key in an encoded form. The thousands of other texts of a batch are
skipped."""


def holds_key(value: Any, key: str | None) -> bool:
    """Return whether a value, or anything in it, holds the key: as it is, encoded, or split by white space.

    A short key is part of many words. A key of fewer than :data:`~.redact.LONG_KEY` characters counts only as
    a whole word, and one of fewer than :data:`~.redact.SHORTEST_KEY` only if a text is nothing else.
    """
    return bool(key) and any(_holds(text, str(key)) for text in _texts(value))


def names_with_key(values: Mapping[str, Any], key: str | None) -> list[str]:
    """Return the names of the values that hold the key."""
    return [name for name, value in values.items() if holds_key(value, key)]


def refuse_key(names: Collection[str]) -> None:
    """Refuse a request if any of its arguments holds the key.

    :raises OxenInvalidRequest: naming the arguments.
    """
    if names:
        raise OxenInvalidRequest(
            f"{', '.join(names)}: holds the API key of the Oxen connection, which would be recorded with "
            "the request.",
            remedy="Remove it. Look for a template such as {{ conn… }} in the text: Airflow also renders "
            "what expand_kwargs is given.",
        )


def _holds(text: str, key: str) -> bool:
    if len(key) < SHORTEST_KEY:
        return key in (text.strip(), unquote(text).strip())
    if len(key) >= LONG_KEY and key.casefold() in "".join(text.split()).casefold():
        return True
    if len(key) >= LONG_KEY and not _CLOTHED.search(text):
        return False
    clothes = key_pattern(key)
    return bool(clothes.search(text) or clothes.search(html.unescape(text)))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value. Not recursive, because values may be nested as deep as anybody likes."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list | tuple | set | frozenset):
            left += one
        elif isinstance(one, int):
            # Native rendering turns a key of digits into an integer. Python may refuse to write longer ones.
            yield str(one) if one.bit_length() < 1_000 else ""
        elif isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, bytes):
            yield one.decode(errors="replace")
        elif isinstance(one, os.PathLike):
            left.append(os.fspath(one))
