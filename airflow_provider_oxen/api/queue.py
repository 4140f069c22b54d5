"""The calls of the queue and the history: paid work that is submitted now and fetched later.

Both path layouts share these paths.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
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
"""Rows of a history page: the most that the hub returns."""

_LONG = 4
"""Slack of the lists: with thousands of rows they take megabytes."""

_QUEUE = "/api/ai/queue"
_HISTORY = "/api/ai/generations"


def enqueue(request: GenerateRequest) -> Call[list[Generation]]:
    """POST a request to the queue. Costs money when accepted; answers at once, with the ids.

    The queue answers only with links, so ``response_format`` is left out.
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
    """GET a generation's row in the queue, which stays after the generation has ended. Free.

    A finished row has a link. For an id that the hub does not know, sending this call raises
    :class:`~.errors.OxenGenerationNotFound`.
    """
    return _about(generation_id, "ask for a generation", _QUEUE, Generation.model_validate)


def cancel(generation_id: str) -> Call[None]:
    """DELETE a generation; one that has ended stays as it is."""
    return replace(_about(generation_id, "cancel a generation", _QUEUE, lambda data: None), method="DELETE")


def get_history(generation_id: str) -> Call[Generation]:
    """GET a generation's row in the history, the only one with the cost. Free."""
    return _about(generation_id, "ask for a generation's cost", _HISTORY, Generation.model_validate)


def list_queue(namespace: str | None = None) -> Call[list[Generation]]:
    """GET all queued and running generations at once. Free; needs a valid key.

    :param namespace: whose queue; None for the key's own user.
    """
    return Call(
        name="list the queue",
        paths=dict.fromkeys(LAYOUTS, _QUEUE),
        parse=readable,
        many=MAX_VALUES,
        params={"namespace": namespace} if namespace else None,
        slack=_LONG,
    )


def list_history(namespace: str | None = None, page: int = 1) -> Call[HistoryPage]:
    """GET a page of the history, newest first. Free.

    :param page: from 1.
    """
    wanted = {"namespace": namespace, "page": str(page), "page_size": str(PAGE_SIZE)}
    return Call(
        name="list the history",
        paths=dict.fromkeys(LAYOUTS, _HISTORY),
        parse=HistoryPage.model_validate,
        many=MAX_VALUES,
        params={name: value for name, value in wanted.items() if value},
        slack=_LONG,
    )


def location(base_url: str, generation_id: str, *, queued: bool = True) -> str:
    """Return the address at which a generation can be followed; it needs the key.

    :param queued: whether the generation is in the queue; others are only in the history.
    """
    return f"{base_url}{_QUEUE if queued else _HISTORY}/{quote(generation_id, safe='')}"


def _about(generation_id: str, name: str, base: str, parse: Callable[[Any], T]) -> Call[T]:
    return Call(
        name=name,
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
