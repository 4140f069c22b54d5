"""Open the hub's stream of events, and read the ended generations from it.

The stream has neither replay nor ids: only the history shows what ended while nobody listened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx

from airflow_provider_oxen.api import answers
from airflow_provider_oxen.api.body import read_response
from airflow_provider_oxen.api.calls import LAYOUTS, Call
from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.errors import OxenServerError
from airflow_provider_oxen.api.http_logs import suppress_http_logs
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.api.sending import bearer
from airflow_provider_oxen.api.sse import Message, Parser

__all__ = ["SILENCE", "events", "read_message"]

SILENCE = 45.0
"""Seconds without a line after which a stream counts as lost; the hub sends one every 15."""

LIFETIME = 3600.0
"""Seconds after which a stream ends in any case; the listener opens another."""

_ENDED = "media_generation_completed"
_MOST = 1024 * 1024
"""Bytes read of an answer that is not a stream, to find the reason in it."""

_CALL: Call[None] = Call(
    name="listen to the events",
    paths=dict.fromkeys(LAYOUTS, "/api/events"),
    parse=lambda data: None,
)


def read_message(message: Message) -> Generation | None:
    """Return the generation whose end a message reports, with what the stream knows; None for other messages.

    It has no times, no cost and perhaps no model. Its link is as short-lived as any other, and gives access.
    """
    if message.event != _ENDED:
        return None
    try:
        return Generation.model_validate(loads(message.data))
    except ValueError:
        # One odd event must not stop those that follow it.
        return None


async def _ended(client: AsyncClient, response: httpx.Response) -> AsyncGenerator[Generation]:
    """Yield the generations that end, until the stream does, or its lifetime is over.

    :raises OxenServerError: if the connection is lost, or no line came for :data:`SILENCE`.
    """
    settings, clock = client.settings, asyncio.get_running_loop().time
    heard = clock()
    end = heard + LIFETIME
    pieces, parser = response.aiter_raw(), Parser()
    while True:
        silent = heard + SILENCE
        try:
            with suppress_http_logs():
                async with asyncio.timeout(min(silent, end) - clock()):
                    piece = await anext(pieces, b"")
        except TimeoutError:
            if end <= silent:
                return
            late = httpx.ReadTimeout(f"no line came for {SILENCE:g} s")
            raise answers.from_transport(late, _CALL, settings) from None
        except httpx.RequestError as error:
            raise answers.from_transport(error, _CALL, settings) from None
        if not piece:
            return
        # Only a complete line counts as a sign of life.
        if b"\n" in piece or b"\r" in piece:
            heard = clock()
        try:
            messages = parser.feed(piece)
        except ValueError as error:
            raise OxenServerError(
                f"The stream of events of {settings.base_url} cannot be read: {error}."
            ) from None
        for message in messages:
            if generation := read_message(message):
                yield generation


@asynccontextmanager
async def events(client: AsyncClient) -> AsyncIterator[AsyncIterator[Generation]]:
    """Open the stream of events. Free; needs a valid key, which goes only to the hub's own origin.

    It reports everything that ends after it was opened. It is opened once: the caller decides when to try
    again.

    :raises OxenError: the class says why there is no stream.
    """
    settings = client.settings
    request = client.http.build_request(
        "GET",
        f"{settings.base_url}{_CALL.paths['ai']}",
        headers={
            **bearer(settings.api_key),
            "Accept": "text/event-stream",
            # A packed stream could unpack to huge amounts within moments.
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
        },
        timeout=httpx.Timeout(SILENCE, connect=settings.connect_timeout),
    )
    try:
        with suppress_http_logs():
            async with client.deadline(_CALL):
                response = await client.http.send(request, stream=True)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise answers.from_transport(error, _CALL, settings) from None
    try:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        packed = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
        if response.status_code != 200 or kind != "text/event-stream" or packed != "identity":
            await _refuse(client, response, kind if packed == "identity" else f"{kind}, packed in {packed}")
        async with aclosing(_ended(client, response)) as ended:
            yield ended
    finally:
        with suppress_http_logs():
            await response.aclose()


async def _refuse(client: AsyncClient, response: httpx.Response, kind: str) -> None:
    """:raises OxenError: always."""
    try:
        with suppress_http_logs():
            async with client.deadline(_CALL):
                whole = await read_response(response, _MOST)
    except httpx.RequestError as error:
        raise answers.from_transport(error, _CALL, client.settings) from None
    answers.read(whole, _CALL, client.settings)
    raise OxenServerError(
        f"{client.settings.base_url} answered the request to {_CALL.name} with something else "
        f"({redacted_line(kind) or 'no content type'}).",
        status=response.status_code,
    )
