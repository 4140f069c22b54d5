"""The hub's errors, in its two bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from starlette.responses import JSONResponse

__all__ = ["PHOENIX_NOT_FOUND", "Json", "Refused", "body_of", "default_text", "type_of"]

PHOENIX_NOT_FOUND = {"errors": {"detail": "Not Found"}}
"""Body of a path that is not served at all: it must not read like a missing model."""

_TYPES = {
    400: "invalid_params",
    401: "unauthenticated",
    402: "insufficient_credits",
    403: "forbidden",
    404: "resource_not_found",
    422: "unprocessable_entity",
    429: "rate_limited",
}
_TEXTS = {401: "unauthenticated", 402: "You have run out of credits."}


class Json(JSONResponse):
    """JSON in ASCII: half a surrogate pair in a prompt must not break the answer."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class Refused(Exception):
    """A request that the hub does not accept; nothing was billed.

    :param text: what the hub says to people.
    :param shape: ``typed`` or ``message`` where the contract fixes it, None where a setting decides.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        shape: Literal["typed", "message"] | None = None,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.shape = shape
        self.type = type or type_of(status)
        self.headers = headers

    def answer(self, open_shape: Literal["typed", "message"]) -> Json:
        """Return the answer, in ``open_shape`` where the contract leaves the shape open."""
        body = body_of(self.shape or open_shape, self.type, self.text)
        return Json(body, self.status, self.headers)


def body_of(shape: Literal["typed", "message"], type: str, text: str) -> dict[str, Any]:
    """Return an error body."""
    if shape == "message":
        return {"error": {"message": text}}
    return {
        "error": {"type": type, "title": type.replace("_", " ").capitalize(), "detail": text},
        "status": "error",
        "status_message": type,
    }


def type_of(status: int) -> str:
    """Return the hub's word for an error status."""
    return _TYPES.get(status, "internal_server_error")


def default_text(status: int) -> str:
    """Return what the hub says with an error status where nothing more is known."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    return _TEXTS.get(status, f"{phrase} (simulated)")
