"""Warnings about a file's path, before anything is spent. Pure: values in, texts out."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.images.media import SUFFIXES, USUAL

__all__ = ["path_warnings"]

_DATE = re.compile(r"[0-9]{4}[-_/.]?[0-9]{2}[-_/.]?[0-9]{2}")
"""What usually tells one run's path from another's."""

_FORMATS = ("output_format", "format")
"""What models call the parameter for the image's format."""


def path_warnings(
    storage_path: str | None,
    parameters: Mapping[str, Any],
    schema: Mapping[str, Any] | None,
    *,
    run_id: str,
    overwrite: bool,
) -> Iterator[str]:
    """Yield a warning for each possible surprise in the path; none for a folder.

    :param schema: the model's request schema, None if it is not known.
    """
    name = PurePosixPath(storage_path or "").name if storage_path and not storage_path.endswith("/") else ""
    if not storage_path or not name:
        return
    what = f"storage_path {without_queries(repr(storage_path))}"
    if not (overwrite or run_id in storage_path or _DATE.search(storage_path)):
        yield (
            f"{what} is one file: a later run that asks for something else finds it "
            "taken and fails. For a file each run, end it with '/', or put {{ run_id }} into it."
        )
    suffix = _of_an_image(name)
    coming = _coming(parameters, schema)
    if suffix and suffix not in SUFFIXES:
        yield (
            f"{what} ends in {suffix!r}, which no image here has: its own suffix is "
            f"added, as in {name + (coming or '.png')!r}. Leave {suffix!r} out."
        )
    elif suffix and coming and coming != USUAL[suffix]:
        stem = name[: -len(suffix)]
        yield (
            f"{what} ends in {suffix!r}, and the model gives {coming[1:]!r}: the file "
            f"will be {stem + coming!r}. Set the model's output format in model_params, or change the suffix."
        )


def _of_an_image(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    kind, _ = mimetypes.guess_type(f"a{suffix}", strict=False)
    return suffix if suffix in SUFFIXES or (kind or "").startswith("image/") else ""


def _coming(parameters: Mapping[str, Any], schema: Mapping[str, Any] | None) -> str | None:
    """Return the suffix that the bytes will have, if request and schema say so."""
    listed = (schema or {}).get("properties")
    for name in _FORMATS:
        rules = listed.get(name) if isinstance(listed, Mapping) else None
        value = parameters.get(name, rules.get("default") if isinstance(rules, Mapping) else None)
        if isinstance(value, str) and (suffix := USUAL.get(f".{value}".lower())):
            return suffix
    return None
