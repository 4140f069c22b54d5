"""The ``<name>.json`` beside each image: enough to reproduce it, to recognise it, and to commit it.

It is written after the image. The first image's sidecar is written last of all and stands for the
whole answer: where it is, everything is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from pydantic_core import to_json

from airflow_provider_oxen.api.errors import OxenOutputExists
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.images.names import is_plain
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.images.verify import SUFFIXES

__all__ = ["FORMAT", "dump", "find", "is_free", "job_of", "made_by", "name_of", "parts_of", "public"]

FORMAT = "airflow-provider-oxen/1"

_FACTS = {"file": str, "media_type": str, "width": int, "height": int, "bytes": int, "sha256": str}
"""What an image's sidecar tells at least."""

_AGAIN = "Nothing was spent. Set overwrite=True to have it generated, and paid for, once more."


def name_of(stem: str) -> str:
    """Return the sidecar's name."""
    return f"{stem}.json"


def dump(record: Mapping[str, Any]) -> bytes:
    """Return the sidecar's content, without the query of any URL in it."""
    # Of json.dumps only what does not indent is fast, and a batch has thousands.
    return to_json(public({"format": FORMAT, **record}), indent=2) + b"\n"


def public(value: Any) -> Any:
    """Return a JSON value without the query of any URL in it: that may be a signature."""
    if isinstance(value, Mapping):
        return {name: public(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return without_queries(value) if isinstance(value, str) else value


def is_free(folder: Folder, stem: str, ours: Collection[str] = (), identity: str = "") -> bool:
    """Whether the place holds neither a sidecar nor an image of anybody else.

    :param ours: names of images that this very job wrote when an earlier try was stopped.
    :param identity: of the task, which its sidecars tell.
    """
    record = _read(folder, stem)
    if record is not None and not _is_of(record, ours, identity):
        return False
    return _image_beside(folder, stem, ours) is None


def parts_of(folder: Folder, stem: str) -> tuple[list[str], list[str]]:
    """Return the stems and the file names of an output's images, as far as its sidecars tell."""
    first = _read(folder, stem) or {}
    stems = first["stems"] if _are_stems(first.get("stems")) else [stem]
    files = first.get("files") if first.get("replacing") else None
    if not _are_stems(files):
        files = [(_read(folder, name) or {}).get("file") for name in stems]
    return stems, [name for name in files if isinstance(name, str)]


def made_by(folder: Folder, stem: str) -> tuple[str, int | str]:
    """Return the identity and the clearing that finished a place's output; an empty identity for none."""
    record = _read(folder, stem) or {}
    identity, clearing = record.get("identity"), record.get("clearing")
    if record.get("replacing") or not isinstance(identity, str) or not isinstance(clearing, int | str):
        return "", 0
    return identity, clearing


def job_of(folder: Folder, stem: str) -> tuple[str, str]:
    """Return the identity and the mark of the job whose finished output a place holds, or empty ones."""
    record = _read(folder, stem) or {}
    if record.get("replacing"):
        return "", ""
    return str(record.get("identity", "")), str(record.get("job", ""))


def find(
    folder: Folder,
    stem: str,
    fingerprint: str,
    *,
    overwrite: bool,
    ours: Collection[str] = (),
    identity: str = "",
) -> list[dict[str, Any]] | None:
    """Return the finished output that a place holds, a record an image, or None where it is free.

    :param fingerprint: of the request; an output of another one is not ours to take or to replace.
    :param overwrite: take a finished output of any request as if the place were free.
    :param ours: names of images that this very job wrote when an earlier try was stopped.
    :param identity: of the task, which its sidecars tell.
    :raises OxenOutputExists: naming the file, where the place holds something else.
    :raises OSError: where the store cannot tell.
    """
    where = folder.asset_uri(name_of(stem))
    first = _read(folder, stem)
    if first is None:
        image = _image_beside(folder, stem, ours)
        if image is not None:
            raise OxenOutputExists(
                f"{folder.asset_uri(image)} is there already, without the sidecar that would say what it is. "
                "It is not touched and nothing was spent: move it away, or choose another storage_path."
            )
        return None
    if "format" not in first:
        raise OxenOutputExists(
            f"{where} is there already and is not a sidecar of this package. It is not touched and nothing "
            "was spent: move it away, or choose another storage_path."
        )
    if overwrite or (_is_of(first, ours, identity) and not _is_whole(first)):
        return None
    if first.get("fingerprint") != fingerprint:
        raise OxenOutputExists(
            f"{where} describes the image of another request (model {first.get('model')!r}, run "
            f"{first.get('run_id')!r}). Nothing was spent. Choose another storage_path, for example with "
            "{{ ds }} in it, or set overwrite=True to replace it."
        )
    return [_checked(folder, name, fingerprint) for name in _stems(first, stem, where)]


def _stems(first: Mapping[str, Any], stem: str, where: str) -> list[str]:
    stems = first.get("stems")
    if first.get("replacing") or stems is None:
        return [stem]
    if not _are_stems(stems):
        raise OxenOutputExists(f"{where} is damaged: it does not name its images. {_AGAIN}")
    if not _is_whole(first):
        raise OxenOutputExists(
            f"{where} names {len(stems)} kept of {first.get('images')} paid images: the others could not be "
            f"kept. {_AGAIN}"
        )
    return stems


def _is_of(record: Mapping[str, Any], ours: Collection[str], identity: str) -> bool:
    """Whether a sidecar is one of this job's own; another task may have taken a name that we had claimed."""
    return record.get("file") in ours and record.get("identity") == identity


def _is_whole(first: Mapping[str, Any]) -> bool:
    """Whether the first image's sidecar tells of as many kept images as were paid for."""
    stems = first.get("stems")
    return not isinstance(stems, list) or len(stems) == first.get("images")


def _are_stems(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and value != [] and all(isinstance(x, str) and is_plain(x) for x in value)


def _checked(folder: Folder, stem: str, fingerprint: str) -> dict[str, Any]:
    """Return an image's record, having made sure that the image is there."""
    where = folder.asset_uri(name_of(stem))
    record = _read(folder, stem)
    if not record or record.get("replacing"):
        raise OxenOutputExists(f"{where} is missing or unfinished: an earlier try was stopped. {_AGAIN}")
    wrong = [name for name, kind in _FACTS.items() if not isinstance(record.get(name), kind)]
    if wrong or not is_plain(record["file"]):
        raise OxenOutputExists(f"{where} is damaged: look at {', '.join(wrong) or 'file'}. {_AGAIN}")
    if record.get("fingerprint") != fingerprint:
        raise OxenOutputExists(f"{where} describes by now the image of another request. {_AGAIN}")
    size = folder.size(record["file"])
    if size != record["bytes"]:
        found = "is gone" if size is None else f"has {size} bytes instead of {record['bytes']}"
        raise OxenOutputExists(f"{where} is there, but its image {record['file']} {found}. {_AGAIN}")
    return record


def _read(folder: Folder, stem: str) -> dict[str, Any] | None:
    """Return the sidecar, {} where the file is something else, None where there is none."""
    raw = folder.read(name_of(stem))
    if raw is None:
        return None
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}


def _image_beside(folder: Folder, stem: str, ours: Collection[str]) -> str | None:
    names = (f"{stem}{suffix}" for suffix in sorted(SUFFIXES))
    return next((name for name in names if name not in ours and folder.size(name) is not None), None)
