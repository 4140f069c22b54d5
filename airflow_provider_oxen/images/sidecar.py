"""The ``<name>.json`` beside each image: enough to reproduce, recognise and commit the image.

It is written after the image. The first image's sidecar is written last of all and stands for the whole
answer: if it exists, everything exists.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from pydantic_core import to_json

from airflow_provider_oxen.api.errors import OxenOutputDamaged, OxenOutputExists
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.api.redact import describe_error, redacted_line, without_queries
from airflow_provider_oxen.images.folder import UnreadableFile
from airflow_provider_oxen.images.media import FACTS, SUFFIXES
from airflow_provider_oxen.images.names import is_plain
from airflow_provider_oxen.images.storage import Folder

__all__ = ["FORMAT", "dump", "find", "is_free", "job_of", "made_by", "name_of", "parts_of", "read"]

FORMAT = "airflow-provider-oxen/1"

_FACTS = {"file": str, **FACTS}
"""The fields that every image's sidecar must have."""

_OPTIONAL_FACTS = {"model": str, "seed": int, "generation_id": str, "preview": str}
"""Further fields that are passed on; nonsense values are left out. Other code reads the rest."""

_MAX_INTEGER = 2**64
"""Upper limit of integers that are passed on: no process of Airflow accepts larger ones."""

_MAX_IMAGE_BYTES = 4 * 1024**3
"""Largest image, in bytes, that is read and compared: a sparse file can be as large as one likes."""

_MAX_TEXT_BYTES = 64 * 1024
"""Longest text, in bytes, that is passed on; a preview has about 16 KiB."""

_MAX_IMAGES = 1_000
"""Most images of one output."""

_HINT = "Set overwrite=True to generate it, and pay for it, again."


_FROM_THE_HUB = ("model", "generation_id", "revised_prompt", "rejected")
"""Fields that come from the hub or a library. All others are the user's own words or ours: changed in any
letter, they would no longer reproduce the image."""


def name_of(stem: str) -> str:
    """Return the sidecar's name."""
    return f"{stem}.json"


def dump(record: Mapping[str, Any]) -> bytes:
    """Return the sidecar's content: the exact request, and the hub's texts without signed URLs."""
    asked = record.get("request") or {}
    said = {
        name: without_queries(value)
        for name in _FROM_THE_HUB
        if isinstance(value := record.get(name), str) and value != asked.get(name)
    }
    # json.dumps is slow when it indents, and a batch has thousands of sidecars.
    return to_json({"format": FORMAT, **record, **said}, indent=2) + b"\n"


def is_free(folder: Folder, stem: str, own_files: Collection[str] = (), identity: str = "") -> bool:
    """Return whether the place holds neither a sidecar nor an image of anybody else.

    :param own_files: names of images that this very job wrote before an earlier try was stopped.
    :param identity: the task's identity, as in its sidecars.
    """
    record = _read(folder, stem)
    if record is not None and not _is_of(record, own_files, identity):
        return False
    return _image_beside(folder, stem, own_files) is None


def read(folder: Folder, stem: str) -> dict[str, Any]:
    """Return the content of a place's sidecar; empty if there is none, or something else.

    :raises OSError: if the store cannot tell.
    """
    return _read(folder, stem) or {}


def parts_of(folder: Folder, stem: str) -> tuple[list[str], list[str]]:
    """Return the stems and the file names of an output's images, as far as its sidecars name them."""
    first = read(folder, stem)
    stems = first["stems"] if _are_stems(first.get("stems")) else [stem]
    files = first.get("files") if first.get("replacing") else None
    if not _are_stems(files):
        files = [read(folder, name).get("file") for name in stems]
    return stems, [name for name in files if isinstance(name, str)]


def made_by(folder: Folder, stem: str) -> tuple[str, int | str, int | None]:
    """Return the identity, the clearing and the run's clear number of the job that finished an output.

    The identity is empty if there is none.
    """
    record = read(folder, stem)
    identity, clearing = record.get("identity"), record.get("clearing")
    if record.get("replacing") or not isinstance(identity, str) or not isinstance(clearing, int | str):
        return "", 0, None
    number = record.get("clear_number")
    return identity, clearing, number if isinstance(number, int) else None


def job_of(folder: Folder, stem: str) -> tuple[str, str]:
    """Return the identity and the name of the job whose finished output a place holds, or empty texts."""
    record = read(folder, stem)
    unfinished = record.get("replacing")
    return ("", "") if unfinished else (str(record.get("identity", "")), str(record.get("job", "")))


