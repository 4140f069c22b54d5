"""GET of a result's bytes, for who has the signed URL."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub.answers import CHUNK, Stream
from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.problems import Refused
from airflow_provider_oxen.localhub.state import State

__all__ = ["send_file"]

_SLOW_PIECES = 10


async def send_file(request: Request) -> Response:
    """Send an image, damaged where a fault says so."""
    state: State = request.app.state.hub
    namespace, id = request.path_params["namespace"], request.path_params["id"]
    if problem := state.links.problem(namespace, id, request.query_params, state.now()):
        raise Refused(403, problem)
    if state.settings.files_need_key:
        state.need_key(request)
    billed = state.books.ledger.find(id)
    if billed is None:
        raise Refused(404, "There is no such file.")
    fault = state.faults.take("file", "accepted")
    kind = fault.kind if fault else None
    damage = kind if kind == "not_an_image" or kind == "truncated" else billed.damage
    content = await billed.acontent(damage)
    media_type = "text/html" if damage == "not_an_image" else billed.picture.media_type
    return _sent(state, content, media_type, fault)


def _sent(state: State, content: bytes, media_type: str, fault: Fault | None) -> Response:
    kind = fault.kind if fault else None
    if fault and kind == "padded":
        return Stream(_pieces(content, fault.bytes), len(content) + fault.bytes, media_type)
    if fault and kind == "slow":
        return Stream(_slowly(state, content, fault.seconds), len(content), media_type)
    if kind == "short":
        return Stream(_pieces(content[: len(content) // 2]), len(content), media_type, cut=True)
    return Response(content, media_type=media_type)


async def _pieces(content: bytes, padding: int = 0) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
    zeros = bytes(min(CHUNK, padding))
    while padding:
        yield zeros[:padding]
        padding -= min(CHUNK, padding)


async def _slowly(state: State, content: bytes, seconds: float) -> AsyncIterator[bytes]:
    step = len(content) // _SLOW_PIECES + 1
    for start in range(0, len(content), step):
        await state.pause(seconds / _SLOW_PIECES)
        yield content[start : start + step]
