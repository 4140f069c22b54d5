"""The record of a task's paid job, in phases::

    not_sent ⇄ intent → submitted → answered → kept
                            └→ cancelling └→ ended

A try begins with *not_sent*, and goes back to it if its request is refused. *intent* is written before the
request is sent, so that the next try knows that it may have been. Each later phase is written as soon as
there is something to record. Pure: a record is a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_oxen.api.errors import OxenRecordError
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.api.values import LATEST, unix_seconds, usd, whole_seconds
from airflow_provider_oxen.jobs.sealed import SEALED

__all__ = ["Endpoint", "Phase", "Record", "read"]

_ID = re.compile(r"[^\s/?#%\\\x00-\x1f]{1,200}")
"""The form of a generation's id, which becomes part of a path."""

_MANY, _OFTEN, _LONG = 1_000, 1_000_000, 16_384
"""Most entries of one kind in a record, requests for one image, and characters of a link."""

Phase = Literal["not_sent", "intent", "submitted", "answered", "kept", "cancelling", "ended"]
Endpoint = Literal["queue", "generate"]


def _sum(value: Any) -> float:
    return usd(value) or 0.0


def _redacted(text: str | None) -> str | None:
    # An earlier version may have written the hub's text unredacted.
    return without_queries(text) if text else text


class Record(BaseModel):
    """One job of one task instance.

    :ivar nonce: tells this submission from any other.
    :ivar identity: key of the task instance.
    :ivar time: unix seconds of the intent, by the worker's clock.
    :ivar endpoint: where the request went; a job in the queue can be found again.
    :ivar origin: the hub's scheme, host and port.
    :ivar namespace: who is billed; None for the key's own user.
    :ivar fingerprint: fingerprint of the request as the user made it.
    :ivar number: number of this intent of the task, from 1; 0 if none was written, or in earlier versions.
    :ivar submissions: how many requests for this job may have been billed, including this one; a refused
        request does not count.
    :ivar before: USD that the hub has charged for this task's earlier generations of the same image.
    :ivar counted: USD that the metrics have already counted for this job's image.
    :ivar price: the catalogue's price of one submission, in USD; None if not known.
    :ivar clear_count: the task's ``max_tries`` when this was written.
    :ivar clear_number: how often the Dag run had been cleared by then; None if not known.
    :ivar clear_key: which clearing of which task instance wrote this, if several write to one place.
    :ivar unique: whether the body's seed is this job's own, so that no other task of ours has it.
    :ivar counter: the number from which the seed was derived; None in earlier versions, which drew it at
        random.
    :ivar looked_up: whether the generation was found in the hub's lists by a derived seed, which another
        deployment may have derived, too.
    :ivar found: whether the generation was found in the hub's lists, and may be somebody else's with the same
        seed.
    :ivar past: ids of earlier generations of this task, which are not this job.
    :ivar waits_from: unix seconds from which the timeout counts, if the task was cleared meanwhile.
    :ivar items: the answer's images: links, sealed if no row can give them again; for base64 text only that
        there was one.
    :ivar model: the hub's name for the model.
    :ivar created: unix seconds by the hub's clock.
    :ivar files: names beside the output that this job writes, or has written.
    :ivar unfit: what an earlier try got in place of the image until it gave up: the SHA-256 of the bytes, or
        the name of an error.
    :ivar reason: why it ended, in the hub's words; for an intent, the answer that could not be read.
    :ivar final: whether it would end the same way again.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=(), populate_by_name=True)

    format: Literal["airflow-provider-oxen/job/1"] = "airflow-provider-oxen/job/1"
    phase: Phase
    nonce: str
    identity: str
    time: float = Field(ge=0, lt=LATEST, allow_inf_nan=False)
    endpoint: Endpoint
    body: dict[str, Any] = Field(repr=False)
    origin: str
    namespace: str | None = None
    fingerprint: str
    number: int = Field(default=0, ge=0)
    submissions: int = Field(default=1, ge=0)
    before: Annotated[float, BeforeValidator(_sum)] = 0.0
    counted: Annotated[float, BeforeValidator(_sum)] = 0.0
    price: Annotated[float | None, BeforeValidator(usd)] = None
    clear_count: int = Field(default=1, validation_alias="clearing", serialization_alias="clearing")
    clear_number: int | None = None
    try_number: int | None = None
    clear_key: str | None = Field(default=None, validation_alias="series", serialization_alias="series")
    unique: bool = False
    counter: int | None = None
    looked_up: bool = False
    found: bool = False
    past: list[str] = Field(default_factory=list)
    generation_id: str | None = None
    submitted_at: Annotated[float | None, BeforeValidator(unix_seconds)] = None
    waits_from: Annotated[float | None, BeforeValidator(unix_seconds)] = None
    items: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    model: str | None = None
    created: Annotated[int | None, BeforeValidator(whole_seconds)] = None
    files: list[str] = Field(default_factory=list)
    unfit: str | None = None
    status: str | None = None
    reason: Annotated[str | None, AfterValidator(_redacted)] = None
    final: bool = False

    def to(self, phase: Phase, **changes: Any) -> Record:
        """Return the record in another phase."""
        return self.model_copy(update={"phase": phase, **changes})

    def ended(self, status: str, reason: str, *, final: bool) -> Record:
        """Return the record of a job that gives no image.

        :param final: whether it would end the same way again.
        """
        return self.to("ended", items=[], status=status, reason=reason[:500] or None, final=final)

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON, without the links that the generation's row can give again.

        A link gives access as long as it works, and Airflow shows a record to everybody who may see the task.
        """
        left_out = {"items"} if self.generation_id is not None else None
        facts = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=left_out)
        return facts | {"format": self.format}

    @property
    def since(self) -> float:
        """The time from which the timeout counts, in unix seconds."""
        return self.waits_from or self.submitted_at or self.time

    @property
    def order(self) -> int:
        """The number of this intent. Earlier versions counted only submissions."""
        return self.number or self.submissions

    @property
    def is_over(self) -> bool:
        """Whether the try that wrote this ended in a way that Airflow would not retry."""
        if self.phase == "kept" or (self.phase == "ended" and (self.final or self.status == "cancelled")):
            return True
        return self.try_number is not None and self.try_number > self.clear_count

    @property
    def may_be_cancelled(self) -> bool:
        """Whether the generation certainly belongs to this task."""
        return not (self.found or self.looked_up)

    @property
    def can_be_fetched(self) -> bool:
        """Whether the images can be fetched (again) from the hub; base64 text is in no record."""
        has_links = bool(self.items) and all("url" in item or SEALED in item for item in self.items)
        return self.generation_id is not None or has_links

    @property
    def is_in_vain(self) -> bool:
        """Whether a whole try has requested the only links to its images without getting any."""
        return self.phase == "answered" and self.generation_id is None and self.unfit is not None

    @property
    def job(self) -> str:
        """The job in a few words, for messages."""
        what = f"a request for {self.body['model']}" if "model" in self.body else "a request"
        return f"{what}, generation {self.generation_id}" if self.generation_id else what

    @property
    def subject(self) -> str:
        """The job as the first words of a sentence."""
        return self.job[0].upper() + self.job[1:]


