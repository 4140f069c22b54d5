"""Check the values of a connection's extra fields; no message shows a key or a signed link."""

from __future__ import annotations

from typing import Any, Literal, cast

import httpx

from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.redact import without_queries

__all__ = [
    "MAX_SHOWN",
    "read_boolean",
    "read_layout",
    "read_number",
    "read_proxy",
    "read_text",
    "read_verify",
    "shown",
]

MAX_SHOWN = 60
"""Characters of a value that a message shows."""

_LAYOUTS = ("auto", "classic", "ai")


def read_layout(value: Any) -> Literal["auto", "classic", "ai"]:
    if value not in _LAYOUTS:
        raise OxenSettingsError(
            f"The extra api_layout must be one of {', '.join(_LAYOUTS)}, not {shown(value)}."
        )
    return cast(Literal["auto", "classic", "ai"], value)


def read_text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise OxenSettingsError(f"The extra {name} must be a text, not {shown(value)}.")
    return value.strip() or None if value else None


def read_boolean(name: str, value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = value if isinstance(value, bool) else words.get(_word(value).lower())
    if found is None:
        raise OxenSettingsError(f"The extra {name} must be true or false, not {shown(value)}.")
    return found


def read_number(name: str, value: Any, *, least: int, whole: bool = False) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool) or not least <= number <= 86400 or (whole and number != int(number)):
        raise OxenSettingsError(f"The extra {name} must be {kind} from {least} to 86400, not {shown(value)}.")
    return number


def shown(value: Any) -> str:
    """Return a value for a message: somebody may have put a key or a link where it does not belong."""
    try:
        text = without_queries(repr(value))
    except (ValueError, RecursionError):
        # An integer of thousands of digits, or a structure of thousands of levels.
        return f"such a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _word(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | bool) or value in (0, 1) else "?"


def read_verify(value: Any) -> bool | str:
    if not isinstance(value, str | bool):
        raise OxenSettingsError(
            f"The extra verify must be true or the path of a CA bundle, not {shown(value)}."
        )
    text = _word(value)
    if text.lower() == "false":
        raise OxenSettingsError(
            "The extra verify must be true or the path of a CA bundle: without the check anybody on the way "
            "could read the key."
        )
    return True if text.lower() in ("true", "") else text


def read_proxy(value: Any) -> str | None:
    text = "" if value is None else _word(value)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if text and not (url.scheme in ("http", "https") and url.host):
        # Never quote the value: a proxy's URL may hold a password.
        raise OxenSettingsError("The extra proxy must be a URL such as http://proxy.example:3128.")
    return text or None
