"""All routes together, with faults in front of them and a record of every request."""

from __future__ import annotations

import email.utils
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_oxen.localhub import catalogue, faults, local, queue
from airflow_provider_oxen.localhub.answers import LOGIN, Json, Refused, faulty, no_route, page
from airflow_provider_oxen.localhub.generate import enqueue, generate, send_file
from airflow_provider_oxen.localhub.state import State
from airflow_provider_oxen.localhub.validation import need_model

__all__ = ["create_app"]

Endpoint = Callable[[State, Request], Awaitable[Response]]

_REWRITTEN = ("generate", "enqueue", "queue", "job", "history", "record", "model", "models")
"""Routes about images, jobs and models."""

_NEWEST_MINIMUM = (0, 36, 0)
"""The oldest version of the command-line tool that the hub serves (2026-08)."""

_VERSION = re.compile(r"\s*v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?")


def create_app(state: State) -> Starlette:
    """Return the ASGI application of one hub."""
    app = Starlette(
        routes=[
            _route("/api/repos/{namespace}/generated/files/{id}/image.png", send_file, "file", key=False),
            *_in_layout("classic", "/api/images/generate", "/api/evaluations/models"),
            *_in_layout("ai", "/api/ai/images/generate", "/api/ai/models"),
            *(
                _route(f"/api/ai/models/{{model:path}}/{step}", _deploy, None, "POST", layout="ai")
                for step in ("activate", "deactivate")
            ),
            # Both routes that identify the key have the same faults.
            _route("/api/users/me", _owner, "authorize", key=False),
            _route("/api/authorize", _owner, "authorize", key=False),
            _route("/api/ai/queue", enqueue, "enqueue", "POST"),
            _route("/api/ai/queue", queue.list_jobs, "queue"),
            _route("/api/ai/queue/{id}", queue.one_job, "job"),
            _route("/api/ai/queue/{id}", queue.cancel_job, "cancel", "DELETE"),
            _route("/api/ai/generations", queue.list_records, "history"),
            _route("/api/ai/generations/{id}", queue.one_record, "record"),
            _route("/api/events", queue.listen, "events"),
            _route(LOGIN, _login, None, key=False),
            *(_route(path, endpoint, None, *rest, key=False) for path, endpoint, *rest in local.ROUTES),
        ],
        middleware=[Middleware(_Front, state=state)],
        exception_handlers={Refused: _refused, 404: _not_found, 405: _not_found},
    )
    app.router.redirect_slashes = False
    app.state.hub = state
    return app


def _in_layout(layout: str, generate_path: str, models_path: str) -> list[Route]:
    return [
        _route(generate_path, generate, "generate", "POST", layout=layout),
        _route(models_path, _list_models, "models", key=False, layout=layout),
        _route(f"{models_path}/search", _search_models, "search", key=False, layout=layout),
        _route(f"{models_path}/{{model:path}}", _one_model, "model", key=False, layout=layout),
    ]


def _route(
    path: str,
    endpoint: Endpoint,
    name: faults.Route | None,
    *methods: str,
    key: bool = True,
    layout: str | None = None,
) -> Route:
    """Return a route with everything that all routes share.

    :param name: the route's name for faults; None for a route that never fails.
    :param methods: GET if none is given.
    :param key: whether the route needs the API key.
    :param layout: the path layout, if the route exists in only one.
    """

    async def answer(request: Request) -> Response:
        state: State = request.app.state.hub
        if layout and layout not in state.settings.layouts:
            return no_route()
        response = await _broken(state, request, name) if name else None
        if response is None:
            if key:
                state.need_key(request)
            response = await endpoint(state, request)
        is_usual = response.status_code == 200 and response.media_type == "application/json"
        if state.rewrite is None or name not in _REWRITTEN or not is_usual:
            return response
        body = state.rewrite(name, json.loads(bytes(response.body)))
        return Response(body) if isinstance(body, bytes) else Json(body)

    return Route(path, answer, methods=list(methods or ("GET",)))


