"""The arguments of the batch operator, read once, after rendering."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator, ValidationInfo, model_validator

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.catalogue.values import exact_number
from airflow_provider_oxen.images import names
from airflow_provider_oxen.images.paths import as_text, check_connection, own_connection
from airflow_provider_oxen.jobs.arguments import (
    Boolean,
    Number,
    OptionalText,
    Unfit,
    is_unset,
    one_of,
    or_default,
    text,
    whole,
)
from airflow_provider_oxen.jobs.plain import plain
from airflow_provider_oxen.jobs.request import RequestArguments
from airflow_provider_oxen.tasks.arguments import TaskArguments

__all__ = ["BatchArguments"]

MOST_IN_FLIGHT = 512
"""Upper limit of ``max_in_flight``. Each request uses a connection, and there are others; most systems let a
process open 1,024 files."""

OnError = Literal["fail", "continue"]


def _folder(value: Any) -> str:
    path = as_text("storage_path", value)
    if is_unset(path):
        raise OxenInvalidRequest(
            "A batch needs a storage_path, the folder of its images; a list of prompts is a batch."
        )
    path = text(path)
    # It is a folder with or without a slash at its end: no batch fits into one file.
    folder, _ = names.locate(path if path.endswith("/") else f"{path}/", "storage_path")
    return folder


def _file(prompts: Any) -> str | None:
    """Return the path of the file of prompts; None for a list, or its JSON."""
    prompts = as_text("prompts", prompts)
    return prompts if isinstance(prompts, str) and not prompts.lstrip().startswith("[") else None


def _in_flight(value: Any) -> int:
    count = whole(1)(value)
    if count > MOST_IN_FLIGHT:
        raise Unfit(f"must be at most {MOST_IN_FLIGHT}")
    return count


def _failures(value: Any) -> int | float:
    words = value.strip() if isinstance(value, str) else ""
    number: Any = exact_number(words.removesuffix("%").strip()) if words else value
    if isinstance(number, int | float) and not isinstance(number, bool) and number >= 0:
        if words.endswith("%"):
            if number <= 100:
                return number / 100
        elif isinstance(number, int) or number <= 1:
            return number
    raise Unfit("must be a count such as 10, or a share such as 0.05 or '5%'")


def _plain(value: Any, info: ValidationInfo) -> Any:
    return plain(str(info.field_name), value)


_Default = Annotated[Any, PlainValidator(_plain)]
"""Defaults for the rows: read again with each of them."""


class BatchArguments(TaskArguments):
    """The arguments of a batch.

    :ivar storage_path: the folder, as :func:`~.storage.open_folder` takes it.
    :ivar prompts: path of the file of prompts; None for a list, whose rows are in the batch's record.
    :ivar max_failures: how many prompts may fail: a count, or as a float a share of all.
    """

    storage_path: Annotated[str, PlainValidator(_folder)]
    prompts: Annotated[str | None, PlainValidator(_file)]
    prompts_conn_id: OptionalText = None
    model: _Default = None
    response_format: _Default = "url"
    image_size: _Default = None
    num_inference_steps: _Default = None
    seed: _Default = None
    target_namespace: _Default = None
    model_params: _Default = None
    max_in_flight: Annotated[int, or_default(_in_flight)] = 8
    requests_per_minute: Number = None
    allow_unknown_price: Boolean = False
    on_error: Annotated[OnError, one_of(OnError)] = "fail"
    max_failures: Annotated[int | float | None, or_default(_failures)] = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        check_connection("prompts", self.prompts, "prompts_conn_id", self.prompts_conn_id)
        if self.max_failures is not None and self.on_error == "fail":
            raise OxenInvalidRequest(
                "max_failures is for on_error='continue': with 'fail' the first one ends it."
            )
        return self

    @property
    def source_conn_id(self) -> str | None:
        """The Airflow connection of the store of the prompts."""
        return own_connection(self.prompts) or self.prompts_conn_id or self.storage_conn_id

    @property
    def defaults(self) -> dict[str, Any]:
        """The request's fields that are the rows' defaults."""
        return {name: getattr(self, name) for name in RequestArguments.model_fields if name != "prompt"}

    def most_failures(self, prompts: int) -> int | None:
        """Return how many of so many prompts may fail; None for any number."""
        most = self.max_failures
        return math.floor(most * prompts + 1e-9) if isinstance(most, float) else most

    def as_json(self) -> dict[str, Any]:
        """Return the arguments by name as plain JSON, without a list of prompts."""
        return self.model_dump(by_alias=True, exclude=None if self.prompts else {"prompts"})
