"""JSON of strangers becomes values: bounded before it is read, and nothing in them that nobody can write.

A few bytes of JSON can become gigabytes of objects, and one number take minutes. So what it will become is
estimated from what is cheap to see.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pydantic_core

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "TooExpensive", "loads"]

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of a text that is read: a record holds its request, and that the images that were put into it."""

MAX_VALUES = 1_000_000
"""Values that a text may hold: some 100 MB of objects. A queue of 35,000 jobs has 700,000."""

MAX_DEPTH = 200
"""Levels of what is returned, which is what pydantic reads; no answer of the hub's has ten."""

_DIGITS = 400
"""Digits of an integer beyond which it is no number for anybody."""


class TooExpensive(ValueError):
    """It would take too much memory or time to be read."""


def loads(text: bytes | str, *, longest: int = MAX_BYTES, many: int = MAX_VALUES) -> Any:
    """Return what a JSON text holds.

    One odd thing must not cost the others, so that NaN, an integer of thousands of digits and what lies too
    deep are None, and a half of a character is "?". A number such as 1e400 is infinite all the same.

    :param longest: bytes, or characters, at most.
    :param many: values at most.
    :raises TooDear: a ``ValueError``, as is what is raised where it is no JSON.
    """
    if len(text) > longest:
        raise TooExpensive(f"it has more than {longest:,} bytes")
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(content) > many and sum(map(content.count, (b",", b"[", b"{"))) > many:
        raise TooExpensive(f"it holds more than {many:,} values")
    try:
        # Without a copy of it as text: an image may be in it.
        return pydantic_core.from_json(content, cache_strings="keys", allow_inf_nan=False)
    except ValueError:
        return _slowly(text)


def _slowly(text: bytes | str) -> Any:
    try:
        value = json.loads(text, parse_int=_whole, parse_constant=lambda name: None)
    except RecursionError:
        raise TooExpensive("it is nested too deep") from None
    return _fit(value, 0)


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _DIGITS else None


def _fit(value: Any, depth: int) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_fit(item, depth + 1) for item in value] if depth < MAX_DEPTH else None
        case dict() if depth < MAX_DEPTH:
            return {_fit(name, depth): _fit(item, depth + 1) for name, item in value.items()}
        case dict():
            return None
    return value
