"""Read untrusted JSON: estimate its size before reading, and keep only values that can be written again.

A few bytes of JSON can become gigabytes of objects, and one number can take minutes. So the size of the
result is estimated from what is cheap to see.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pydantic_core

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "TooExpensive", "loads"]

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of a text that is read: a record holds its request, including input images."""

MAX_VALUES = 1_000_000
"""How many values a text may hold: about 100 MB of objects. A queue of 35,000 jobs has 700,000."""

MAX_DEPTH = 200
"""How many levels are kept, which is what pydantic reads; no answer of the hub has ten."""

_DIGITS = 400
"""Integers with more digits than this are not read."""


class TooExpensive(ValueError):
    """Reading the text would take too much memory or time."""


def loads(text: bytes | str, *, longest: int = MAX_BYTES, many: int = MAX_VALUES) -> Any:
    """Return the value of a JSON text.

    One odd value must not spoil the others. So NaN, an integer of thousands of digits and what lies too deep
    become None, and half of a surrogate pair becomes "?". A number such as 1e400 still becomes infinite.

    :param longest: most bytes, or characters.
    :param many: most values.
    :raises TooExpensive: if the text is too large. Like the error for text that is not JSON, it is a
        ``ValueError``.
    """
    if len(text) > longest:
        raise TooExpensive(f"it has more than {longest:,} bytes")
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(content) > many and sum(map(content.count, (b",", b"[", b"{"))) > many:
        raise TooExpensive(f"it holds more than {many:,} values")
    try:
        # Do not copy it to a text first: it may hold an image.
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
