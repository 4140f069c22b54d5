"""Bring a row of the queue, the history or the stream into the documented format. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.api.items import link_of
from airflow_provider_oxen.api.redact import MAX_LINE_INPUT, redact, redacted_line, without_queries
from airflow_provider_oxen.api.statuses import RUNNING, is_documented_failure, normalize_status

__all__ = ["id_of", "ids_of", "is_id", "list_of", "message_text", "normalize_row", "unwrapped"]

_IS_ID = re.compile(r"[\w.:-]{1,200}", re.ASCII)
_FIT = re.compile(r"[^\s/?#%\\\x00-\x1f\x7f\ud800-\udfff]{1,200}")
"""The form of an id: it becomes part of a path, and of a record."""

_IDS = ("generation_id", "id", "generationId")
_WRAPPERS = ("generation", "data", "job", "result", "generations")
_LISTS = ("generations", "data", "items", "results")
_RESULTS = ("result_url", "url", "result", "output", "outputs", "output_url", "result_urls")
_ID_LISTS = ("generation_ids", "ids")
_MESSAGES = (
    "detail", "message", "title", "msg", "reason", "error_message", "error", "errors", "description", "type",
    "code",
)  # fmt: skip

_GREAT = 10**100
"""Integers below this may be ids, or a message."""

_DEEPEST = 6
_LONGEST = 2000
"""Characters kept of a message: it may quote a prompt, or a page."""

_MANY = 100
"""How many items of a list are read for a message."""


def normalize_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the hub's documentation describes it.

    A link on a row with an unknown status is worth fetching. So is a link beside a failure that is not
    reported in the hub's own word: "expired" may be said of a result.
    """
    row = dict(unwrapped(row))
    if id := id_of(row):
        row["generation_id"] = id
    elif redact(str(row.get("generation_id"))) != str(row.get("generation_id")):
        # A real id never contains the key.
        del row["generation_id"]
    state = row.get("status", row.get("state"))
    status, link = normalize_status(state), _take_link(row)
    if link and status not in RUNNING and not is_documented_failure(state):
        status = "succeeded"
    message = next(
        filter(None, (message_text(row.pop(key, None)) for key in ("error_message", "error"))), None
    )
    if status == "failed" and not message and not is_documented_failure(state):
        message = f"the hub calls it {redacted_line(str(state))!r}"
    return row | {"status": status, "result_url": link, "error_message": message}


def is_id(value: Any) -> bool:
    """Return whether a value can be the id of a generation."""
    return isinstance(value, str) and _FIT.fullmatch(value) is not None


def id_of(row: Any) -> str | None:
    """Return the id of a row, or of an answer."""
    if not isinstance(row, Mapping):
        return None
    for key in _IDS:
        value = row.get(key)
        if isinstance(value, str) and _IS_ID.fullmatch(value.strip()) and redact(value) == value:
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool) and -_GREAT < value < _GREAT:
            return str(value)
    return None


def unwrapped(data: Any) -> Any:
    """Return the row inside an answer about one generation."""
    for _ in range(_DEEPEST):
        if not isinstance(data, Mapping) or "generation_id" in data:
            break
        inside = next((data[key] for key in _WRAPPERS if _is_row(data.get(key))), None)
        inside = inside[0] if isinstance(inside, list) else inside
        is_row = id_of(data) is not None and ("status" in data or "state" in data)
        if inside is None or (is_row and "generation_id" not in inside):
            # The object inside a row is its result, and may have its own id.
            break
        data = inside
    return data


def list_of(data: Any) -> list[Any] | None:
    """Return the list of rows inside an answer, or None if there is none."""
    for depth in range(_DEEPEST):
        if isinstance(data, list):
            # Nobody knows what a bare empty list is a list of.
            return data if data or depth else None
        if not isinstance(data, Mapping):
            break
        data = next((data[key] for key in _LISTS if isinstance(data.get(key), list | Mapping)), None)
    return None


def ids_of(answer: Any) -> list[str]:
    """Return the ids in the answer to an enqueue. An empty list of generations names none."""
    listed = list_of(answer)
    if listed is None and isinstance(answer, Mapping):
        listed = next((answer[key] for key in _ID_LISTS if isinstance(answer.get(key), list)), None)
    if listed is None:
        ids = [id_of(unwrapped(answer))]
    else:
        ids = [id_of({"id": row} if isinstance(row, str | int) else unwrapped(row)) for row in listed]
    return list(dict.fromkeys(filter(None, ids)))


def message_text(value: Any, depth: int = 0) -> str | None:
    """Return a message as redacted text, whatever its JSON type; None if it says nothing."""
    if value is None or isinstance(value, bool) or depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        said = next(filter(None, (message_text(value.get(key), depth + 1) for key in _MESSAGES)), None)
        text = said or (_as_json(value) if value else "")
    elif isinstance(value, list | tuple):
        text = "; ".join(filter(None, (message_text(item, depth + 1) for item in value[:_MANY])))
    else:
        text = str(value) if not isinstance(value, int) or -_GREAT < value < _GREAT else ""
    # Redact before cutting: half a key is half a secret.
    return without_queries(text, MAX_LINE_INPUT).strip()[:_LONGEST] or None


def _take_link(row: dict[str, Any]) -> str | None:
    """Take the link to the result out of a row.

    ``images`` counts only if it holds objects: a list of links echoes the request's input images.
    """
    found = None
    for key in _RESULTS:
        link = link_of(row.get(key))
        if link:
            found = found or link
            del row[key]
    images = row.get("images")
    objects = [item for item in images if isinstance(item, Mapping)] if isinstance(images, list) else []
    if link := link_of(objects):
        found = found or link
        del row["images"]
    return found


def _is_row(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], Mapping) and id_of(value[0]) is not None
    return isinstance(value, Mapping) and any(key in value for key in (*_IDS, *_WRAPPERS, "status"))


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return ""
