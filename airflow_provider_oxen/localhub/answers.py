"""The hub's answers: its errors, response types that Starlette lacks, and the answers of faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_oxen.localhub.faults import Clothes, Fault

__all__ = [
    "LOGIN",
    "DroppedConnection",
    "Json",
    "Refused",
    "Stream",
    "faulty",
    "no_route",
    "not_ready",
    "page",
    "pieces",
]

LOGIN = "/login"
"""Path of a sign-in page."""

_CHUNK = 64 * 1024
"""Bytes passed to the socket at a time, so that memory stays flat for any size of body."""

_TYPES = {
    400: "invalid_params",
    401: "unauthenticated",
    402: "insufficient_credits",
    403: "forbidden",
    404: "resource_not_found",
    422: "unprocessable_entity",
    426: "update_required",
    429: "rate_limited",
}
_TEXTS = {401: "unauthenticated", 402: "You have run out of credits."}
_XML = '<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>'
_MISSING = {"missing": 404, "forbidden": 403, "gone": 410}

ErrorShape = Literal["typed", "message"]
"""The hub's two formats of error bodies."""


class Json(JSONResponse):
    """JSON in ASCII: half a surrogate pair in a prompt must not break the answer."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


@dataclass(eq=False)
class Refused(Exception):
    """A request that the hub does not accept; nothing was billed.

    :param text: the hub's message for people.
    :param shape: the format of the body, if the contract fixes it; None if a setting decides.
    """

    status: int
    text: str
    shape: ErrorShape | None = None
    headers: Mapping[str, str] | None = None

    def answer(self, open_shape: ErrorShape) -> Json:
        """Return the answer; its format is ``open_shape`` if the contract leaves it open."""
        return Json(_error(self.shape or open_shape, self.status, self.text), self.status, self.headers)


class DroppedConnection(Response):
    """No answer at all: the connection is closed under the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _transport_of(scope).abort()
        await _until_closed(receive)


class Stream(Response):
    """A body that is sent in pieces.

    :param length: value of Content-Length; None for a body without an announced end.
    :param cut: close the connection after the last piece, without an end of the body.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], length: int | None, media_type: str, cut: bool = False
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        if length is not None:
            self.headers["content-length"] = str(length)
        self.pieces = pieces
        self.cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.cut:
            _transport_of(scope).close()
            await _until_closed(receive)
        else:
            await send({"type": "http.response.body", "body": b""})


async def pieces(content: bytes, padding: int = 0) -> AsyncIterator[bytes]:
    """Yield the content, followed by so many zero bytes, in pieces."""
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]
    zeros = bytes(min(_CHUNK, padding))
    while padding:
        yield zeros[:padding]
        padding -= min(_CHUNK, padding)


def _transport_of(scope: Scope) -> asyncio.Transport:
    """Return the request's connection; the server puts it into the scope."""
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _until_closed(receive: Receive) -> None:
    # The request's body was read before, so the next event is the end of the connection.
    await receive()


def no_route() -> Json:
    """Return the answer for a path that does not exist; it must not look like a missing model."""
    return Json({"errors": {"detail": "Not Found"}}, 404)


def page(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a page for people with only this text."""
    html = f"<!doctype html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return HTMLResponse(html, status, headers)


def faulty(fault: Fault, request: Request) -> Response:
    """Return the answer of a fault that can strike any route."""
    if fault.kind in ("drop_before", "drop_after"):
        return DroppedConnection()
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        location = fault.location or str(request.url)
        return Response(status_code=status, headers={"location": location, **fault.headers})
    status = fault.status if fault.kind == "status" else 200
    phrase = HTTPStatus(fault.status).phrase if fault.status in set(HTTPStatus) else "Unknown"
    headers, text = fault.headers, _TEXTS.get(fault.status, f"{phrase} (simulated)")
    if isinstance(fault.body, str):
        return PlainTextResponse(fault.body, status, headers)
    if fault.body is not None:
        return Json(fault.body, status, headers)
    if fault.kind == "broken_json":
        return Response(b'{"model": "', status, headers, "application/json")
    shape = fault.shape if fault.kind == "status" else fault.kind
    if shape == "html":
        return page(text, status, headers)
    if shape == "empty":
        return Response(b"", status, headers)
    if shape == "text":
        return PlainTextResponse(text, status, headers)
    if shape == "string":
        return Json({"error": text}, status, headers)
    # Every other kind is a message, as for ``error_in_200``.
    error_shape: ErrorShape = "typed" if shape == "typed" else "message"
    return Json(_error(error_shape, fault.status, text), status, headers)


def not_ready(clothes: Clothes, content: bytes, media_type: str) -> Response:
    """Return what is sent in place of an image that is paid for and not there yet."""
    half = content[: len(content) // 2]
    if clothes in _MISSING:
        return Json(_error("typed", 404, "There is no such file yet."), _MISSING[clothes])
    if clothes == "empty":
        return Response(b"", media_type=media_type)
    if clothes in ("accepted", "json"):
        return Json({"status": "processing"}, 202 if clothes == "accepted" else 200)
    if clothes == "no_content":
        return Response(status_code=204)
    if clothes == "partial":
        part = {"content-range": f"bytes 0-{len(half) - 1}/{len(content)}"}
        return Response(half, 206, part, media_type)
    if clothes == "xml":
        return Response(_XML, media_type="application/xml")
    if clothes == "cut":
        return Response(half, media_type=media_type)
    if clothes == "short":
        return Stream(pieces(half), len(content), media_type, cut=True)
    return RedirectResponse(LOGIN) if clothes == "login" else page("One moment, please")


def _error(shape: ErrorShape, status: int, text: str) -> dict[str, Any]:
    if shape == "message":
        return {"error": {"message": text}}
    type = _TYPES.get(status, "internal_server_error")
    return {
        "error": {"type": type, "title": type.replace("_", " ").title(), "detail": text},
        "status": "error",
        "status_message": type,
    }
