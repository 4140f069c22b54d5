"""Where the hub is and how to talk to it: the checked fields of an Airflow connection.

Pure: it takes plain values, so that the same rules apply to the hook, async code and tests.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from airflow_provider_oxen.api import extras
from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.redact import redact, register_key

__all__ = ["DEFAULT_HOST", "EXTRAS", "Settings", "is_loopback", "origin"]

DEFAULT_HOST = "https://hub.oxen.ai"

EXTRAS = (
    "api_layout",
    "target_namespace",
    "timeout",
    "max_retries",
    "verify",
    "proxy",
    "allow_http",
    "allow_private_links",
)
"""The extra fields that a connection may have; no others are allowed."""

_NAMED = 20
"""How many names a message shows."""


@dataclass(frozen=True)
class Settings:
    """A connection to the hub.

    :ivar base_url: scheme, host and port, without a path.
    :ivar api_key: sent only to the origin of ``base_url``. Without a key (None) only the catalogue works.
    :ivar timeout: seconds to wait for an answer. Known clients allow 300; images take 5 to 30.
    :ivar connect_timeout: seconds to wait for a connection.
    :ivar max_retries: how often a request that may be sent again is sent again.
    :ivar verify: True, or the path of a CA bundle.
    :ivar allow_private_links: whether images may be fetched from addresses that are not public.
    :ivar guessed: whether ``https://`` was assumed because the connection names no scheme.
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
    allow_private_links: bool = False
    guessed: bool = field(default=False, compare=False)

    def need_key(self) -> None:
        """Make sure that there is a key; only the catalogue works without one.

        :raises OxenSettingsError: if the password is empty.
        """
        if self.api_key is None:
            raise OxenSettingsError(
                f"The Oxen connection to {self.base_url} has no password.",
                remedy="Put the API key into its password field.",
            )

    def __post_init__(self) -> None:
        register_key(self.api_key)

    def redact(self, text: str) -> str:
        """Return a foreign text without the key, in case the hub or a proxy quotes it."""
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
        """Read an Airflow connection's fields. Empty and null fields count as unset.

        :param extra: the extra fields, or the JSON text that Airflow could not parse.
        :raises OxenSettingsError: naming the field, its value and what is allowed. Never shows the key.
        """
        for name, value in (("host", host), ("password", password), ("schema", schema)):
            if not isinstance(value, str | None):
                raise OxenSettingsError(f"The Oxen connection's {name} must be text.")
        if not isinstance(port, int | None) or isinstance(port, bool) or not 0 <= (port or 0) < 2**16:
            raise OxenSettingsError("The Oxen connection's port must be a number from 1 to 65535.")
        # Do this before any message quotes a field that may also hold the key.
        register_key((password or "").strip())
        given = {name: value for name, value in _extra(extra).items() if value not in (None, "")}
        unknown = sorted(redact(str(name))[: extras.MAX_SHOWN] for name in set(given) - set(EXTRAS))
        if unknown:
            raise OxenSettingsError(
                f"Unknown extra field(s) {', '.join(map(repr, unknown[:_NAMED]))} in the Oxen connection; "
                f"known are {', '.join(EXTRAS)}."
            )
        allow_http = extras.read_boolean("allow_http", given.get("allow_http", False))
        _check_schema(schema)
        return cls(
            base_url=_base_url(host, schema, port, allow_http),
            api_key=_key(password),
            api_layout=extras.read_layout(given.get("api_layout", "auto")),
            target_namespace=extras.read_text("target_namespace", given.get("target_namespace")),
            timeout=extras.read_number("timeout", given.get("timeout", 300), least=1),
            max_retries=int(
                extras.read_number("max_retries", given.get("max_retries", 3), least=0, whole=True)
            ),
            verify=extras.read_verify(given.get("verify", True)),
            proxy=extras.read_proxy(given.get("proxy")),
            allow_http=allow_http,
            allow_private_links=extras.read_boolean(
                "allow_private_links", given.get("allow_private_links", False)
            ),
            guessed=bool((host or "").strip()) and "://" not in (host or "") and not _scheme(schema),
        )


def _check_schema(schema: str | None) -> None:
    """Refuse a schema that is not one: in a connection URI, it is what follows the host."""
    if (schema or "").strip().lower() not in ("", "http", "https", "oxen"):
        # Do not quote it: it may be the key.
        raise OxenSettingsError(
            "The Oxen connection's schema must be http, https or empty. In a connection URI, the part "
            "after the host is the schema: write oxen://:KEY@hub.oxen.ai, or "
            "oxen://:KEY@127.0.0.1:8750/http, and no URL of the hub unless it is percent-encoded "
            "(oxen://:KEY@https%3A%2F%2Fhub.oxen.ai). As JSON, the host is such a URL."
        )


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL, with the scheme's default port written out."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether the host is certainly this machine, so that the key may go there unencrypted.

    Checks the address and ``localhost``, without DNS; :func:`.addresses.is_here` knows more names.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _extra(value: object) -> Mapping[str, Any]:
    try:
        fields = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        fields = value or None
    if fields is not None and not isinstance(fields, Mapping):
        raise OxenSettingsError("The Oxen connection's extra must be a JSON object.")
    return fields or {}


def _base_url(host: str | None, schema: str | None, port: int | None, allow_http: bool) -> str:
    text = (host or "").strip() or DEFAULT_HOST
    if "://" not in text:
        text = f"{_scheme(schema) or 'https'}://{text}"
    try:
        parts = urlsplit(text)
        in_url, hostname = parts.port, parts.hostname
        httpx.URL(text)
    except (ValueError, httpx.InvalidURL):
        # Do not quote it: a misplaced key may stand where the port should be.
        raise OxenSettingsError(f"The Oxen connection's host must be a URL such as {DEFAULT_HOST}.") from None
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


def _scheme(schema: str | None) -> str | None:
    scheme = (schema or "").strip().lower()
    return scheme if scheme in ("http", "https") else None


def _key(password: str | None) -> str | None:
    key = (password or "").strip()
    # An HTTP library that refuses a header quotes it in its error. So refuse it here, without quoting it.
    if key and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise OxenSettingsError(
            "The Oxen connection's password holds a space, a line break or a character outside ASCII; "
            "an API key has none."
        )
    return key or None
