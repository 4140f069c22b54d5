"""The hub's requests and answers, as far as this package uses them.

Unknown fields of an answer are ignored, since the hub may grow. A request sends only the fields that were
set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
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

from airflow_provider_oxen.api import rows
from airflow_provider_oxen.api.items import images_of, item_of
from airflow_provider_oxen.api.redact import scrub, without_queries
from airflow_provider_oxen.api.values import unix_seconds, usd, whole_seconds

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
    "parameters",
    "readable",
]

HUB_PARAMETERS = frozenset(
    {"model", "response_format", "target_namespace", "num_generations", "target_repo", "target_directory"}
)
"""Request fields of the hub itself; they are never part of a model's request schema."""


MOST_IMAGES = 100
"""How many images of one answer are read; the hub makes at most 12."""

MOST_ROWS = 50_000
"""How many rows of one answer are read: a page of the history has 1000, and the queue's list has no pages."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class GenerateRequest(BaseModel):
    """The body of a generate call. Parameters that depend on the model stand beside the fixed ones."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str
    prompt: str
    response_format: Literal["url", "b64_json"] = "url"
    target_namespace: str | None = None
    image_size: str | dict[str, int] | None = None
    num_inference_steps: int | None = None
    seed: int | None = None

    def body(self) -> dict[str, Any]:
        """Return the JSON body: only the fields that were set."""
        return self.model_dump(exclude_none=True)


def parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a request's body that a model's request schema describes."""
    return {name: value for name, value in body.items() if name not in HUB_PARAMETERS}


def _or_none(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a value; return None if its shape is unknown, so that the paid image beside it is not lost."""
    try:
        return read(value)
    except ValueError:
        return None


