"""The hub's stream of events: it is opened, and what it tells of ended generations is read.

The stream has neither replay nor ids: what ends while nobody listens is told in the history only.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from airflow_provider_oxen.api import answers
from airflow_provider_oxen.api.calls import LAYOUTS, Call
from airflow_provider_oxen.api.client import AsyncClient, bearer
from airflow_provider_oxen.api.errors import OxenServerError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.quiet import quietly
from airflow_provider_oxen.api.sse import Message, Parser

__all__ = ["SILENCE", "EventStream", "events", "read_message"]

SILENCE = 45.0
"""Seconds without a byte after which a stream counts as lost: the hub sends a line every 15."""

_ENDED = "media_generation_completed"
_MOST = 64 * 1024
"""Bytes of an answer that is no stream which are read, for the reason in it."""

_CALL: Call[None] = Call(
    name="listen to the events",
    method="GET",
    paths=dict.fromkeys(LAYOUTS, "/api/events"),
    parse=lambda data: None,
)


def read_message(message: Message) -> Generation | None:
    """Return the generation whose end is told, as far as the stream tells of it; None for anything else.

    It has no times, no cost and perhaps no model; its link is as short-lived a key as any.
    """
    if message.event != _ENDED:
        return None
    try:
        return Generation.model_validate(json.loads(message.data))
    except (ValueError, RecursionError):
        # One odd event must not cost those that follow it.
        return None


class EventStream:
    """The generations that end, as the hub tells of them; it ends with the connection.

    :raises OxenServerError: where the connection is lost, or nothing came for :data:`SILENCE`.
    """

    def __init__(self, client: AsyncClient, response: httpx.Response) -> None:
        self._client = client
        self._pieces = response.aiter_bytes()
        self._parser = Parser()
        self._read: deque[Generation] = deque()

    def __aiter__(self) -> AsyncIterator[Generation]:
        return self

    async def __anext__(self) -> Generation:
        while not self._read:
            for message in self._parse(await self._piece()):
                generation = read_message(message)
                if generation is not None:
                    self._read.append(generation)
        return self._read.popleft()

    async def _piece(self) -> bytes:
        try:
            with quietly():
                return await anext(self._pieces)
        except httpx.RequestError as error:
            raise answers.from_transport(error, _CALL, self._client.settings) from None

    def _parse(self, piece: bytes) -> list[Message]:
        try:
            return self._parser.feed(piece)
        except ValueError as error:
            raise OxenServerError(
                f"The stream of events of {self._client.settings.base_url} cannot be read: {error}."
            ) from None


@asynccontextmanager
async def events(client: AsyncClient) -> AsyncIterator[EventStream]:
    """Open the stream of events. Free; it needs a right key, which goes to the hub's own origin only.

    Whatever ends after it was opened is told in it. It is opened once: when to try again is the caller's.

    :raises OxenError: the class that says why there is no stream.
    """
    settings = client.settings
    request = client.http.build_request(
        "GET",
        f"{settings.base_url}{_CALL.paths['ai']}",
        headers={**bearer(settings.api_key), "Accept": "text/event-stream", "Cache-Control": "no-store"},
        timeout=httpx.Timeout(SILENCE, connect=settings.connect_timeout),
    )
    try:
        with quietly():
            response = await client.http.send(request, stream=True)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise answers.from_transport(error, _CALL, settings) from None
    try:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != 200 or kind != "text/event-stream":
            await _refuse(client, response, kind)
        yield EventStream(client, response)
    finally:
        with quietly():
            await response.aclose()


async def _refuse(client: AsyncClient, response: httpx.Response, kind: str) -> None:
    """:raises OxenError: always."""
    body = b""
    try:
        with quietly():
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MOST:
                    break
    except httpx.RequestError as error:
        raise answers.from_transport(error, _CALL, client.settings) from None
    headers = [item for item in response.headers.multi_items() if item[0] != "content-encoding"]
    whole = httpx.Response(response.status_code, headers=headers, content=body[:_MOST])
    whole.next_request = response.next_request
    answers.read(whole, _CALL, client.settings)
    raise OxenServerError(
        f"{client.settings.base_url} answered the request to {_CALL.name} with something else "
        f"({kind or 'no content type'}).",
        status=response.status_code,
    )
