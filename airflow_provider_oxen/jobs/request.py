"""Turn a user's arguments into the exact body of a request, in one place.

All steps come before any money is spent: :class:`RequestArguments` checks and converts what was rendered,
:func:`fingerprint` identifies the request, and :func:`settle` fits it to the model's schema and sets the
seed. Nothing changes the body afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationError, ValidationInfo

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import HUB_PARAMETERS, GenerateRequest
from airflow_provider_oxen.catalogue import values
from airflow_provider_oxen.catalogue.schema import sized
from airflow_provider_oxen.jobs.arguments import (
    Arguments,
    OptionalText,
    Unfit,
    is_unset,
    mapping,
    one_of,
    or_default,
    whole,
)
from airflow_provider_oxen.jobs.plain import plain, shown

__all__ = ["RESERVED", "RequestArguments", "canonical", "fingerprint", "settle"]

RESERVED = HUB_PARAMETERS | {"prompt", "image_size", "num_inference_steps", "seed"}
"""Names that ``model_params`` may not hold: they have an argument of their own, or belong to the hub."""

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""Largest request in bytes; input images may be in it as ``data:`` URIs."""

MAX_REQUEST_VALUES = 100_000
"""Most values in a request."""

_HALF = "The request cannot be written as JSON: a text in it holds half a character."


def _words(what: str) -> PlainValidator:
    """Return a reader for a text that goes to the hub.

    :param what: what the argument must be, for messages.
    """

    def read(value: Any, info: ValidationInfo) -> str:
        name = info.field_name
        if isinstance(value, int | float) and not isinstance(value, bool):
            # 100000.0 may have been "1e5", and 42 "0x2A": the original text is lost.
            raise OxenInvalidRequest(
                f"{name} is the number {shown(value)}, not text: with render_template_as_native_obj=True, "
                "Jinja turns text that looks like a number into one.",
                remedy=f"Add a word to it, or put quotes into the template: {name}=\"'{{{{ … }}}}'\".",
            )
        # Refuse "None" too: a template renders a missing XCom to it, and it would be paid for.
        if is_unset(value) or not isinstance(value, str):
            raise OxenInvalidRequest(f"{name} must be {what}, not {shown(value)}.")
        return value

    return PlainValidator(read)


def _integer(least: int) -> PlainValidator:
    """Return a reader for an integer of the request, from any library."""

    def read(value: Any, info: ValidationInfo) -> int | None:
        name = str(info.field_name)
        # For a float that is not an integer, whole() gives the message.
        value = value if isinstance(value, float) else plain(name, value)
        return None if is_unset(value) else plain(name, whole(least)(value))

    return PlainValidator(read)


def _size(value: Any, info: ValidationInfo) -> str | dict[str, int] | None:
    value = plain(str(info.field_name), value)
    if is_unset(value):
        return None
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            return value.strip()
        value = mapping("image_size", value)
    if not isinstance(value, Mapping) or set(value) != {"width", "height"}:
        raise Unfit("must be a preset such as 'square_hd' or {'width': 1024, 'height': 1024}")
    return {side: _side(side, value[side]) for side in ("width", "height")}


def _side(side: str, value: Any) -> int:
    try:
        return whole(1)(value)
    except Unfit as error:
        raise OxenInvalidRequest(f"image_size[{side!r}] {error}, not {shown(value)}.") from None


def _parameters(value: Any) -> dict[str, Any]:
    parameters = mapping("model_params", value)
    reserved = sorted(set(parameters) & RESERVED)
    if reserved:
        names = ", ".join(map(repr, reserved))
        raise OxenInvalidRequest(
            f"model_params must not hold {names}: the task has an argument for this, or sets it itself.",
            remedy="Leave it out of model_params.",
        )
    found: dict[str, Any] = plain("model_params", parameters)
    return found


class RequestArguments(Arguments):
    """The arguments that determine the image."""

    prompt: Annotated[str, _words("a text that says what to draw")]
    model: Annotated[str, _words("the model's id, such as 'z-image-turbo'"), AfterValidator(str.strip)]
    response_format: Annotated[Literal["url", "b64_json"], one_of(Literal["url", "b64_json"])] = "url"
    image_size: Annotated[str | dict[str, int] | None, PlainValidator(_size)] = None
    num_inference_steps: Annotated[int | None, _integer(1)] = None
    seed: Annotated[int | None, _integer(0)] = None
    target_namespace: OptionalText = None
    model_params: Annotated[dict[str, Any], or_default(_parameters)] = Field(default_factory=dict)

    def request(self) -> GenerateRequest:
        """Return the request, after checking that it can be sent and recorded.

        :raises OxenInvalidRequest: saying why it cannot.
        """
        fields = {name: getattr(self, name) for name in GenerateRequest.model_fields}
        try:
            request = GenerateRequest(**fields, **self.model_params)
        except ValidationError:
            # Only one error is still possible: a name or a text that no encoding can write.
            raise OxenInvalidRequest(_HALF) from None
        try:
            content = json.dumps(request.body(), allow_nan=False, ensure_ascii=False, sort_keys=True).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise OxenInvalidRequest(f"The request cannot be written as JSON: {error}.") from None
        if len(content) > MAX_REQUEST_BYTES or sum(map(content.count, (b",", b"["))) > MAX_REQUEST_VALUES:
            # A record and a sidecar hold it exactly, and have to be read again.
            raise OxenInvalidRequest(
                f"The request has {len(content):,} bytes, or too many values: at most "
                f"{MAX_REQUEST_BYTES // 2**20} MB and {MAX_REQUEST_VALUES:,} values are sent.",
                remedy="Give images as links.",
            )
        return request


def fingerprint(request: GenerateRequest) -> str:
    """Return the SHA-256 over everything that determines the image.

    ``response_format`` does not count, and a seed counts only if the user gave it. Numbers that were rendered
    to text count as numbers, so that the fingerprint does not depend on the model's schema.
    """
    body = request.body()
    body.pop("response_format")
    named = {name: body.pop(name) for name in ("model", "prompt", "target_namespace") if name in body}
    text = json.dumps({**named, "parameters": canonical(body)}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def settle(request: GenerateRequest, schema: Mapping[str, Any] | None, job: str) -> dict[str, Any]:
    """Return the exact body, fitted to the model's schema, with its final seed.

    If the model takes a seed and none was given, one is derived, which makes the image reproducible. It is
    derived from what identifies the job, so that the job can be recognised even if its record is gone.

    :param schema: the model's request schema, None if it is not known.
    :param job: identifies the job: the task, the request, and which of its generations it is.
    """
    extra = values.coerce(schema, request.model_extra or {})
    fixed = {name: getattr(request, name) for name in GenerateRequest.model_fields if name != "image_size"}
    body = {**fixed, **sized(schema, {**extra, "image_size": request.image_size})}
    if request.seed is None and values.takes(schema, "seed"):
        low, high = values.seed_range(schema)
        span = high - low + 1
        body["seed"] = low + int(hashlib.sha256(job.encode()).hexdigest(), 16) % span
    return {name: value for name, value in body.items() if value is not None}


def canonical(value: Any) -> Any:
    """Return a value as the fingerprint uses it: text that a template made of a value equals the value."""
    if isinstance(value, Mapping):
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, str):
        # Only the exact rendering of a number or a boolean counts as one: "007" stays a text.
        number = values.exact_number(value)
        words: dict[str, Any] = {"True": True, "true": True, "False": False, "false": False}
        value = words.get(value, number if str(number) == value else value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