def _decimal(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _id(value: Any) -> Any:
    if not rows.is_id(value):
        raise ValueError("no id of a generation")
    return value


def _redacted(value: Any) -> Any:
    return without_queries(value) if isinstance(value, str) else value


_Text = Annotated[str | None, WrapValidator(_or_none)]
_Said = Annotated[_Text, BeforeValidator(_redacted)]
"""A text that only people read, without the queries of its URLs."""

_Odd = WrapValidator(_or_none)
"""For facts about a model: a value of another type counts as unknown, and the others are kept."""

_Name = Annotated[_Text, BeforeValidator(lambda value: scrub(value) if isinstance(value, str) else value)]
"""A name by which requests are recognised: kept whole, except for a key in it."""

_Moment = Annotated[float | None, BeforeValidator(unix_seconds)]
_Verdict = Annotated[bool | None, BeforeValidator(lambda value: value if isinstance(value, bool) else None)]


class ImageItem(_Answer):
    """One image of an answer: a temporary link, or the base64 text of its bytes."""

    url: str | None = Field(default=None, repr=False)
    b64_json: str | None = Field(default=None, repr=False)
    revised_prompt: _Said = None

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        return item_of(data) or data


class GenerateAnswer(_Answer):
    """The answer to a generate call.

    :ivar created: unix seconds, by the hub's clock.
    :ivar images: the images that can be read.
    :ivar unread: how many items were not read: neither a link nor base64 text, or beyond ``MOST_IMAGES``.
    """

    model: _Name = None
    created: Annotated[int | None, BeforeValidator(whole_seconds)] = None
    images: list[ImageItem]
    unread: int = 0

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        found = images_of(data)
        facts = data if isinstance(data, Mapping) else {}
        images = list(filter(None, found))
        unread = found.count(None) + len(images[MOST_IMAGES:])
        return {**facts, "images": images[:MOST_IMAGES], "unread": unread}


class Generation(BaseModel):
    """A row of the queue or the history. Submitted parameters are echoed beside the fixed fields.

    Older servers and the event stream use other names for some of the fields.

    :ivar status: ``queued``, ``processing``, ``succeeded``, ``failed``, ``cancelled``, or one that the hub
        has added since; see :mod:`.statuses`.
    :ivar result_url: a temporary link.
    :ivar error_retryable: whether the hub says that the failure may pass; None if it does not say.
    :ivar enqueued_at: unix seconds by the hub's clock, like the other times.
    :ivar cost: the charge in USD, as decimal text; only the history has it.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    generation_id: Annotated[str, AfterValidator(_id)]
    status: str = "unknown"
    model: _Name = Field(default=None, validation_alias=AliasChoices("model_name", "model"))
    prompt: _Text = None
    media_type: _Said = None
    result_url: _Text = Field(default=None, repr=False)
    error_message: _Text = Field(default=None, repr=False)
    error_retryable: _Verdict = None
    enqueued_at: _Moment = None
    started_at: _Moment = None
    completed_at: _Moment = None
    cost: Annotated[str | None, BeforeValidator(_decimal), WrapValidator(_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        return rows.normalize_row(data) if isinstance(data, Mapping) else data

    @property
    def charged(self) -> float | None:
        """The charge in USD, as a number."""
        return usd(self.cost)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Echoed parameters may hold links: keep them out of logs.
        return ((name, value) for name, value in super().__repr_args__() if name in type(self).model_fields)

    def echo(self) -> dict[str, Any]:
        """Return the submitted parameters that the row repeats. Null ones were not submitted."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class HistoryPage(_Answer):
    """One page of the history.

    :ivar total_pages: the number of pages; None if the hub does not say.
    """

    generations: list[Generation]
    total_pages: Annotated[int | None, WrapValidator(_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, data: Any) -> Any:
        facts = data if isinstance(data, Mapping) else {}
        return {**facts, "generations": readable(data)}


def readable(answer: Any) -> list[Generation]:
    """Return the rows of an answer that name a generation; one odd row must not hide the others.

    :raises ValueError: if the answer is no list of rows, is too long, or none of its rows can be read.
    """
    listed = rows.list_of(answer)
    if listed is None:
        raise ValueError("the answer holds no list of generations")
    if len(listed) > MOST_ROWS:
        raise ValueError(f"its list has more than the {MOST_ROWS:,} rows that are read")
    found = []
    for row in listed:
        with contextlib.suppress(ValidationError):
            found.append(Generation.model_validate(row))
    if listed and not found:
        raise ValueError("no row of the list can be read")
    return found


class Deployment(_Answer):
    """A deployment of a custom model."""

    status: str = "unknown"


class Model(_Answer):
    """A model in the hub's catalogue, from either path layout."""

    id: str = Field(validation_alias=AliasChoices("id", "name"))
    display_name: _Text = None
    model_type: _Text = None
    capabilities: Annotated[dict[str, Any] | None, _Odd] = None
    can_run_inference: Annotated[bool | None, _Odd] = None
    deprecated: Annotated[bool | None, _Odd] = None
    deployments: Annotated[list[Deployment] | None, _Odd] = None
    pricing: Annotated[dict[str, Any] | None, _Odd] = None
    request_schema: Annotated[dict[str, Any] | None, _Odd] = Field(
        default=None, validation_alias=AliasChoices("request_schema", "json_request_schema")
    )

    @property
    def outputs(self) -> frozenset[str]:
        """What the model makes: ``image``, ``text``… (the hub's field ``endpoint`` is not reliable)."""
        outputs = (self.capabilities or {}).get("output")
        return frozenset(map(str, outputs)) if isinstance(outputs, list) else frozenset()

    @property
    def obstacle(self) -> str | None:
        """Why the model cannot run now, as a clause, or None.

        A base model runs unless the hub says otherwise. A custom model needs an active deployment if the hub
        lists deployments (the classic layout does not).
        """
        if self.can_run_inference is False:
            return "the hub says it cannot run inference"
        if self.is_undeployed:
            states = sorted({deployment.status for deployment in self.deployments or ()})
            return f"no deployment of this custom model is active (now: {', '.join(states) or 'none'})"
        return None

    @property
    def is_undeployed(self) -> bool:
        """Whether this is a custom model of which the hub tells no active deployment."""
        if self.model_type != "custom" or self.deployments is None:
            return False
        return "active" not in {deployment.status for deployment in self.deployments}


class User(_Answer):
    """The user to whom the key belongs."""

    name: _Said = Field(default=None, validation_alias=AliasChoices("username", "name"))
    email: _Said = None
