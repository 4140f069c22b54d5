"""Encrypt links in a record if no row of the hub can give them again.

The link of a synchronous answer cannot be requested again, so the next try must find it in the record. But
Airflow shows a task's record to everybody who may see the task, and its supervisor prints it at debug level.
So the link is encrypted with Airflow's own library for that, with a key derived from the connection's.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.redact import describe_error

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

__all__ = ["SEALED", "seal", "unseal"]

log = logging.getLogger(__name__)

SEALED = "sealed"
"""Name of a record's item with an encrypted link; earlier versions wrote it unencrypted, as ``url``."""


def seal(link: str, key: str | None) -> dict[str, Any]:
    """Return a record's item for a link. Raises nothing, since the image is paid for.

    :param key: the connection's key; without one, the link is not encrypted.
    """
    try:
        return {SEALED: _fernet(key).encrypt(link.encode()).decode()} if key else {"url": link}
    except Exception as error:
        log.warning(
            "The link to the image is recorded in plain text: it could not be encrypted (%s).",
            describe_error(error),
        )
        return {"url": link}


def unseal(item: Mapping[str, Any], key: str | None) -> str | None:
    """Return the link in a record's item; None if there is none, or another key encrypted it."""
    sealed = item.get(SEALED)
    if not (sealed and key):
        return item.get("url")
    from cryptography.fernet import InvalidToken

    try:
        return _fernet(key).decrypt(str(sealed).encode(errors="replace")).decode()
    except InvalidToken:
        return None


# A batch seals a link for each row.
@lru_cache(maxsize=4)
def _fernet(key: str) -> Fernet:
    from cryptography.fernet import Fernet

    digest = hashlib.sha256(f"airflow-provider-oxen/link/1:{key}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
