"""POST to the queue: checked at the door, paid for, answered at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.answers import Lost, faulty
from airflow_provider_oxen.localhub.faults import ON_JOBS
from airflow_provider_oxen.localhub.job import Fate
from airflow_provider_oxen.localhub.judge import admit, objection, read_body
from airflow_provider_oxen.localhub.problems import Json, Refused
from airflow_provider_oxen.localhub.state import State

__all__ = ["enqueue"]

MOST = 4
"""Generations in one request: what the hub's error says (its OpenAPI says 12)."""


async def enqueue(request: Request) -> Response:
    """Take jobs in. What the model has to say against them shows only when they fail."""
    state: State = request.app.state.hub
    state.need_key(request)
    body = await read_body(request)
    state.need_rate()
    entry = admit(state.settings, body)
    number = _number(body)
    state.books.need_credits(models.cost(entry, body) * number)
    fault = state.faults.take("enqueue", "accepted", body["prompt"])
    kind = fault.kind if fault else None
    if fault and kind == "no_generations":
        return Json({"generations": [], "error": {"message": fault.message}})
    if kind == "forgotten":
        return _answer(str(uuid.uuid4()) for _ in range(number))
    jobs = state.books.enqueue(
        entry,
        body,
        number,
        Fate.of(objection(entry, body), fault),
        damage=kind if kind == "not_an_image" or kind == "truncated" else None,
        late=fault.seconds if fault and kind == "late" else None,
    )
    if kind == "late":
        return Lost()
    if fault and kind == "hold":
        await state.pause(fault.seconds)
    elif fault and kind not in ON_JOBS:
        return faulty(fault, request)
    return _answer(job.id for job in jobs)


def _number(body: dict[str, Any]) -> int:
    number = body.get("num_generations", 1)
    if type(number) is not int or not 1 <= number <= MOST:
        raise Refused(400, f"num_generations must be an integer between 1 and {MOST}")
    return number


def _answer(ids: Iterable[str]) -> Response:
    return Json({"generations": [{"generation_id": id, "status": "queued"} for id in ids]})
