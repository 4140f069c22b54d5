"""Convert values from any library to plain JSON, and refuse those that would change on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from airflow_provider_oxen.api.errors import OxenInvalidRequest

__all__ = ["plain", "shortest", "shown"]

_LEAST, _MOST = -(2**63), 2**64 - 1
"""Integers that Airflow can pass between its processes, and that any JSON library reads as integers."""

_SHOWN = 80
"""Characters shown of a value's place in a message."""

_DEEPEST = 100
"""Most levels of a value; far more than any model's parameter has."""


def plain(name: str, value: Any) -> Any:
    """Return a value as plain JSON: tuples become lists; NumPy, pandas and Arrow values become Python's.

    :param name: name of the argument, for messages.
    :raises OxenInvalidRequest: naming the argument, if JSON has no such value.
    """
    return _plain(name, value, 0)


def shown(value: Any, limit: int = 200) -> str:
    """Return a value for an error message, shortened."""
    shortened = repr(value)
    return shortened if len(shortened) <= limit else f"{shortened[: limit - 1]}…"


def shortest(value: float, digits: int, fits: Any) -> float:
    """Return the float with the fewest digits that is still the same in the narrower type.

    3.7 in 32 bits is 3.700000047683716 in 64; the author meant 3.7.

    :param digits: decimal digits that the narrower type always holds.
    :param fits: returns whether a float becomes the same value in the narrower type.
    """
    if math.isfinite(value):
        for count in range(digits, digits + 5):
            found = float(f"{value:.{count}g}")
            if fits(found):
                return found
    return value


def _plain(name: str, value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        _refuse(name, "is nested too deep")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            _refuse(name, "is an integer of more than 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            _refuse(name, f"is {value}, and JSON has no such number")
        return value
    if isinstance(value, Mapping):
        return {_key(name, key): _plain(f"{name}[{key!r}]", item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{place}]", item, depth + 1) for place, item in enumerate(value)]
    if isinstance(value, Decimal):
        return _plain(name, _of_decimal(name, value), depth)
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and hasattr(value, "ndim"):
        return _plain(name, _of_numpy(value), depth)
    if library == "pandas" and kind.__name__ in ("NAType", "NaTType"):
        return None
    _refuse(name, f"is {shown(value)}, of type {kind.__name__}")


def _key(name: str, key: Any) -> str:
    if not isinstance(key, str):
        _refuse(name, f"has {shown(key)} as a name, which is no text")
    return key


def _of_decimal(name: str, value: Decimal) -> int | float:
    if not value.is_finite():
        return float(value)
    if value == value.to_integral_value() and "." not in f"{value:f}":
        return int(value)
    found = float(value)
    if Decimal(repr(found)) != value:
        _refuse(name, f"is {value}, which no number of 64 bits holds exactly: round it")
    return found


def _of_numpy(value: Any) -> Any:
    if value.ndim:
        return list(value)
    if value.dtype.kind == "f" and value.dtype.itemsize < 8:
        # NumPy writes the shortest text that is still the same number.
        return float(str(value))
    return value.item()


def _refuse(name: str, problem: str) -> NoReturn:
    where = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    raise OxenInvalidRequest(f"The request cannot be written as JSON: {where} {problem}.") from None
