"""Where the hub is and how to talk to it: an Airflow connection, read and checked.

Pure: it takes plain values, so that the same rules hold for the hook, async code and tests.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import httpx

from airflow_provider_oxen.api.errors import OxenSettingsError

__all__ = ["DEFAULT_HOST", "EXTRAS", "Settings", "is_loopback", "origin"]

DEFAULT_HOST = "https://hub.oxen.ai"

EXTRAS = ("api_layout", "target_namespace", "timeout", "max_retries", "verify", "proxy", "allow_http")
"""The extra fields a connection may have, and no other."""

_LAYOUTS = ("auto", "classic", "ai")


@dataclass(frozen=True)
class Settings:
    """A connection to the hub.

    :ivar base_url: scheme, host and port, without a path.
    :ivar api_key: sent to ``base_url``'s origin and nowhere else; None works for the catalogue only.
    :ivar timeout: seconds to wait for an answer; clients are known to allow 300, images take 5 to 30.
    :ivar connect_timeout: seconds to wait for a connection.
    :ivar max_retries: how often a request that may be sent again is sent again.
    :ivar verify: True, or the path of a CA bundle.
    """

    base_url: str = DEFAULT_HOST
    api_key: str | None = field(default=None, repr=False)
    api_layout: Literal["auto", "classic", "ai"] = "auto"
    target_namespace: str | None = None
    timeout: float = 300.0
    connect_timeout: float = 10.0
    max_retries: int = 3
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    allow_http: bool = False

    def hide(self, text: str) -> str:
        """Return a text that came from elsewhere without the key, in case the hub or a proxy quotes it."""
        return text.replace(self.api_key, "***") if self.api_key else text

    @classmethod
    def from_fields(
        cls,
        *,
        host: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: object = None,
    ) -> Settings:
        """Read an Airflow connection's fields; empty and null ones count as unset.

        :param extra: the extra fields, or the JSON text that Airflow could make nothing of.
        :raises OxenSettingsError: naming the field, what it holds and what is allowed. Never the key.
        """
        given = {name: value for name, value in _extra(extra).items() if value not in (None, "")}
        unknown = sorted(set(given) - set(EXTRAS))
        if unknown:
            raise OxenSettingsError(
                f"Unknown extra field(s) {', '.join(map(repr, unknown))} in the Oxen connection; "
                f"known are {', '.join(EXTRAS)}."
            )
        allow_http = _boolean("allow_http", given.get("allow_http", False))
        return cls(
            base_url=_base_url(host, schema, port, allow_http),
            api_key=_key(password),
            api_layout=_layout(given.get("api_layout", "auto")),
            target_namespace=_text("target_namespace", given.get("target_namespace")),
            timeout=_number("timeout", given.get("timeout", 300), least=1),
            max_retries=int(_number("max_retries", given.get("max_retries", 3), least=0, whole=True)),
            verify=_verify(given.get("verify", True)),
            proxy=_proxy(given.get("proxy")),
            allow_http=allow_http,
        )


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL, with the scheme's own port spelled out."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether the host names this machine (by address or as ``localhost``), without asking DNS."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _extra(value: object) -> Mapping[str, Any]:
    try:
        fields = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        fields = value or None
    if fields is not None and not isinstance(fields, Mapping):
        raise OxenSettingsError("The Oxen connection's extra must be a JSON object, and is none.")
    return fields or {}


def _base_url(host: str | None, schema: str | None, port: int | None, allow_http: bool) -> str:
    text = (host or "").strip() or DEFAULT_HOST
    if "://" not in text:
        scheme = (schema or "").strip().lower()
        text = f"{scheme if scheme in ('http', 'https') else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        in_url, hostname = parts.port, parts.hostname
        httpx.URL(text)
    except (ValueError, httpx.InvalidURL):
        # Its text is left out: it may quote what stands where the port should be, such as a misplaced key.
        raise OxenSettingsError(
            f"The Oxen connection's host must be a URL such as {DEFAULT_HOST}, and is none."
        ) from None
    if parts.scheme not in ("http", "https") or not hostname:
        raise OxenSettingsError(
            f"The Oxen connection's host must be a URL such as {DEFAULT_HOST}, not one with the scheme "
            f"{parts.scheme!r} and the host {hostname!r}."
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise OxenSettingsError(
            "The Oxen connection's host must hold no user, query or fragment; the key goes into the password."
        )
    if parts.path.strip("/"):
        raise OxenSettingsError(
            f"The Oxen connection's host must hold no path, but holds {parts.path!r}: give {DEFAULT_HOST}, "
            "the package adds the paths."
        )
    if parts.scheme == "http" and not (allow_http or is_loopback(hostname)):
        raise OxenSettingsError(
            f"http://{hostname} would carry the key unencrypted. Use https://, or set the extra allow_http "
            "to true if you mean it."
        )
    number = in_url or port
    name = f"[{hostname}]" if ":" in hostname else hostname
    return f"{parts.scheme}://{name}:{number}" if number else f"{parts.scheme}://{name}"


def _key(password: str | None) -> str | None:
    key = (password or "").strip()
    # An HTTP library that refuses a header quotes it in its error: so it is refused here, unquoted.
    if key and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise OxenSettingsError(
            "The Oxen connection's password holds a space, a line break or a character outside ASCII; "
            "an API key has none."
        )
    return key or None


def _layout(value: Any) -> Literal["auto", "classic", "ai"]:
    if value not in _LAYOUTS:
        raise OxenSettingsError(f"The extra api_layout must be one of {', '.join(_LAYOUTS)}, not {value!r}.")
    return cast(Literal["auto", "classic", "ai"], value)


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise OxenSettingsError(f"The extra {name} must be a text, not {value!r}.")
    return value.strip() or None if value else None


def _boolean(name: str, value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        raise OxenSettingsError(f"The extra {name} must be true or false, not {value!r}.")
    return found


def _number(name: str, value: Any, *, least: int, whole: bool = False) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool) or not least <= number <= 86400 or (whole and number != int(number)):
        raise OxenSettingsError(f"The extra {name} must be {kind} from {least} to 86400, not {value!r}.")
    return number


def _verify(value: Any) -> bool | str:
    text = str(value).strip()
    if text.lower() == "false":
        raise OxenSettingsError(
            "The extra verify must be true or the path of a CA bundle: without the check anybody on the way "
            "could read the key."
        )
    return True if text.lower() in ("true", "") else text


def _proxy(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if text and not (url.scheme in ("http", "https") and url.host):
        # The value is never quoted: a proxy's URL may hold a password.
        raise OxenSettingsError("The extra proxy must be a URL such as http://proxy.example:3128.")
    return text or None
