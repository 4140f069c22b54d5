"""What is asked for: arguments as a user gave them become the exact body, in one place.

The steps, all before any money is spent: :func:`read_arguments` checks and coerces what was
rendered, :func:`fingerprint` names the request, and :func:`settle` fits it to the model's schema
and settles the seed. Nothing changes the body afterwards.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_oxen.api import schema as schemas
from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import HUB_PARAMETERS, GenerateRequest
from airflow_provider_oxen.jobs.arguments import choice, given, mapping, optional_text, shown, whole

__all__ = ["RESERVED", "Settled", "fingerprint", "read_arguments", "settle"]

RESERVED = HUB_PARAMETERS | {"prompt", "image_size", "num_inference_steps", "seed"}
"""Names that ``model_params`` may not hold: they have an argument of their own, or are the hub's."""

_FORMATS = ("url", "b64_json")


class Settled(NamedTuple):
    """A request as it will be sent.

    :ivar seed_is_ours: whether the seed was drawn or derived here rather than given by the user.
    """

    request: GenerateRequest
    seed_is_ours: bool


def read_arguments(
    *,
    prompt: Any,
    model: Any,
    response_format: Any = "url",
    image_size: Any = None,
    num_inference_steps: Any = None,
    seed: Any = None,
    target_namespace: Any = None,
    model_params: Any = None,
) -> GenerateRequest:
    """Check what a user asked for, after rendering, and give it its types.

    Templates render to strings: an exact number becomes a number, ``None`` and the empty string
    become unset.

    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    response_format = given(response_format, None)
    wanted = choice("response_format", "url" if response_format is None else response_format, _FORMATS)
    request = GenerateRequest(
        model=_text("model", model, "the model's id, such as 'z-image-turbo'").strip(),
        prompt=_text("prompt", prompt, "a text that says what to draw"),
        response_format="url" if wanted == "url" else "b64_json",
        image_size=_size(image_size),
        num_inference_steps=_whole("num_inference_steps", num_inference_steps, least=1),
        seed=_whole("seed", seed, least=0),
        target_namespace=optional_text("target_namespace", target_namespace),
        **_parameters(model_params),
    )
    _sendable(request)
    return request


def fingerprint(request: GenerateRequest) -> str:
    """Return the request's name: sha256 over what decides the image.

    ``response_format`` does not, and a seed counts only where the user gave it. Numbers that were
    rendered to strings count as numbers, so that the name does not hang on the model's schema.
    """
    body = request.body()
    body.pop("response_format")
    named = {name: body.pop(name) for name in ("model", "prompt", "target_namespace") if name in body}
    canonical = json.dumps({**named, "parameters": _canonical(body)}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def settle(
    request: GenerateRequest, schema: Mapping[str, Any] | None, key: str, *, fresh: bool = False
) -> Settled:
    """Fit the request to the model's schema and settle the seed.

    A model that takes a seed and was given none gets one, which makes the image reproducible. It
    is derived from the identity, so that every try of a task asks for the very same image.

    :param schema: the model's request schema, None where it is not known.
    :param key: the identity's key.
    :param fresh: draw the seed at random: the user wants another image than the one that is there.
    """
    extra = schemas.coerce(schema, _listed(request.model_extra or {}))
    fixed = {name: getattr(request, name) for name in GenerateRequest.model_fields}
    ours = request.seed is None and schemas.takes(schema, "seed")
    if ours:
        low, high = schemas.seed_range(schema)
        span = high - low + 1
        number = secrets.randbelow(span) if fresh else int(key, 16) % span
        fixed["seed"] = low + number
    return Settled(GenerateRequest(**fixed, **extra), ours)


def _text(name: str, value: Any, what: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # What a native template makes of a text of digits.
        value = str(value)
    # "None" too: it is what a template makes of an XCom that is not there, and would be paid for.
    nothing = given(value, None) is None
    if nothing or not isinstance(value, str):
        said = "Prompt cannot be empty. " if nothing and name == "prompt" else ""
        raise OxenInvalidRequest(f"{said}{name} must be {what}, not {shown(value)}. Nothing was sent.")
    return value


def _whole(name: str, value: Any, *, least: int) -> int | None:
    value = given(value, None)
    return None if value is None else whole(name, value, least=least)


def _size(value: Any) -> str | dict[str, int] | None:
    value = given(value, None)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = mapping("image_size", value)
    if value is None or isinstance(value, str):
        return value and value.strip()
    if not isinstance(value, Mapping) or set(value) != {"width", "height"}:
        raise OxenInvalidRequest(
            "image_size must be a preset such as 'square_hd' or {'width': 1024, 'height': 1024}, not "
            f"{shown(value)}."
        )
    return {side: whole(f"image_size[{side!r}]", value[side], least=1) for side in ("width", "height")}


def _parameters(value: Any) -> dict[str, Any]:
    parameters = mapping("model_params", value)
    reserved = sorted(set(parameters) & RESERVED)
    if reserved:
        raise OxenInvalidRequest(
            f"model_params must not hold {', '.join(map(repr, reserved))}: arguments of their own, or the "
            "hub's own fields. Allowed is anything else in the model's request schema."
        )
    return parameters


def _listed(value: Any) -> Any:
    """Return a value with its tuples as lists: what JSON makes of them, and what a schema expects."""
    if isinstance(value, Mapping):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _sendable(request: GenerateRequest) -> None:
    try:
        json.dumps(request.body(), allow_nan=False, ensure_ascii=False, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise OxenInvalidRequest(
            f"The request cannot be written as JSON: {error}. Nothing was sent."
        ) from None


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, str):
        # Only what a number or a boolean renders to counts as one: "007" is another text than "7".
        number = schemas.exact_number(value)
        words: dict[str, Any] = {"True": True, "true": True, "False": False, "false": False}
        value = words.get(value, number if str(number) == value else value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
