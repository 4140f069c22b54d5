"""The hub's requests and answers, as far as they are ours to understand.

Unknown fields of an answer are ignored: the hub may grow. Of a request, only what was set is sent.
"""

from __future__ import annotations

import contextlib
import math
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

__all__ = [
    "HUB_PARAMETERS",
    "Deployment",
    "GenerateAnswer",
    "GenerateRequest",
    "Generation",
    "HistoryPage",
    "ImageItem",
    "Model",
    "User",
    "readable",
]

HUB_PARAMETERS = frozenset(
    {"model", "response_format", "target_namespace", "num_generations", "target_repo", "target_directory"}
)
"""Request fields that are the hub's own and so never stand in a model's request schema."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class GenerateRequest(BaseModel):
    """The body of a generate call; parameters that vary by model stand beside the fixed ones."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str
    prompt: str
    response_format: Literal["url", "b64_json"] = "url"
    target_namespace: str | None = None
    image_size: str | dict[str, int] | None = None
    num_inference_steps: int | None = None
    seed: int | None = None

    def body(self) -> dict[str, Any]:
        """Return the JSON body: every field that was set, and no other."""
        return self.model_dump(exclude_none=True)

    def parameters(self) -> dict[str, Any]:
        """Return the part of the body that a model's request schema describes."""
        return {name: value for name, value in self.body().items() if name not in HUB_PARAMETERS}


def _or_none(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a fact; one of an unknown shape must not cost the paid image that it stands beside."""
    try:
        return read(value)
    except ValueError:
        return None


def _decimal(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Text = Annotated[str | None, WrapValidator(_or_none)]
_Number = Annotated[float | None, WrapValidator(_or_none)]


class ImageItem(_Answer):
    """One image of an answer: a temporary link, or the base64 text of its bytes."""

    url: str | None = Field(default=None, repr=False)
    b64_json: str | None = Field(default=None, repr=False)
    revised_prompt: _Text = None


class GenerateAnswer(_Answer):
    """The answer to a generate call.

    :ivar created: unix seconds, by the hub's clock.
    """

    model: _Text = None
    created: Annotated[int | None, WrapValidator(_or_none)] = None
    images: list[ImageItem]

    @model_validator(mode="before")
    @classmethod
    def _older_shape(cls, data: Any) -> Any:
        if isinstance(data, dict) and "images" not in data and isinstance(data.get("image_url"), str):
            return {**data, "images": [{"url": data["image_url"]}]}
        return data


class Generation(BaseModel):
    """A row of the queue or the history; what was submitted is echoed beside the fixed fields.

    Older servers and the event stream use other names for some of them.

    :ivar status: ``queued``, ``processing``, ``succeeded``, ``failed``, ``cancelled``, or one that the hub
        has added since.
    :ivar result_url: a temporary link, signed anew on each read.
    :ivar enqueued_at: unix seconds by the hub's clock, as are the other times.
    :ivar cost: what was charged, in USD, as decimal text; only the history tells it.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    generation_id: str
    status: str = "unknown"
    model: _Text = Field(default=None, validation_alias=AliasChoices("model_name", "model"))
    prompt: _Text = None
    media_type: _Text = None
    result_url: _Text = Field(default=None, validation_alias=AliasChoices("result_url", "url"), repr=False)
    error_message: _Text = Field(
        default=None, validation_alias=AliasChoices("error_message", "error"), repr=False
    )
    enqueued_at: _Number = None
    started_at: _Number = None
    completed_at: _Number = None
    cost: Annotated[str | None, BeforeValidator(_decimal), WrapValidator(_or_none)] = None

    @property
    def charged(self) -> float | None:
        """What was charged, in USD, as a number."""
        try:
            number = float(self.cost or "nan")
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    def echo(self) -> dict[str, Any]:
        """Return the submitted parameters that the row repeats; null ones were not submitted."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class HistoryPage(_Answer):
    """One page of the history.

    :ivar total_pages: how many there are; None where the hub does not tell.
    """

    generations: list[Generation]
    total_pages: Annotated[int | None, WrapValidator(_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {**data, "generations": readable(data.get("generations"))}
        return data


def readable(rows: Any) -> list[Generation]:
    """Return the rows that name a generation; one odd row must not hide the others.

    :raises ValueError: where it is no list of rows, or none of them can be read.
    """
    if not isinstance(rows, list):
        raise ValueError("the answer holds no list of generations")
    found = []
    for row in rows:
        with contextlib.suppress(ValidationError):
            found.append(Generation.model_validate(row))
    if rows and not found:
        raise ValueError("no row of the list can be read")
    return found


class Deployment(_Answer):
    """Where a custom model runs."""

    status: str = "unknown"


class Model(_Answer):
    """A model of the hub's catalogue, in either layout's words."""

    id: str = Field(validation_alias=AliasChoices("id", "name"))
    display_name: str | None = None
    model_type: str | None = None
    capabilities: dict[str, Any] | None = None
    can_run_inference: bool | None = None
    deprecated: bool | None = None
    deployments: list[Deployment] | None = None
    pricing: dict[str, Any] | None = None
    request_schema: dict[str, Any] | None = Field(
        default=None, validation_alias=AliasChoices("request_schema", "json_request_schema")
    )

    @property
    def outputs(self) -> frozenset[str]:
        """What the model makes: ``image``, ``text``… (``endpoint`` is not reliable)."""
        outputs = (self.capabilities or {}).get("output")
        return frozenset(map(str, outputs)) if isinstance(outputs, list) else frozenset()

    @property
    def obstacle(self) -> str | None:
        """Why the model cannot run now, as a clause, or None.

        A base model runs unless the hub says otherwise; a custom one needs an active deployment
        wherever the hub tells of deployments (the classic layout does not).
        """
        if self.can_run_inference is False:
            return "the hub says it cannot run inference"
        if self.model_type == "custom" and self.deployments is not None:
            states = sorted({deployment.status for deployment in self.deployments})
            if "active" not in states:
                return f"no deployment of this custom model is active (now: {', '.join(states) or 'none'})"
        return None


class User(_Answer):
    """Whose key it is."""

    name: str | None = None
    email: str | None = None
