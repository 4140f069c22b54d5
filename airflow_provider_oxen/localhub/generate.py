"""The routes that cost money (the synchronous call and the queue's POST), and the files they lead to."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub import answers, catalogue
from airflow_provider_oxen.localhub.answers import DroppedConnection, Json, Refused, Stream, pieces
from airflow_provider_oxen.localhub.faults import ON_JOBS, Kind
from airflow_provider_oxen.localhub.jobs import Charge, PlannedOutcome
from airflow_provider_oxen.localhub.pictures import number_of_images
from airflow_provider_oxen.localhub.state import State
from airflow_provider_oxen.localhub.validation import admit, json_body, objection

__all__ = ["enqueue", "generate", "send_file"]

MAX_GENERATIONS = 4
"""Most generations in one request, by the hub's own error (its OpenAPI says 12)."""

_FIRST_ONLY = ("qwen-image-3",)
"""Models of which "only the first is returned; all are billed", as the catalogue says about
``num_images``."""

_NOT_IMAGES: dict[Kind, list[dict[str, str]]] = {
    "no_images": [],
    "empty_item": [{}],
    "bad_base64": [{"b64_json": "this is *not* base64"}],
}
"""What a synchronous call returns in place of the images."""


async def generate(state: State, request: Request) -> Response:
    """Answer a request for an image.

    The order matters for the money: everything that refuses comes before billing, and everything that delays
    or breaks an accepted call comes after it.
    """
    body = await json_body(request)
    state.need_rate()
    entry = admit(state.settings, body)
    if body.get("response_format", "url") not in ("url", "b64_json"):
        raise Refused(400, "response_format must be one of url, b64_json")
    if problem := objection(entry, body):
        raise Refused(422, problem)
    charges = state.billing.bill(entry, body)
    fault = state.faults.take("generate", "accepted", body.get("prompt") or "")
    await state.work()
    if fault and fault.kind in _NOT_IMAGES:
        return _images(state, body, _NOT_IMAGES[fault.kind])
    if fault and fault.kind == "hold":
        await state.pause(fault.seconds)
    elif fault and fault.kind in ON_JOBS:
        for charge in charges:
            charge.spoil(fault)
    elif fault:
        return answers.faulty(fault, request)
    returned = charges[:1] if entry["id"] in _FIRST_ONLY else charges
    return _images(state, body, [await _image(state, request, body, charge) for charge in returned])


async def _image(state: State, request: Request, body: dict[str, Any], charge: Charge) -> dict[str, str]:
    if body.get("response_format") == "b64_json":
        return {"b64_json": base64.b64encode(await charge.content()).decode()}
    expires = state.now() + state.settings.url_ttl
    return {"url": state.links.make(state.origin(request), charge.namespace, charge.id, expires)}


def _images(state: State, body: dict[str, Any], images: list[dict[str, str]]) -> Response:
    if state.settings.answer == "image_url" and images and "url" in images[0]:
        return Json({"image_url": images[0]["url"]})
    return Json({"model": body["model"], "created": int(state.now()), "images": images})


async def enqueue(state: State, request: Request) -> Response:
    """Accept jobs and answer at once. The model's own objections show only when the jobs fail."""
    body = await json_body(request)
    state.need_rate()
    entry = admit(state.settings, body)
    number = body.get("num_generations", 1)
    if type(number) is not int or not 1 <= number <= MAX_GENERATIONS:
        raise Refused(400, f"num_generations must be an integer between 1 and {MAX_GENERATIONS}")
    state.billing.need_credits(catalogue.cost(entry, body) * number_of_images(entry, body) * number)
    fault = state.faults.take("enqueue", "accepted", body.get("prompt") or "")
    kind = fault.kind if fault else None
    if fault and kind == "no_generations":
        return Json({"generations": [], "error": {"message": fault.message}})
    if kind == "forgotten":
        return _queued(str(uuid.uuid4()) for _ in range(number))
    outcome = PlannedOutcome.of(objection(entry, body), fault)
    late = fault.seconds if fault and kind == "late" else None
    jobs = state.billing.enqueue(entry, body, number, outcome, late)
    if kind == "late":
        return DroppedConnection()
    if fault and kind == "hold":
        await state.pause(fault.seconds)
    elif fault and kind in ON_JOBS:
        for job in jobs:
            job.charge.spoil(fault)
    elif fault:
        return answers.faulty(fault, request)
    return _queued(job.id for job in jobs)


def _queued(ids: Iterable[str]) -> Response:
    return Json({"generations": [{"generation_id": id, "status": "queued"} for id in ids]})


async def send_file(state: State, request: Request) -> Response:
    """Send an image to the holder of its signed URL, damaged if a fault says so."""
    namespace, id = request.path_params["namespace"], request.path_params["id"]
    if problem := state.links.problem(namespace, id, request.query_params, state.now()):
        raise Refused(403, problem)
    if state.settings.files_need_key:
        state.need_key(request)
    charge = state.billing.settled().ledger.get(id)
    if charge is None:
        raise Refused(404, "There is no such file.")
    fault = state.faults.take("file", "accepted")
    kind = fault.kind if fault else None
    damage = kind if kind == "not_an_image" or kind == "truncated" else charge.damage
    content = await charge.content(damage)
    media_type = "text/html" if damage == "not_an_image" else charge.picture.media_type
    if fault and kind == "not_yet":
        return answers.not_ready(fault.clothes, content, media_type)
    if charge.not_ready and not charge.is_ready(state.now()):
        return answers.not_ready(charge.not_ready.clothes, content, media_type)
    if fault and kind == "padded":
        return Stream(pieces(content, fault.bytes), len(content) + fault.bytes, media_type)
    if fault and kind == "slow":
        return Stream(_slowly(state, content, fault.seconds), len(content), media_type)
    if kind == "short":
        return Stream(pieces(content[: len(content) // 2]), len(content), media_type, cut=True)
    return Response(content, media_type=media_type)


async def _slowly(state: State, content: bytes, seconds: float) -> AsyncIterator[bytes]:
    step = len(content) // 10 + 1
    for start in range(0, len(content), step):
        await state.pause(seconds / 10)
        yield content[start : start + step]
