"""One image to one path, for people who write their own tasks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenStorageError
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import fetch, names, verify
from airflow_provider_oxen.images.storage import open_folder

__all__ = ["to_path"]


def to_path(
    client: Client, image: ImageItem | Mapping[str, Any], path: str | os.PathLike[str], *, overwrite: bool
) -> dict[str, Any]:
    """Fetch, prove and write; see :meth:`airflow_provider_oxen.hooks.oxen.OxenHook.download`.

    :raises OxenInvalidRequest: where the image has neither link nor bytes, or the path names no file.
    """
    item = image if isinstance(image, ImageItem) else ImageItem.model_validate(image)
    if not item.url and not item.b64_json:
        raise OxenInvalidRequest("The image to download has neither url nor b64_json.")
    target = os.fspath(path)
    if "://" not in target:
        target = os.path.abspath(target) + ("/" if target.endswith("/") else "")
    parent, name = names.locate(target, "path")
    if not name:
        raise OxenInvalidRequest(f"The path {target!r} names a folder; name the file.")
    folder = open_folder(parent, None)
    if not overwrite and folder.size(name) is not None:
        raise OxenStorageError(
            f"{folder.asset_uri(name)} is there already; pass overwrite=True to replace it."
        )
    got = fetch.from_base64(item.b64_json) if item.b64_json else fetch.from_url(client, str(item.url))
    try:
        seen = verify.prove(got.file)
        try:
            folder.check()
            folder.put(name, got.file, f"download.{secrets.token_hex(8)}")
        except Exception as error:
            raise OxenStorageError(f"{folder.asset_uri(name)} could not be written: {error}") from error
    finally:
        got.close()
    return {
        "path": folder.uri(name),
        "media_type": seen.media_type,
        "width": seen.width,
        "height": seen.height,
        "bytes": got.size,
        "sha256": got.sha256,
    }
