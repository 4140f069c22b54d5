"""Bytes of a result that are here: from its link, or decoded from base64 text."""

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
"""Bytes of the largest page that is looked through for the key."""


@dataclass
class Fetched:
    """The bytes of one result.

    :ivar file: seekable, at its beginning; an unlinked temporary file, or memory for base64.
    :ivar size: in bytes.
    :ivar sha256: hexadecimal.
    :ivar linked: whether they came from a link, which may give others another time.
    :ivar doubt: which checksum does not fit them, as a clause.
    :ivar content_type: as the header says; empty where there was none, None where they came without headers.
    """

    file: BinaryIO
    size: int
    sha256: str
    linked: bool = False
    doubt: str | None = None
    content_type: str | None = None

    def close(self) -> None:
        """Let the bytes go."""
        self.file.close()


Download = Callable[[str], Fetched]
"""Gives what a link leads to; it may block, and raises an :class:`~.errors.OxenImageError` where it fails."""


def from_item(download: Download, item: ImageItem) -> Fetched:
    """Return the bytes of an answer's image: of its text or, where that is broken, of the link beside it.

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
    """Decode base64 text of any usual dialect. It has come already, so its size is no reason to refuse it.

    :raises OxenBadImage: where it is not base64.
    """
    try:
        return from_bytes(decode(text))
    except ValueError as error:
        raise OxenBadImage(f"The image's base64 text is broken: {error}.", reason=str(error)) from None


def without_key(api_key: str | None, got: Fetched) -> Fetched:
    """Return what is no image without the key, which a page may quote that came in an image's place."""
    key = (api_key or "").encode()
    if len(key) < LONG_KEY or got.size > _PAGE:
        return got
    got.file.seek(0)
    content = got.file.read()
    got.file.seek(0)
    return from_bytes(content.replace(key, b"***")) if key in content else got


def from_bytes(data: bytes) -> Fetched:
    """Return bytes that are here already."""
    return Fetched(io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())


def absolute(settings: Settings, url: str) -> str:
    """Return a link as it is meant: one without an origin is the hub's own."""
    try:
        return urljoin(f"{settings.base_url}/", url) if (url := url.strip()) else url
    except ValueError:
        return url
