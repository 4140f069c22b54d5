"""The calls of the queue and the history: paid work that is submitted now and fetched later.

Both path layouts share these paths.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from airflow_provider_oxen.api import rows
from airflow_provider_oxen.api.calls import LAYOUTS, Call
from airflow_provider_oxen.api.jsontext import MAX_VALUES
from airflow_provider_oxen.api.models import GenerateRequest, Generation, HistoryPage, readable

__all__ = [
    "PAGE_SIZE",
    "cancel",
    "enqueue",
    "get_generation",
    "get_history",
    "list_history",
    "list_queue",
    "location",
]

T = TypeVar("T")

PAGE_SIZE = 1000
"""Rows of a history page: the most that the hub gives."""

_LONG = 4
"""Slack of the lists: of thousands of rows they are megabytes."""

_QUEUE = "/api/ai/queue"
_HISTORY = "/api/ai/generations"


def enqueue(request: GenerateRequest) -> Call[list[Generation]]:
    """POST a request into the queue. Costs money when accepted; answers at once, with the ids.

    The queue answers links only, so ``response_format`` is left out.
    """
    body = request.body()
    body.pop("response_format", None)
    return Call(
        name="queue an image",
        method="POST",
        paths=dict.fromkeys(LAYOUTS, _QUEUE),
        parse=_submitted,
        body=body,
        paid=True,
        model=request.model,
        slack=2,
    )


def get_generation(generation_id: str) -> Call[Generation]:
    """GET a generation's row of the queue, which stays after its end. Free.

    A finished one has a link. An id that the hub does not know raises
    :class:`~.errors.OxenGenerationNotFound`.
    """
    return _about(generation_id, "ask for a generation", "GET", _QUEUE, _row)


def cancel(generation_id: str) -> Call[None]:
    """DELETE a generation; one that has ended stays as it is."""
    return _about(generation_id, "cancel a generation", "DELETE", _QUEUE, lambda data: None)


def get_history(generation_id: str) -> Call[Generation]:
    """GET a generation's row of the history: the only one that tells the cost. Free."""
    return _about(generation_id, "ask for a generation's cost", "GET", _HISTORY, _row)


def list_queue(namespace: str | None = None) -> Call[list[Generation]]:
    """GET what is queued and running, all at once. Free, and it needs a right key.

    :param namespace: whose; None for the key's own user.
    """
    return Call(
        name="list the queue",
        method="GET",
        paths=dict.fromkeys(LAYOUTS, _QUEUE),
        parse=readable,
        many=MAX_VALUES,
        params={"namespace": namespace} if namespace else None,
        slack=_LONG,
    )


def list_history(namespace: str | None = None, page: int = 1, model: str | None = None) -> Call[HistoryPage]:
    """GET a page of the history, newest first. Free.

    :param page: from 1.
    """
    wanted = {"namespace": namespace, "model": model, "page": str(page), "page_size": str(PAGE_SIZE)}
    return Call(
        name="list the history",
        method="GET",
        paths=dict.fromkeys(LAYOUTS, _HISTORY),
        parse=HistoryPage.model_validate,
        many=MAX_VALUES,
        params={name: value for name, value in wanted.items() if value},
        slack=_LONG,
    )


def location(base_url: str, generation_id: str, *, queued: bool = True) -> str:
    """Return the link that a generation can be followed by; it needs the key.

    :param queued: whether it is one of the queue: others are in the history only.
    """
    return f"{base_url}{_QUEUE if queued else _HISTORY}/{quote(generation_id, safe='')}"


def _about(
    generation_id: str, name: str, method: Literal["GET", "DELETE"], base: str, parse: Callable[[Any], T]
) -> Call[T]:
    return Call(
        name=name,
        method=method,
        paths=dict.fromkeys(LAYOUTS, f"{base}/{quote(generation_id, safe='')}"),
        parse=parse,
        generation=generation_id,
    )


def _submitted(data: Any) -> list[Generation]:
    with contextlib.suppress(ValueError):
        if found := readable(data):
            return found
    found = [Generation(generation_id=id) for id in rows.ids_of(data)]
    if not found:
        raise ValueError("the answer names no generation")
    return found


def _row(data: Any) -> Generation:
    return Generation.model_validate(data)