async def _broken(state: State, request: Request, name: faults.Route) -> Response | None:
    """Return the answer of a fault that strikes before the request is read, if there is one."""
    if not state.faults:
        return None
    fault = state.faults.take(name, "arrived", await _prompt(request))
    if fault and fault.kind == "hold":
        await state.pause(fault.seconds)
        return None
    return faulty(fault, request) if fault else None


async def _prompt(request: Request) -> str:
    """Return the prompt of a body of any kind; the code that answers the request checks it."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        return ""
    return str(body.get("prompt", "")) if isinstance(body, dict) else ""


async def _list_models(state: State, request: Request) -> Response:
    """List the catalogue, or one developer's part of it."""
    developer = request.query_params.get("developer_name")
    entries = state.settings.catalogue
    if developer:
        entries = [entry for entry in entries if (entry.get("developer") or {}).get("name") == developer]
    return _listed(request, entries)


async def _search_models(state: State, request: Request) -> Response:
    """List the models whose id or display name contains the text in ``?search=``, in any case."""
    words = request.query_params.get("search", "").lower()
    named = ((f"{entry['id']}\n{entry.get('display_name', '')}", entry) for entry in state.settings.catalogue)
    return _listed(request, [entry for names, entry in named if words in names.lower()])


async def _one_model(state: State, request: Request) -> Response:
    entry = need_model(state.settings, request.path_params["model"])
    return Json(catalogue.as_ai(entry) if _is_ai(request) else catalogue.as_classic(entry))


async def _deploy(state: State, request: Request) -> Response:
    """Activate or deactivate a custom model; here this is immediate and free."""
    entry = need_model(state.settings, request.path_params["model"])
    if entry.get("model_type") != "custom":
        raise Refused(400, f"Model is not a custom one: {entry['id']}")
    entry["deployments"] = [{"status": "active" if request.url.path.endswith("/activate") else "inactive"}]
    return Json(catalogue.as_ai(entry))


async def _owner(state: State, request: Request) -> Response:
    """Return the owner of the key, on an older route with older field names."""
    is_older = request.url.path.endswith("/authorize")
    if not (state.settings.authorize if is_older else state.settings.users_me):
        return no_route()
    state.need_key(request)
    words = {} if is_older else {"name": "username"}
    return Json({"user": {words.get(name, name): value for name, value in state.settings.user.items()}})


async def _login(state: State, request: Request) -> Response:
    return page("Please sign in")


def _listed(request: Request, entries: list[dict[str, Any]]) -> Response:
    if _is_ai(request):
        return Json({"object": "list", "data": [catalogue.as_ai(entry) for entry in entries]})
    return Json({"models": [catalogue.as_classic(entry) for entry in entries]})


def _is_ai(request: Request) -> bool:
    return request.url.path.startswith("/api/ai/")


async def _refused(request: Request, error: Any) -> Response:
    refused: Refused = error
    return refused.answer(request.app.state.hub.settings.error_shape)


async def _not_found(request: Request, error: Exception) -> Response:
    return no_route()


class _Front:
    """Stands before every route: it checks the agent, records requests and stamps the answers.

    Requests for the local hub's own pages are not recorded. Every answer gets a ``Date`` by the hub's clock
    and an ``x-request-id``.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        seen: dict[str, Any] = {}
        if not scope["path"].startswith("/_local"):
            seen = self.state.record(request)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", uuid.uuid4().hex.encode())]
                if not any(name.lower() == b"date" for name, _ in message["headers"]):
                    date = email.utils.formatdate(self.state.now(), usegmt=True)
                    message["headers"].append((b"date", date.encode()))
            await send(message)

        if _is_old_tool(request.headers.get("user-agent", "")):
            newest = ".".join(map(str, _NEWEST_MINIMUM))
            refused = Refused(426, f"Your oxen version is too old. Update to {newest} or newer.")
            await refused.answer("typed")(scope, receive, watched)
            return
        await self.app(scope, receive, watched)


def _is_old_tool(agent: str) -> bool:
    """Return whether the agent counts as the hub's own tool (it contains ``oxen``) and is too old."""
    if "oxen" not in agent.lower():
        return False
    version = _VERSION.match(agent.partition("/")[2])
    return version is None or tuple(int(part or 0) for part in version.groups()) < _NEWEST_MINIMUM
