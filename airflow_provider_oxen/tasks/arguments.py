"""The arguments of the operators that generate images, and of the sensors, read once, after rendering.

The model travels as one value: into the protocol, and through the deferral.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, model_validator  # noqa: TID253 (imported to execute, not to parse)

from airflow_provider_oxen import configuration
from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.images import stores
from airflow_provider_oxen.images.fetch import MAX_BYTES
from airflow_provider_oxen.images.paths import as_text, check_connection
from airflow_provider_oxen.jobs.arguments import (
    Amount,
    Arguments,
    Boolean,
    Name,
    Names,
    OptionalText,
    Seconds,
    Text,
    Timeout,
    one_of,
    or_default,
    text,
    whole,
)
from airflow_provider_oxen.jobs.record import Endpoint
from airflow_provider_oxen.jobs.request import RequestArguments
from airflow_provider_oxen.jobs.task import OnChanged, OnUnknown

__all__ = ["GenerationArguments", "ImageArguments", "ModelArguments", "PlaceArguments", "TaskArguments"]

Validation = Literal["error", "warn", "off"]


class PlaceArguments(Arguments):
    """Where the output goes."""

    storage_path: Annotated[str | None, or_default(lambda value: text(as_text("storage_path", value)))] = None
    storage_conn_id: OptionalText = None


class TaskArguments(PlaceArguments):
    """The arguments that one image and a batch share, beside the request."""

    deferrable: Annotated[bool, PlainValidator(bool)]
    use_queue: Boolean = True
    storage_options: Names = Field(default_factory=dict)
    overwrite: Boolean = False
    validation: Annotated[Validation, one_of(Validation)] = Field("error", alias="validate")
    max_bytes: Annotated[int, or_default(whole(1))] = MAX_BYTES
    max_cost: Amount = None
    poll_interval: Seconds = 3.0
    timeout: Timeout = 3600.0
    on_unknown_outcome: Annotated[OnUnknown, one_of(OnUnknown)] = "fail"
    on_changed_request: Annotated[OnChanged, one_of(OnChanged)] = "fail"
    lookup_grace: Seconds = 60.0
    previews: Boolean = Field(default_factory=configuration.previews)
    oxen_conn_id: Name = "oxen_default"

    @property
    def endpoint(self) -> Endpoint:
        """Where the requests go."""
        return "queue" if self.use_queue else "generate"

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        stores.check(self.storage_options)
        check_connection("storage_path", self.storage_path, "storage_conn_id", self.storage_conn_id)
        return self

    @model_validator(mode="after")
    def _deferred_in_the_queue(self) -> Self:
        if self.deferrable and not self.use_queue:
            raise OxenInvalidRequest(
                "deferrable=True needs the queue: leave use_queue out, or set deferrable=False."
            )
        return self


class ImageArguments(RequestArguments, TaskArguments):
    """The arguments for one image."""

    use_queue: Boolean = Field(default_factory=lambda read: read["deferrable"])
    cancel_on_timeout: Boolean = False
    cancel_on_kill: Boolean = False
    target_repo: OptionalText = None

    @model_validator(mode="after")
    def _saved_by_the_queue(self) -> Self:
        if self.target_repo and not self.use_queue:
            raise OxenInvalidRequest("target_repo is a parameter of the queue: set use_queue=True.")
        return self


class GenerationArguments(Arguments):
    """Arguments of the generation sensor."""

    generation_id: Text
    target_namespace: OptionalText = None
    oxen_conn_id: Name = "oxen_default"


class ModelArguments(Arguments):
    """Arguments of the model sensor."""

    model: Text
    parameters: Names = Field(default_factory=dict)
    fail_fast: Boolean = False
    oxen_conn_id: Name = "oxen_default"