def read(value: Any, where: str, identity: str) -> Record:
    """Return the record that was written.

    :param value: JSON text, or its value.
    :raises OxenRecordError: if it is damaged, or belongs to another program or task.
    """
    try:
        # An object from a store may also hold halves of surrogate pairs.
        value = loads(value if isinstance(value, str | bytes) else json.dumps(value))
    except (ValueError, TypeError, RecursionError):
        raise _unfit(where, "it is not JSON, or too long") from None
    if not isinstance(value, Mapping) or not str(value.get("format", "")).startswith(
        "airflow-provider-oxen/"
    ):
        raise _unfit(where, "this package did not write it")
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        # Do not show its text: it quotes the record, and so a link.
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise _unfit(where, f"it is damaged, or of a later version ({fields})") from None
    if record.identity != identity:
        raise _unfit(where, "it belongs to another task, which may be running")
    if problem := _oddity(record):
        raise _unfit(where, f"{problem}, which this package did not write")
    return record


def _oddity(record: Record) -> str | None:
    """Return, as a clause, what cannot be in a record of ours: others may have altered it."""
    ids = [record.generation_id, *record.past] if record.generation_id else record.past
    if len(ids) > _MANY or not all(_ID.fullmatch(id) for id in ids):
        return "its generation id is not valid"
    if len(record.files) > _MANY or not all(map(_is_file, record.files)):
        return "it names a file that cannot be in the folder"
    if len(record.items) > _MANY or not all(map(_is_item, record.items)):
        return "an image in it is neither a link nor text"
    if not 0 <= record.submissions <= _OFTEN or not 0 <= record.number <= _OFTEN:
        return "its number of requests is impossible"
    return None


def _is_item(item: Mapping[str, Any]) -> bool:
    if SEALED in item:
        # It is longer than the link by a third.
        return isinstance(item[SEALED], str) and len(item[SEALED]) <= 2 * _LONG
    url = item.get("url")
    return isinstance(url, str) and len(url) <= _LONG if "url" in item else item == {"b64_json": True}


def _is_file(name: str) -> bool:
    return name not in ("", ".", "..") and len(name) <= _LONG and not re.search(r"[/\\\x00-\x1f]", name)


def _unfit(where: str, problem: str) -> OxenRecordError:
    return OxenRecordError(
        f"The record of this task's paid job, {where}, cannot be used: {problem}.",
        remedy="Check on the hub what this task has generated; then delete the record and clear the task.",
    )
