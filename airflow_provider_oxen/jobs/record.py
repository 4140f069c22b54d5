"""What a task remembers of its paid job, in phases::

    intent → submitted → answered → kept
                 └→ cancelling └→ ended

*intent* is written before the request goes out, so that whoever comes next knows that it may have;
each later phase is written as soon as there is something to remember. Pure: a record is a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_oxen.api.errors import OxenRecordError

__all__ = ["Endpoint", "Phase", "Record", "read"]

Phase = Literal["intent", "submitted", "answered", "kept", "cancelling", "ended"]
Endpoint = Literal["queue", "generate"]


class Record(BaseModel):
    """One job of one task instance.

    :ivar phase: how far it came.
    :ivar nonce: tells this submission from any other.
    :ivar identity: key of the task instance.
    :ivar time: unix seconds of the intent, by the worker's clock.
    :ivar endpoint: where the request went: a job of the queue can be found again.
    :ivar body: the exact body.
    :ivar origin: the hub's scheme, host and port.
    :ivar namespace: who is billed; None for the key's own user.
    :ivar fingerprint: of the request as the user made it.
    :ivar submissions: how often a request was sent for this job, this one included.
    :ivar price: what the catalogue says that one costs, in USD; None where not known.
    :ivar clearing: that of the task when this was written.
    :ivar series: which clearing of which task instance wrote this, where several write to one place.
    :ivar unique: whether the body's seed was drawn for this job, so that no other has it.
    :ivar found: whether the generation was found in the hub's lists, and could be one with the same seed that
        somebody else has asked for.
    :ivar past: ids of earlier generations of this task, which this job is not.
    :ivar items: the answer's images: links, of base64 text only that there was one.
    :ivar model: the hub's word for the model.
    :ivar created: unix seconds by the hub's clock.
    :ivar files: names beside the output that this job writes, or has written.
    :ivar reason: why it ended, in the hub's words.
    :ivar final: whether it would end so again.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    format: Literal["airflow-provider-oxen/job/1"] = "airflow-provider-oxen/job/1"
    phase: Phase
    nonce: str
    identity: str
    time: float
    endpoint: Endpoint
    body: dict[str, Any] = Field(repr=False)
    origin: str
    namespace: str | None = None
    fingerprint: str
    submissions: int = 1
    price: float | None = None
    clearing: int = 1
    series: str | None = None
    unique: bool = False
    found: bool = False
    past: list[str] = Field(default_factory=list)
    generation_id: str | None = None
    submitted_at: float | None = None
    items: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    model: str | None = None
    created: int | None = None
    files: list[str] = Field(default_factory=list)
    status: str | None = None
    reason: str | None = None
    final: bool = False

    def to(self, phase: Phase, **changes: Any) -> Record:
        """Return the record in another phase."""
        return self.model_copy(update={"phase": phase, **changes})

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"format": self.format}

    @property
    def can_be_fetched(self) -> bool:
        """Whether the images can be had, or had again, from the hub: base64 text is in no record."""
        has_links = bool(self.items) and all("url" in item for item in self.items)
        return self.generation_id is not None or has_links

    @property
    def job(self) -> str:
        """The job in a few words, for messages."""
        what = f"a request for {self.body.get('model')}"
        return f"{what}, generation {self.generation_id}" if self.generation_id else what


def read(value: Any, where: str, identity: str) -> Record:
    """Return the record that was written.

    :param value: JSON text, or what became of it.
    :param where: for the message.
    :raises OxenRecordError: where it is damaged, another program's or another task's.
    """
    try:
        value = json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError):
        raise OxenRecordError(_unfit(where, "it is not JSON")) from None
    if not isinstance(value, Mapping) or not str(value.get("format", "")).startswith(
        "airflow-provider-oxen/"
    ):
        raise OxenRecordError(_unfit(where, "this package has not written it"))
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        # Not its text: it quotes the record, and so a link.
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise OxenRecordError(_unfit(where, f"it is damaged, or of a later version ({fields})")) from None
    if record.identity != identity:
        raise OxenRecordError(_unfit(where, "it is another task's, which may be at work there"))
    return record


def _unfit(where: str, problem: str) -> str:
    return (
        f"The record of this task's paid job, {where}, cannot be used: {problem}. An image may have been "
        "paid for, so nothing was sent. Look on the hub what this task has generated; then delete the "
        "record and clear the task."
    )
