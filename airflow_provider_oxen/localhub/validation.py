"""The checks of a request for an image: some when it arrives, some only by the model."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
from referencing import Registry
from referencing.exceptions import Unresolvable
from starlette.requests import Request

from airflow_provider_oxen.localhub.answers import Refused
from airflow_provider_oxen.localhub.catalogue import is_deployed
from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["admit", "json_body", "need_model", "need_namespace", "objection", "spelt_out"]

_OWN = frozenset(
    {"model", "response_format", "target_namespace", "num_generations", "target_repo", "target_directory"}
)
"""Request fields of the hub itself, which are in no model's schema."""


async def json_body(request: Request) -> dict[str, Any]:
    """:raises Refused: if the body is not a JSON object."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "The body is not a JSON object.")
    return body


def admit(settings: HubSettings, body: dict[str, Any]) -> dict[str, Any]:
    """Return the model, after the checks that the hub makes without the model.

    :raises Refused: in the hub's words.
    """
    if not isinstance(body.get("model"), str):
        raise Refused(400, "model is missing")
    entry = need_model(settings, body["model"])
    prompt, schema = body.get("prompt"), entry.get("request_schema") or {}
    # Some models take only an image, or have an optional prompt.
    is_needed = not schema.get("properties") or "prompt" in (schema.get("required") or [])
    if not (isinstance(prompt, str) and prompt.strip()) and (prompt is not None or is_needed):
        raise Refused(400, "Prompt cannot be empty", shape="typed")
    need_namespace(settings, body.get("target_namespace"))
    if "image" not in entry.get("capabilities", {}).get("output", ["image"]):
        raise Refused(400, f"Model does not generate images: {entry['id']}")
    if not entry.get("can_run_inference", True):
        raise Refused(400, f"Model cannot run inference: {entry['id']}")
    if not is_deployed(entry):
        raise Refused(400, f"Model is not deployed: {entry['id']}")
    return entry


def need_model(settings: HubSettings, id: str) -> dict[str, Any]:
    """:raises Refused: 404."""
    for entry in settings.catalogue:
        if entry["id"] == id:
            return entry
    raise Refused(404, f"Model not found: {id}", shape="message")


def need_namespace(settings: HubSettings, namespace: Any) -> str:
    """Return the requested namespace; for None, the key's own.

    :raises Refused: 403.
    """
    if namespace is None:
        return settings.namespaces[0]
    if namespace not in settings.namespaces:
        raise Refused(403, f"You may not use the namespace {namespace}.")
    return str(namespace)


def objection(entry: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Return the model's own objection to the request, or None.

    A parameter that its schema does not list passes, and so does everything if the schema is broken.
    """
    problem, parameters = "", {name: value for name, value in body.items() if name not in _OWN}
    with contextlib.suppress(jsonschema.SchemaError, Unresolvable):
        validator = _validator(json.dumps(entry.get("request_schema") or {}))
        if error := next(validator.iter_errors(parameters), None):
            problem = ": ".join(filter(None, [".".join(map(str, error.absolute_path)), error.message]))
    if not problem and re.search(r"\bforbidden\b", body.get("prompt") or "", re.IGNORECASE):
        problem = "The prompt was flagged by moderation: it violates the content policy."
    return f"Getting model response error: 422 - {problem}" if problem else None


def spelt_out(node: Any) -> Any:
    """Return the schema with OpenAPI's ``nullable`` written as JSON Schema."""
    if isinstance(node, list):
        return [spelt_out(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: spelt_out(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


@functools.lru_cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    plain = spelt_out(json.loads(schema))
    jsonschema.Draft202012Validator.check_schema(plain)
    # An empty registry: the target of a "$ref" must never be fetched.
    return jsonschema.Draft202012Validator(plain, registry=Registry())
