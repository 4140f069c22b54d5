"""``/_local/``: what a test or a person asks of the local hub itself, and pages. No key is needed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.page import model_page, page
from airflow_provider_oxen.localhub.problems import PHOENIX_NOT_FOUND, Json, Refused
from airflow_provider_oxen.localhub.state import State

__all__ = ["ROUTES"]


async def show(request: Request) -> Response:
    """Show the ledger and the last images to a person."""
    return _page(page(_state(request)))


async def model(request: Request) -> Response:
    """Show a model to a person."""
    entry = models.find(_state(request).settings.catalogue, request.path_params["model"])
    if entry is None:
        return Json(PHOENIX_NOT_FOUND, 404)
    return _page(model_page(models.as_ai(entry)))


async def image(request: Request) -> Response:
    """Send an image to that page, without a signature."""
    billed = _state(request).books.ledger.find(request.path_params["id"])
    if billed is None:
        return Json(PHOENIX_NOT_FOUND, 404)
    return Response(await billed.acontent(), media_type=billed.picture.media_type)


async def ledger(request: Request) -> Response:
    """List every billed image."""
    entries = _state(request).books.ledger.entries()
    return Json(await asyncio.to_thread(lambda: [entry.as_dict() for entry in entries]))


async def jobs(request: Request) -> Response:
    """List every job ever accepted."""
    return Json([job.as_dict() for job in _state(request).books.jobs()])


async def requests(request: Request) -> Response:
    """List every request that was seen."""
    return Json(_state(request).requests())


async def settings(request: Request) -> Response:
    """Tell the settings; PATCH sets those in the body, with ``deployments`` as ``{model: status}``."""
    state = _state(request)
    # The credits are part of what is told, and what is set holds from now on.
    state.books.settle()
    if request.method == "PATCH":
        values = await _read(request)
        if not isinstance(values, dict):
            raise Refused(400, "The body must be an object of settings.")
        _set(state, values)
    return Json(state.settings.as_dict())


async def faults(request: Request) -> Response:
    """Take one fault or a list of them, tell those still to come, or forget them (DELETE)."""
    state = _state(request)
    if request.method == "DELETE":
        state.faults.clear()
    if request.method == "POST":
        given = await _read(request)
        try:
            state.faults.add(*(Fault(**item) for item in (given if isinstance(given, list) else [given])))
        except (TypeError, ValueError) as error:
            raise Refused(400, f"Not a fault: {error}") from error
    return Json(state.faults.as_dicts())


async def streams(request: Request) -> Response:
    """Tell how many streams of events are open, or cut them off (DELETE)."""
    state = _state(request)
    if request.method == "DELETE":
        state.streams.drop()
    return Json({"open": state.streams.number})


async def reset(request: Request) -> Response:
    """Return to the start."""
    state = _state(request)
    state.reset()
    return Json(state.settings.as_dict())


ROUTES = [
    Route("/ai/models/{model:path}", model),
    Route("/_local", show),
    Route("/_local/", show),
    Route("/_local/images/{id}", image),
    Route("/_local/ledger", ledger),
    Route("/_local/jobs", jobs),
    Route("/_local/requests", requests),
    Route("/_local/settings", settings, methods=["GET", "PATCH"]),
    Route("/_local/faults", faults, methods=["GET", "POST", "DELETE"]),
    Route("/_local/streams", streams, methods=["GET", "DELETE"]),
    Route("/_local/reset", reset, methods=["POST"]),
]


def _page(html: str) -> Response:
    policy = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    return HTMLResponse(html, headers={"content-security-policy": policy})


def _state(request: Request) -> State:
    state: State = request.app.state.hub
    return state


async def _read(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Refused(400, "The body is not JSON.") from None


def _set(state: State, values: dict[str, Any]) -> None:
    deployments = values.pop("deployments", {})
    try:
        state.settings.update(values)
    except ValueError as error:
        raise Refused(400, str(error)) from error
    for id, status in deployments.items():
        entry = models.find(state.settings.catalogue, id)
        if entry is None:
            raise Refused(404, f"Model not found: {id}", shape="message")
        entry["deployments"] = [{"status": status}]
