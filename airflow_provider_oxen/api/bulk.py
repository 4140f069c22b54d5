"""Read answers of many megabytes, up to a limit and off the event loop.

A queue of 10,000 jobs is a list of nine megabytes. Read the usual way, it would block every other trigger of
the process for most of a tenth of a second, and create objects that nobody needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from airflow_provider_oxen.api import answers, body, queue
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.statuses import DOCUMENTED, ENDED, normalize_status

__all__ = ["BulkClient", "TooLong", "list_unfinished"]

T = TypeVar("T")

_SMALL = 64 * 1024
"""Bytes up to which an answer is read on the event loop: passing it to a thread would take longer."""


class TooLong(Exception):
    """The answer is longer than the limit."""


class BulkClient(AsyncClient):
    """An async client for long answers to calls that cost nothing.

    Retries and errors are those of its base class.

    :raises TooLong: if an answer exceeds the limit; the rest of it is not fetched.
    """

    async def _fetch(self, request: httpx.Request) -> httpx.Response:
        response = await super()._fetch(request)
        problem = body.problem_of(response)
        if problem and problem.is_length and response.is_success:
            longest = body.MAX_FREE_BYTES // 2**20
            raise TooLong(f"The answer is longer than {longest} MB, the most that is read.")
        return response

    async def _parsed(self, response: httpx.Response, call: Call[T]) -> T:
        if len(response.content) <= _SMALL:
            return self._parse(response, call)
        return await asyncio.to_thread(self._parse, response, call)

    def _parse(self, response: httpx.Response, call: Call[T]) -> T:
        if call.read and response.is_success and not body.problem_of(response):
            with contextlib.suppress(ValueError):
                result: T = call.read(response.content)
                return result
        return answers.read(response, call, self.settings)


def list_unfinished(namespace: str | None = None) -> Call[frozenset[str]]:
    """GET the ids of all queued and running generations. Free; needs a valid key.

    :param namespace: whose queue; None for the key's own user.
    """
    call = queue.list_queue(namespace)

    def parse(data: Any) -> frozenset[str]:
        return frozenset(row.generation_id for row in call.parse(data) if row.status not in ENDED)

    return Call(**{**vars(call), "parse": parse, "read": _unfinished})


class _Row(TypedDict):
    generation_id: str
    status: str


class _Listing(TypedDict, total=False):
    generations: list[_Row]
    error: Any


# Takes half the time of json.loads and makes a twentieth of its objects: fields not named here are skipped.
_listing = TypeAdapter(_Listing)


def _unfinished(content: bytes) -> frozenset[str]:
    listing = _listing.validate_json(content)
    if listing.get("error") or "generations" not in listing:
        raise ValueError("an error, or no list")
    statuses = {row["generation_id"]: normalize_status(row["status"]) for row in listing["generations"]}
    if not DOCUMENTED.issuperset(statuses.values()):
        raise ValueError("a status of its own, beside which a link may stand")
    return frozenset(id for id, status in statuses.items() if status not in ENDED)
