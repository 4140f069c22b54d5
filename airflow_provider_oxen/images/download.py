"""One image to one path, for people who write their own tasks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenBadImage, OxenInvalidRequest, OxenStorageError
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import fetch, names, verify
from airflow_provider_oxen.images.storage import Folder, open_folder

__all__ = ["to_path"]


def to_path(
    client: Client,
    image: ImageItem | Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    overwrite: bool,
    max_bytes: int = fetch.MAX_BYTES,
) -> dict[str, Any]:
    """Fetch, prove and write; see :meth:`airflow_provider_oxen.hooks.oxen.OxenHook.download`.

    :raises OxenInvalidRequest: where the image has neither link nor bytes, or the path names no file.
    """
    try:
        item = image if isinstance(image, ImageItem) else ImageItem.model_validate(image)
    except ValidationError:
        # Its text is left out: it quotes the input, and so the link.
        raise OxenInvalidRequest(
            "The image to download must be one item of an answer's images, such as {'url': …}."
        ) from None
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
    if item.b64_json:
        got = fetch.from_base64(item.b64_json)
    else:
        got = fetch.from_url(client, str(item.url), max_bytes)
    try:
        seen = verify.prove(got.file)
        _put(folder, name, got)
    except OxenBadImage as error:
        rejected = f"{name}.rejected"
        _put(folder, rejected, got)
        error.message += f" It was paid for, so they are kept as {folder.asset_uri(rejected)}."
        raise
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


def _put(folder: Folder, name: str, got: fetch.Fetched) -> None:
    try:
        folder.check()
        folder.put(name, got.file, f"download.{secrets.token_hex(8)}")
    except Exception as error:
        raise OxenStorageError(f"{folder.asset_uri(name)} could not be written: {error}") from error