def find(
    folder: Folder,
    stem: str,
    fingerprint: str,
    *,
    overwrite: bool,
    own_files: Collection[str] = (),
    identity: str = "",
) -> list[dict[str, Any]] | None:
    """Return the finished output of a place, one record for each image, or None if the place is free.

    :param fingerprint: fingerprint of the request; an output with another one is neither taken nor replaced.
    :param overwrite: treat a finished output of any request as if the place were free.
    :param own_files: names of images that this very job wrote before an earlier try was stopped.
    :param identity: the task's identity, as in its sidecars.
    :raises OxenOutputExists: naming the file, if the place holds something else.
    :raises OSError: if the store cannot tell.
    """
    where = folder.asset_uri(name_of(stem))
    first = _read(folder, stem)
    if first is None:
        image = _image_beside(folder, stem, own_files)
        if image is not None:
            raise OxenOutputExists(
                f"{folder.asset_uri(image)} is there already, without the sidecar that would say what it is. "
                "It is not touched.",
                remedy="Move it away, or choose another storage_path.",
            )
        return None
    if "format" not in first:
        raise OxenOutputDamaged(
            f"{where} is there already and is not a sidecar of this package. It is not touched.",
            remedy="Move it away, or choose another storage_path.",
        )
    if overwrite or (_is_of(first, own_files, identity) and not _is_whole(first)):
        return None
    if first.get("fingerprint") != fingerprint:
        raise OxenOutputExists(
            f"{where} describes the image of another request ({_writer_of(first)}).",
            remedy="Choose another storage_path, for example with {{ run_id }} in it, or set "
            "overwrite=True to replace it.",
        )
    return [_checked(folder, name, fingerprint) for name in _stems(first, stem, where)]


def _writer_of(first: Mapping[str, Any]) -> str:
    """Return who wrote a sidecar, as far as it says so: two tasks with one file find each other by it."""
    names = {"Dag": "dag_id", "task": "task_id", "run": "run_id", "model": "model"}
    said = ((name, redacted_line(first.get(fact), 100)) for name, fact in names.items())
    return ", ".join(f"{name} {value!r}" for name, value in said if value) or "its sidecar does not say whose"


def _stems(first: Mapping[str, Any], stem: str, where: str) -> list[str]:
    stems = first.get("stems")
    if first.get("replacing") or stems is None:
        return [stem]
    if not _are_stems(stems):
        raise OxenOutputDamaged(f"{where} is damaged: it does not name its images.", remedy=_HINT)
    if not _is_whole(first):
        raise OxenOutputDamaged(
            f"{where} names {len(stems)} kept of {first.get('images')} paid images: the others could not be "
            "kept.",
            remedy=_HINT,
        )
    return stems


def _is_of(record: Mapping[str, Any], own_files: Collection[str], identity: str) -> bool:
    """Return whether a sidecar is this job's own; another task may have taken a name that it had claimed."""
    return record.get("file") in own_files and record.get("identity") == identity


def _is_whole(first: Mapping[str, Any]) -> bool:
    """Return whether the first image's sidecar names as many kept images as were paid for."""
    stems = first.get("stems")
    return not isinstance(stems, list) or len(stems) == first.get("images")


def _are_stems(value: Any) -> TypeGuard[list[str]]:
    """Return whether a value names images, each once: every name costs a read."""
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MAX_IMAGES
        and all(isinstance(x, str) and is_plain(x) for x in value)
        and len(set(value)) == len(value)
    )


def _checked(folder: Folder, stem: str, fingerprint: str) -> dict[str, Any]:
    """Return an image's record, after checking that the image is there."""
    where = folder.asset_uri(name_of(stem))
    record = _read(folder, stem)
    if not record or record.get("replacing"):
        raise OxenOutputDamaged(
            f"{where} is missing or unfinished: an earlier try was stopped.", remedy=_HINT
        )
    wrong = [name for name, kind in _FACTS.items() if not _is_valid(record.get(name), kind)]
    if wrong or not is_plain(record["file"]):
        raise OxenOutputDamaged(f"{where} is damaged: look at {', '.join(wrong) or 'file'}.", remedy=_HINT)
    if record.get("fingerprint") != fingerprint:
        raise OxenOutputExists(f"{where} describes the image of another request now.", remedy=_HINT)
    if found := _difference(folder, record):
        raise OxenOutputDamaged(f"{where} is there, but its image {record['file']} {found}.", remedy=_HINT)
    odd = [name for name, kind in _OPTIONAL_FACTS.items() if not _is_valid(record.get(name), kind)]
    return {name: value for name, value in record.items() if name not in odd}


def _difference(folder: Folder, record: Mapping[str, Any]) -> str | None:
    """Return, as a clause, how an image differs from what its sidecar says; None if it does not."""
    name, expected = record["file"], record["bytes"]
    size = folder.size(name)
    if size is None:
        return "is gone"
    if size != expected:
        return f"has {size} bytes instead of {expected}"
    if size > _MAX_IMAGE_BYTES:
        return f"has {size:,} bytes, and is not read"
    try:
        digest = folder.sha256(name, size)
    except (FileNotFoundError, UnreadableFile) as error:
        return f"cannot be read: {describe_error(error)}"
    return (
        None if digest == record["sha256"] else "has other bytes: its sha256 is not the one that was written"
    )


def _is_valid(value: Any, kind: type) -> bool:
    """Return whether a value of a sidecar has a type, and may be passed on."""
    if kind is int:
        return type(value) is int and 0 <= value < _MAX_INTEGER
    return isinstance(value, kind) and len(str(value).encode(errors="replace")) < _MAX_TEXT_BYTES


def _read(folder: Folder, stem: str) -> dict[str, Any] | None:
    """Return the sidecar, {} if the file is something else, None if there is none."""
    try:
        raw = folder.read(name_of(stem))
    except UnreadableFile:
        return {}
    if raw is None:
        return None
    try:
        record = loads(raw)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}


def _image_beside(folder: Folder, stem: str, own_files: Collection[str]) -> str | None:
    names = (f"{stem}{suffix}" for suffix in sorted(SUFFIXES))
    return next((name for name in names if name not in own_files and folder.size(name) is not None), None)
