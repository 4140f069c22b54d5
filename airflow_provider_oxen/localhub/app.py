"""All routes put together, with faults in front of them and a record of every request."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_oxen.localhub import events, faults, history, jobs, local, routes
from airflow_provider_oxen.localhub.answers import faulty
from airflow_provider_oxen.localhub.enqueue import enqueue
from airflow_provider_oxen.localhub.files import send_file
from airflow_provider_oxen.localhub.generate import generate
from airflow_provider_oxen.localhub.problems import PHOENIX_NOT_FOUND, Json, Refused
from airflow_provider_oxen.localhub.state import State

__all__ = ["create_app"]

Endpoint = Callable[[Request], Awaitable[Response]]

_FILE = "/api/repos/{namespace}/generated/files/{id}/image.png"


def create_app(state: State) -> Starlette:
    """Return the ASGI application of one hub."""
    app = Starlette(
        routes=[
            Route(_FILE, _with_faults("file", send_file)),
            *_in_layout("classic", "/api/images/generate", "/api/evaluations/models"),
            *_in_layout("ai", "/api/ai/images/generate", "/api/ai/models"),
            Route("/api/authorize", _with_faults("authorize", routes.authorize)),
            Route("/api/ai/queue", _with_faults("enqueue", enqueue), methods=["POST"]),
            Route("/api/ai/queue", _with_faults("queue", jobs.list_jobs)),
            Route("/api/ai/queue/{id}", _with_faults("job", jobs.one_job)),
            Route("/api/ai/queue/{id}", _with_faults("cancel", jobs.cancel_job), methods=["DELETE"]),
            Route("/api/ai/generations", _with_faults("history", history.list_records)),
            Route("/api/ai/generations/{id}", _with_faults("record", history.one_record)),
            Route("/api/events", _with_faults("events", events.listen)),
            *local.ROUTES,
        ],
        middleware=[Middleware(_Recorder, state=state)],
        exception_handlers={Refused: _refused, 404: _no_route, 405: _no_route},
    )
    app.router.redirect_slashes = False
    app.state.hub = state
    return app


def _in_layout(layout: str, generate_path: str, models_path: str) -> list[Route]:
    def route(name: faults.Route, path: str, endpoint: Endpoint, method: str = "GET") -> Route:
        harmed = _with_faults(name, endpoint)

        async def in_layout(request: Request) -> Response:
            if layout not in request.app.state.hub.settings.layouts:
                return Json(PHOENIX_NOT_FOUND, 404)
            return await harmed(request)

        return Route(path, in_layout, methods=[method])

    return [
        route("generate", generate_path, generate, "POST"),
        route("models", models_path, routes.list_models),
        route("search", f"{models_path}/search", routes.search_models),
        route("model", f"{models_path}/{{model:path}}", routes.one_model),
    ]


def _with_faults(name: faults.Route, endpoint: Endpoint) -> Endpoint:
    async def harmed(request: Request) -> Response:
        state: State = request.app.state.hub
        if state.faults.is_empty:
            return await endpoint(request)
        fault = state.faults.take(name, "arrived", await _prompt(request))
        if fault and fault.kind == "hold":
            await state.pause(fault.seconds)
        elif fault:
            return faulty(fault, request)
        return await endpoint(request)

    return harmed


async def _prompt(request: Request) -> str:
    """Return the prompt of a body that may be anything; who answers the request judges it."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        return ""
    return str(body.get("prompt", "")) if isinstance(body, dict) else ""


async def _refused(request: Request, error: Any) -> Response:
    refused: Refused = error
    return refused.answer(request.app.state.hub.settings.error_shape)


async def _no_route(request: Request, error: Exception) -> Response:
    return Json(PHOENIX_NOT_FOUND, 404)


class _Recorder:
    """Remember every request but the hub's own, and give every answer an ``x-request-id``."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_local"):
            await self.app(scope, receive, send)
            return
        seen: dict[str, Any] = self.state.record(Request(scope))

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", uuid.uuid4().hex.encode())]
            await send(message)

        await self.app(scope, receive, watched)
