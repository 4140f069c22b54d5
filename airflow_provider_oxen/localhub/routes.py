"""The routes that cost nothing: models in both layouts, the key's owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.problems import PHOENIX_NOT_FOUND, Json, Refused
from airflow_provider_oxen.localhub.state import State

__all__ = ["authorize", "list_models", "one_model", "search_models"]


async def list_models(request: Request) -> Response:
    """List the catalogue; no key is needed."""
    state: State = request.app.state.hub
    return _listed(request, state.settings.catalogue)


async def search_models(request: Request) -> Response:
    """List the part of the catalogue that ``?search=`` finds."""
    state: State = request.app.state.hub
    return _listed(request, models.search(state.settings.catalogue, request.query_params.get("search", "")))


async def one_model(request: Request) -> Response:
    """Tell one model with its schema."""
    state: State = request.app.state.hub
    id = request.path_params["model"]
    entry = models.find(state.settings.catalogue, id)
    if entry is None:
        raise Refused(404, f"Model not found: {id}", shape="message")
    return Json(_words(request)(entry))


async def authorize(request: Request) -> Response:
    """Tell whose key it is; older hubs do not have this route."""
    state: State = request.app.state.hub
    if not state.settings.authorize:
        return Json(PHOENIX_NOT_FOUND, 404)
    state.need_key(request)
    return Json({"user": state.settings.user})


def _listed(request: Request, entries: list[dict[str, Any]]) -> Response:
    told = [_words(request)(entry) for entry in entries]
    return Json({"object": "list", "data": told} if _is_ai(request) else {"models": told})


def _words(request: Request) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return models.as_ai if _is_ai(request) else models.as_classic


def _is_ai(request: Request) -> bool:
    return request.url.path.startswith("/api/ai/")
