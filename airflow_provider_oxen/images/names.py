"""The names of a task's files. Pure: a path and an identity in, names out."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.images.media import SUFFIXES

__all__ = ["default_stem", "is_plain", "locate", "numbered", "split"]

_UNSAFE = r"[\x00-\x1f\x7f\ud800-\udfff]"
"""Control characters, and halves of surrogate pairs, which no file system can write."""

_MAX_BYTES = 180
"""Longest user's name in bytes, so that with our additions it stays under the 255 that file systems allow."""


def split(storage_path: str, stem: str) -> tuple[str, str]:
    """Return a path's folder and the first image's name without its suffix, which follows the bytes.

    A path that ends in ``/`` is a folder; any other path is the file itself.

    :param storage_path: as rendered; a template's value in it must not lead out of the folder.
    :param stem: the name to use in a folder.
    :raises OxenInvalidRequest: if the path is relative, climbs (``..``) or names no file.
    """
    folder, name = locate(storage_path, "storage_path")
    if not name:
        return folder, stem
    base, dot, suffix = name.rpartition(".")
    if dot and f".{suffix.lower()}" in SUFFIXES:
        name = base
    if not is_plain(name) or len(name.encode()) > _MAX_BYTES:
        raise OxenInvalidRequest(
            f"storage_path {storage_path!r} must end in a file name of 1 to {_MAX_BYTES} bytes that does not "
            "start with '.', or in '/'."
        )
    return folder, name


def locate(path: str, argument: str) -> tuple[str, str]:
    """Return folder and file name of an absolute path or URL; an empty name if it ends in ``/``.

    :param argument: the user's argument that holds the path.
    :raises OxenInvalidRequest: if the path is relative or climbs, or a URL names no bucket.
    """

    def bad(problem: str) -> OxenInvalidRequest:
        return OxenInvalidRequest(f"{argument} {path!r} {problem}")

    if re.search(_UNSAFE, path):
        raise bad("holds a control character.")
    try:
        parts = urlsplit(path)
    except ValueError as error:
        raise bad(f"is not a URL: {error}.") from None
    home = re.sub("^file:(//)?", "", path)
    if home.startswith("~"):
        raise bad(
            "begins with '~', which is another folder for each user and worker: write the full path, such as "
            f"{os.path.expanduser(home)!r} on this one."
        )
    bucket = parts.netloc.rpartition("@")[2]
    local = parts.scheme in ("", "file", "local")
    if bool(bucket) is local or (local and not parts.path.startswith("/")) or path.startswith(" "):
        raise bad(
            "must be an absolute path, or a URL such as s3://bucket/folder/ that names a bucket: a relative "
            "path would mean another place on every worker."
        )
    if "?" in path or "#" in path:
        raise bad("must not hold '?' or '#'.")
    steps = re.split(r"[/\\]", parts.path)
    if ".." in steps or "." in steps:
        raise bad("must not contain '.' or '..' as a folder.")
    if not parts.path:
        raise bad("names a bucket only: end it with '/' to use it as a folder.")
    folder, _, name = (parts.path if local else path).rpartition("/")
    return folder or "/", name


def default_stem(task_id: str, key: str) -> str:
    """Return the name for a folder: the task's id, for people, and its identity, to be unique there."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", task_id).strip("-")[:80] or "image"
    return f"{readable}-{key[:16]}"


def numbered(stem: str, index: int, separator: str = "-") -> str:
    """Return the stem of the ``index``-th image of an answer, counted from 1.

    :param separator: stands before the number.
    """
    return stem if index == 1 else f"{stem}{separator}{index}"


def is_plain(name: str) -> bool:
    """Return whether a name is a single file of the folder; it may come from anywhere."""
    return not re.search(rf"^$|^\.|[/\\]|{_UNSAFE}", name)
