"""Check whether a body can come from the arguments: a record is untrusted and is compared with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.catalogue.values import UNSET, exact_number, pixels
from airflow_provider_oxen.jobs.request import canonical

__all__ = ["is_other_job", "is_same", "misfits"]

_NOT_HELD = frozenset({"response_format", "target_namespace", "target_repo", "target_directory"})
"""Fields of the body that do not identify the request: they may have changed since, or stand beside the
body."""

_DERIVED = ("seed", "target_directory")
"""Fields that identify a job; unless the user has set them, they are derived from its identity."""


def misfits(asked: Mapping[str, Any], body: Mapping[str, Any], identity: str) -> list[str]:
    """Return the parts of a body that cannot come from the arguments, in words for a message.

    The model's schema is not available here: whatever any schema may make of an argument is accepted.

    :param asked: the request as the user made it.
    :param identity: key of the task instance.
    """
    body = _of_size(asked, body)
    try:
        found = [
            name for name, value in asked.items() if name not in _NOT_HELD and not _fits(value, body, name)
        ]
        further = body.keys() - asked.keys() - _NOT_HELD - {"seed"}
        seed = body.get("seed", 0)
    except RecursionError:
        return ["a value of many levels"]
    if "seed" not in asked and (not isinstance(seed, int) or isinstance(seed, bool)):
        found.append("seed")
    directory = body.get("target_directory")
    if directory is not None and not str(directory).startswith(f"airflow/{identity}"):
        found.append("target_directory")
    # Do not show the names: whoever altered the record may have written anything.
    return [*found, *(["a further parameter"] if further else [])]


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two bodies ask for the same image, and identify the same job."""
    other = _of_size(one, other)
    one = _of_size(other, one)
    held = [
        {name: value for name, value in body.items() if name not in ("response_format", "target_namespace")}
        for body in (one, other)
    ]
    return _text(held[0]) == _text(held[1])


def is_other_job(body: Mapping[str, Any], anew: Mapping[str, Any]) -> bool:
    """Return whether a body's derived fields differ from those that were derived again for it."""
    return any(
        body.get(name) is not None and anew.get(name) is not None and body[name] != anew[name]
        for name in _DERIVED
    )


def _of_size(asked: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body with its size in pixels in the form in which it was asked for."""
    size = pixels(asked.get("image_size"))
    if size is None or asked.get("image_size") == body.get("image_size"):
        return body
    as_asked = {"image_size": asked["image_size"]}
    if "image_size" in body:
        return {**body, **as_asked} if pixels(body["image_size"]) == size else body
    beside = {name: value for name, value in body.items() if name in size}
    if beside != size or not asked.keys().isdisjoint(size):
        return body
    return {**{name: value for name, value in body.items() if name not in size}, **as_asked}


def _fits(asked: Any, body: Mapping[str, Any], name: str) -> bool:
    if name not in body:
        return isinstance(asked, str) and asked.strip() in UNSET
    sent = _text(body[name])
    if _text(asked) == sent:
        return True
    if not isinstance(asked, str):
        return False
    # A template renders to text, which becomes the type in the schema.
    text = asked.strip()
    number, truth = exact_number(text), {"true": True, "false": False}.get(text.lower())
    may_be = [text, *([] if number is None else [number]), *([] if truth is None else [truth])]
    return sent in map(_text, may_be)


def _text(value: Any) -> str:
    return json.dumps(canonical(value), sort_keys=True)
