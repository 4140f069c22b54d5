"""What a request for an image is checked for, and when: some at the door, some only by the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.problems import Refused
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["admit", "judge", "need_namespace", "objection", "read_body"]


async def read_body(request: Request) -> dict[str, Any]:
    """:raises Refused: where the body is not a JSON object."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "The body is not a JSON object.")
    return body


def judge(settings: HubSettings, body: dict[str, Any]) -> dict[str, Any]:
    """Return the model that a synchronous call may use: everything is checked before it is billed.

    :raises Refused: in the hub's words; nothing is billed then.
    """
    entry = admit(settings, body)
    if body.get("response_format", "url") not in ("url", "b64_json"):
        raise Refused(400, "response_format must be one of url, b64_json")
    if problem := objection(entry, body):
        raise Refused(422, problem)
    return entry


def admit(settings: HubSettings, body: dict[str, Any]) -> dict[str, Any]:
    """Return the model, after the checks that the hub makes without asking it.

    :raises Refused: in the hub's words.
    """
    prompt = body.get("prompt")
    if not isinstance(body.get("model"), str):
        raise Refused(400, "model is missing")
    entry = models.find(settings.catalogue, body["model"])
    if entry is None:
        raise Refused(404, f"Model not found: {body['model']}", shape="message")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refused(400, "Prompt cannot be empty", shape="typed")
    need_namespace(settings, body.get("target_namespace"))
    if obstacle := models.obstacle(entry):
        raise Refused(400, obstacle)
    return entry


def need_namespace(settings: HubSettings, namespace: Any) -> str:
    """Return the namespace asked for, the key's own for None.

    :raises Refused: 403.
    """
    if namespace is None:
        return settings.namespaces[0]
    if namespace not in settings.namespaces:
        raise Refused(403, f"You may not use the namespace {namespace}.")
    return str(namespace)


def objection(entry: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Return what the model itself says against the request, or None."""
    problem = models.contradiction(entry, body) or _moderation(body["prompt"])
    return f"Getting model response error: 422 - {problem}" if problem else None


def _moderation(prompt: str) -> str | None:
    if re.search(r"\bforbidden\b", prompt, re.IGNORECASE):
        return "The prompt was flagged by moderation: it violates the content policy."
    return None
