"""Answers that Starlette has no class for: lost, cut short, slow, huge, and those that faults ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.problems import Json, body_of, default_text, type_of

__all__ = ["CHUNK", "Lost", "Stream", "faulty"]

CHUNK = 64 * 1024
"""Bytes handed to the socket at a time: memory stays flat however big the body is."""

_PAGE = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


class Lost(Response):
    """No answer at all: the connection is closed under the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport_of(scope).abort()
        await _until_closed(receive)


class Stream(Response):
    """A body that comes in pieces.

    :param length: what Content-Length announces.
    :param cut: close the connection where the pieces end, before the length is reached.
    """

    def __init__(self, pieces: AsyncIterator[bytes], length: int, media_type: str, cut: bool = False) -> None:
        super().__init__(media_type=media_type, headers={"content-length": str(length)})
        self.pieces = pieces
        self.cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.cut:
            transport_of(scope).close()
            await _until_closed(receive)
        else:
            await send({"type": "http.response.body", "body": b""})


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the connection that the request came over; the server puts it into the scope."""
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _until_closed(receive: Receive) -> None:
    # The request's body was read before, so what comes next is the end of the connection.
    await receive()


def faulty(fault: Fault, request: Request) -> Response:
    """Return the answer that the fault asks for, of those that any route can give."""
    if fault.kind in ("drop_before", "drop_after"):
        return Lost()
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        location = fault.location or str(request.url)
        return Response(status_code=status, headers={"location": location, **fault.headers})
    return _body(fault)


def _body(fault: Fault) -> Response:
    status = fault.status if fault.kind == "status" else 200
    headers, text = fault.headers, default_text(fault.status)
    if fault.body is not None:
        return _given(fault.body, status, headers)
    if fault.kind == "broken_json":
        return Response(b'{"model": "', status, headers, "application/json")
    if fault.kind == "error_in_200":
        return Json(body_of("message", "", text), status, headers)
    shape = fault.shape if fault.kind == "status" else fault.kind
    if shape == "html":
        return HTMLResponse(_PAGE.format(text), status, headers)
    if shape == "empty":
        return Response(b"", status, headers)
    if shape == "text":
        return PlainTextResponse(text, status, headers)
    if shape == "string":
        return Json({"error": text}, status, headers)
    return Json(
        body_of("message" if shape == "message" else "typed", type_of(fault.status), text), status, headers
    )


def _given(body: dict[str, Any] | str, status: int, headers: dict[str, str]) -> Response:
    if isinstance(body, str):
        return PlainTextResponse(body, status, headers)
    return Json(body, status, headers)
