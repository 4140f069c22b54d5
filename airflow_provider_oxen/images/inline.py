"""Results that go into XCom themselves: links, or proved bytes as base64 text."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any, Literal

from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import fetched, verify

__all__ = ["WARN_BYTES", "records"]

log = logging.getLogger(__name__)

WARN_BYTES = 1024 * 1024
"""Size of an XCom in bytes from which a warning is logged: XCom is stored in Airflow's database."""


def records(
    settings: Settings,
    download: fetched.Download,
    items: Sequence[ImageItem],
    response_format: Literal["url", "b64_json"],
    same: str | None = None,
) -> list[dict[str, Any]]:
    """Return the images for XCom, in the requested format.

    A link is passed on unchanged, and nothing is fetched. If the hub answered with links although text was
    requested, they are fetched and encoded. If it answered with text, the text stays.

    :param same: as in :func:`.verify.judge`.
    :raises OxenImageError: if bytes cannot be fetched or proved.
    """
    found = [
        {"url": fetched.absolute(settings, item.url)}
        if response_format == "url" and item.url
        else _encoded(download, item, same)
        for item in items
    ]
    size = sum(len(record.get("b64_json", "")) for record in found)
    if size > WARN_BYTES:
        log.warning(
            "The base64 text of %d image(s) takes %.1f MiB of XCom, in Airflow's database. Set storage_path "
            "to keep files instead.",
            len(found),
            size / 1024 / 1024,
        )
    return found


def _encoded(download: fetched.Download, item: ImageItem, same: str | None) -> dict[str, Any]:
    got = fetched.from_item(download, item)
    try:
        seen = verify.judge(got, same)
        # Encode it in the usual dialect, whatever the hub's is.
        text = base64.b64encode(got.file.read()).decode()
    finally:
        got.close()
    return {"b64_json": text, **seen.record()}
