"""Arguments that do not go to the hub, given their types after rendering."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.schema import UNSET, exact_number

__all__ = [
    "boolean",
    "choice",
    "given",
    "mapping",
    "number",
    "optional_text",
    "positive",
    "seconds",
    "shown",
    "text",
    "whole",
]

_MOST = sys.float_info.max


def given(value: Any, default: Any) -> Any:
    """Return the value, or the default for what a template renders to when there is nothing to say."""
    unset = value is None or (isinstance(value, str) and value.strip() in UNSET)
    return default if unset else value


def boolean(name: str, value: Any) -> bool:
    """Return True or False; a template renders them to text."""
    words = {"true": True, "1": True, "false": False, "0": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        raise OxenInvalidRequest(f"{name} must be True or False, not {shown(value)}.")
    return found


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if value not in allowed:
        raise OxenInvalidRequest(f"{name} must be one of {', '.join(allowed)}, not {shown(value)}.")
    return str(value)


def text(name: str, value: Any) -> str:
    """Return a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise OxenInvalidRequest(f"{name} must be a text, not {shown(value)}.")
    return value.strip()


def optional_text(name: str, value: Any) -> str | None:
    """Return a text, or None for what a template renders to when there is nothing to say."""
    value = given(value, None)
    return None if value is None else text(name, value)


def mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values; a template renders it to JSON with ``| tojson``."""
    value = given(value, {})
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise OxenInvalidRequest(
                f"{name} was rendered to {shown(value)}, which is not JSON: render it with '| tojson'."
            ) from None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise OxenInvalidRequest(f"{name} must map names to values, not {shown(value)}.")
    return dict(value)


def shown(value: Any, limit: int = 200) -> str:
    """Return a value for an error message, shortened."""
    shortened = repr(value)
    return shortened if len(shortened) <= limit else f"{shortened[: limit - 1]}…"


def positive(name: str, value: Any) -> int:
    """Return an integer above zero."""
    return whole(name, value, least=1)


def whole(name: str, value: Any, *, least: int) -> int:
    """Return an integer; an exact number with no fraction counts, and so does its text."""
    number = exact_number(value) if isinstance(value, str) else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise OxenInvalidRequest(f"{name} must be an integer of at least {least}, not {shown(value)}.")
    return number


def number(name: str, value: Any, *, above: float) -> float:
    """Return a number above a limit; the text of an exact one counts."""
    found = exact_number(value) if isinstance(value, str) else value
    if not isinstance(found, int | float) or isinstance(found, bool) or not above < found <= _MOST:
        raise OxenInvalidRequest(f"{name} must be a number above {above:g}, not {shown(value)}.")
    return float(found)


def seconds(name: str, value: Any) -> float:
    """Return a time in seconds, given as a number above zero or as a ``timedelta``."""
    return number(name, value.total_seconds() if isinstance(value, timedelta) else value, above=0)
