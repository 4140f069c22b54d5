"""Which certificates are trusted: one TLS context for each setting in a process."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import httpx

from airflow_provider_oxen.api.errors import OxenSettingsError

__all__ = ["governing", "ssl_context"]

_PUBLIC = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that replace the public root certificates; the first that is set counts."""

_KEYS = "SSLKEYLOGFILE"
"""Environment variable for the file that receives the secrets of connections, for analysis."""


def ssl_context(verify: bool | str) -> ssl.SSLContext:
    """Return the process's SSL context for a ``verify`` setting; loading the CA bundle takes about 20 ms.

    :raises OxenSettingsError: if the CA bundle, or the environment's replacement for it, cannot be read.
    """
    return _context(verify, *(os.environ.get(name) or "" for name in (*_PUBLIC, _KEYS)))


def governing(verify: bool | str) -> str | None:
    """Return, in words, what decides which certificates are trusted; None for the public roots."""
    if verify is not True:
        return f"the connection's extra verify ({verify})"
    name = next((name for name in _PUBLIC if os.environ.get(name)), None)
    return name and f"the environment variable {name} ({os.environ[name]})"


@lru_cache(maxsize=16)
def _context(verify: bool | str, file: str, folder: str, keys: str) -> ssl.SSLContext:
    if keys:
        _probe(keys)
    what = f"The CA bundle {verify!r}, which the connection's extra verify names,"
    path, is_folder = str(verify), os.path.isdir(str(verify))
    if verify is True:
        if not (file or folder):
            what, path = "The bundle of public certificates of the package certifi", ""
        else:
            what = f"The environment variable {_PUBLIC[0] if file else _PUBLIC[1]} ({file or folder})"
            path, is_folder = file or folder, not file
    try:
        if not path:
            return httpx.create_ssl_context()
        if is_folder:
            # Python does not report a missing folder; every certificate would then be wrong.
            os.listdir(path)
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        raise OxenSettingsError(f"{what} cannot be read: {error}.") from None


def _probe(path: str) -> None:
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise OxenSettingsError(
            f"The environment variable {_KEYS} ({path}) names a file that cannot be written: "
            f"{error.strerror}."
        ) from None
