"""The bytes of a result, downloaded from its link or decoded from base64 text."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urljoin

from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.redact import LONG_KEY
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images.received import decode

__all__ = ["Download", "Fetched", "absolute", "from_base64", "from_bytes", "from_item", "without_key"]

_PAGE = 16 * 1024 * 1024
"""Largest page, in bytes, that is searched for the key."""


@dataclass
class Fetched:
    """The bytes of one result.

    :ivar file: seekable, at its beginning; an unlinked temporary file, or memory for base64.
    :ivar size: in bytes.
    :ivar sha256: hexadecimal.
    :ivar linked: whether they came from a link, which may return other bytes later.
    :ivar doubt: which checksum does not match, as a clause.
    :ivar content_type: from the header; empty if there was none, None if the bytes came without headers.
    """

    file: BinaryIO
    size: int
    sha256: str
    linked: bool = False
    doubt: str | None = None
    content_type: str | None = None

    def close(self) -> None:
        """Release the bytes."""
        self.file.close()


Download = Callable[[str], Fetched]
"""Fetches what a link leads to. It may block, and raises an :class:`~.errors.OxenImageError` if it fails."""


def from_item(download: Download, item: ImageItem) -> Fetched:
    """Return the bytes of an answer's image: from its base64 text or, if that is broken, from its link.

    :param download: such as :func:`from_url` of a client.
    :raises OxenImageError: as :func:`from_base64` and :func:`from_url` do.
    """
    if item.b64_json:
        try:
            return from_base64(item.b64_json)
        except OxenBadImage:
            if not item.url:
                raise
    return download(str(item.url))


def from_base64(text: str) -> Fetched:
    """Decode base64 text of any usual dialect. The text is already here, so its size is not limited.

    :raises OxenBadImage: if it is not base64.
    """
    try:
        return from_bytes(decode(text))
    except ValueError as error:
        raise OxenBadImage(f"The image's base64 text is broken: {error}.", reason=str(error)) from None


def without_key(api_key: str | None, got: Fetched) -> Fetched:
    """Return bytes that are no image without the key: a page served in place of an image may quote it."""
    key = (api_key or "").encode()
    if len(key) < LONG_KEY or got.size > _PAGE:
        return got
    got.file.seek(0)
    content = got.file.read()
    got.file.seek(0)
    return from_bytes(content.replace(key, b"***")) if key in content else got


def from_bytes(data: bytes) -> Fetched:
    """Return bytes that are already here."""
    return Fetched(io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())


def absolute(settings: Settings, url: str) -> str:
    """Return an absolute link; a link without an origin belongs to the hub."""
    try:
        return urljoin(f"{settings.base_url}/", url) if (url := url.strip()) else url
    except ValueError:
        return url
