"""POST generate: judged, billed, waited for, answered."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub.answers import faulty
from airflow_provider_oxen.localhub.judge import judge, read_body
from airflow_provider_oxen.localhub.ledger import Billed
from airflow_provider_oxen.localhub.problems import Json
from airflow_provider_oxen.localhub.state import State

__all__ = ["generate"]


async def generate(request: Request) -> Response:
    """Answer a request for an image.

    The order matters to whoever counts money: everything that refuses comes before billing, and
    everything that waits or breaks an accepted call comes after it.
    """
    state: State = request.app.state.hub
    state.need_key(request)
    body = await read_body(request)
    state.need_rate()
    entry = judge(state.settings, body)
    billed = state.books.bill(entry, body)
    fault = state.faults.take("generate", "accepted", body["prompt"])
    await state.work()
    kind = fault.kind if fault else None
    if fault and kind == "hold":
        await state.pause(fault.seconds)
    elif kind == "not_an_image" or kind == "truncated":
        for item in billed:
            item.damage = kind
    elif kind == "no_images":
        return _answer(state, body, [])
    elif kind == "empty_item":
        return _answer(state, body, [{}])
    elif kind == "bad_base64":
        return _answer(state, body, [{"b64_json": "this is *not* base64"}])
    elif fault:
        return faulty(fault, request)
    return _answer(state, body, [await _item(state, request, body, item) for item in billed])


async def _item(state: State, request: Request, body: dict[str, Any], billed: Billed) -> dict[str, str]:
    if body.get("response_format") == "b64_json":
        content = await billed.acontent()
        return {"b64_json": base64.b64encode(content).decode()}
    origin = state.settings.files_origin or str(request.base_url).rstrip("/")
    expires = state.now() + state.settings.url_ttl
    return {"url": state.links.make(origin, billed.namespace, billed.id, expires)}


def _answer(state: State, body: dict[str, Any], images: list[dict[str, str]]) -> Response:
    if state.settings.answer == "image_url" and images and "url" in images[0]:
        return Json({"image_url": images[0]["url"]})
    return Json({"model": body["model"], "created": int(state.now()), "images": images})
