"""Download one image to one path, for people who write their own tasks."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from pydantic import ValidationError

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenImageError,
    OxenInvalidRequest,
    OxenStorageError,
)
from airflow_provider_oxen.api.keyless import names_with_key, refuse_key
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.images import fetch, fetched, names, verify
from airflow_provider_oxen.images.media import ImageFacts
from airflow_provider_oxen.images.paths import as_text
from airflow_provider_oxen.images.storage import Folder, open_folder

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

__all__ = ["to_path"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_NAMES = 10
"""How many names are tried if others are taken."""


def to_path(
    client: Client,
    image: ImageItem | Mapping[str, Any],
    path: str | os.PathLike[str] | ObjectStoragePath,
    *,
    overwrite: bool,
    storage_options: Mapping[str, Any] | None = None,
    max_bytes: int = fetch.MAX_BYTES,
) -> dict[str, Any]:
    """Fetch, prove and write; see :meth:`airflow_provider_oxen.hooks.oxen.OxenHook.download`.

    :raises OxenInvalidRequest: if the image has neither link nor bytes, or the path names no file.
    """
    try:
        item = image if isinstance(image, ImageItem) else ImageItem.model_validate(image)
    except ValidationError:
        # Do not show its text: it quotes the input, and so the link.
        raise OxenInvalidRequest(
            "The image to download must be one item of an answer's images, such as {'url': …}."
        ) from None
    if not item.url and not item.b64_json:
        raise OxenInvalidRequest("The image to download has neither url nor b64_json.")
    target = as_text("path", path)
    if not isinstance(target, str):
        raise OxenInvalidRequest(f"The path must be a text or a path object, not {type(path).__name__}.")
    named = {"path": target, "storage_options": storage_options}
    refuse_key(names_with_key(named, client.settings.api_key))
    if "://" not in target:
        target = os.path.abspath(target) + ("/" if target.endswith("/") else "")
    parent, name = names.locate(target, "path")
    if not name:
        raise OxenInvalidRequest(f"The path {target!r} names a folder; name the file.")
    folder = open_folder(parent, None, storage_options)
    if not overwrite and _exists(folder, name):
        raise OxenStorageError(
            f"{folder.asset_uri(name)} is there already; pass overwrite=True to replace it."
        )
    got, facts = _fetch_and_prove(client, item, max_bytes)
    try:
        if isinstance(facts, OxenBadImage):
            rejected = _create(folder, f"{name}.rejected", fetched.without_key(client.settings.api_key, got))
            facts.advise(f"The bytes are kept as {folder.asset_uri(rejected)}.")
            raise facts
        if overwrite:
            _write(folder, name, got, folder.put)
        else:
            name = _create(folder, name, got)
    finally:
        got.close()
    return {"path": folder.uri(name), **facts.record()}


def _fetch_and_prove(
    client: Client, item: ImageItem, max_bytes: int
) -> tuple[fetched.Fetched, ImageFacts | OxenBadImage]:
    """Return the bytes; ask again, with growing pauses, while the image may only not be there yet."""
    last_sha256, pauses = None, iter(retries.NOT_YET)
    while True:
        got, pause = None, next(pauses, None)
        try:
            got = fetched.from_item(lambda link: fetch.from_url(client, link, max_bytes), item)
            return got, verify.judge(got, last_sha256 if pause is None else None)
        except OxenImageError as error:
            if pause is None or not error.not_yet:
                if got and isinstance(error, OxenBadImage):
                    return got, error
                raise
        if got:
            last_sha256 = got.sha256
            got.close()
        log.warning("The image is not there yet. Asking for it again in %.0f s.", pause)
        unsuspended(client.pause(pause))


def _exists(folder: Folder, name: str) -> bool:
    try:
        return folder.size(name) is not None
    except Exception as error:
        raise OxenStorageError(
            f"What is at {folder.asset_uri(name)} could not be read: {describe_error(error)}"
        ) from None


def _create(folder: Folder, name: str, got: fetched.Fetched) -> str:
    """Write a new file, or one beside a file that has appeared; return its name. Overwrites nothing.

    :raises OxenStorageError: if the file cannot be written.
    """
    base, suffix = os.path.splitext(name)
    # The name holds the bytes' hash, so that a file of this name usually has the same content.
    own = f"{base}-{got.sha256[:16]}"
    for one in (name, f"{own}{suffix}", *(f"{own}-{number}{suffix}" for number in range(2, _NAMES))):
        if _write(folder, one, got, folder.create):
            if one != name:
                log.warning("%s is taken; the image goes to %s.", *map(folder.asset_uri, (name, one)))
            return one
    raise OxenStorageError(f"{folder.asset_uri(name)} and {_NAMES - 1} names like it are taken.")


def _write(folder: Folder, name: str, got: fetched.Fetched, write: Callable[[str, BinaryIO, str], T]) -> T:
    writer_id = f"download.{secrets.token_hex(8)}"
    try:
        folder.check()
        folder.prove(writer_id)
        return write(name, got.file, writer_id)
    except Exception as error:
        raise OxenStorageError(f"{folder.asset_uri(name)}: {describe_error(error)}") from None
