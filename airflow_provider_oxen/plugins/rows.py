"""A task instance as the Images view knows it, and what it pushed, read as a stranger's word. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field, StringConstraints

from airflow_provider_oxen.plugins.facts import Facts, read, read_facts
from airflow_provider_oxen.tasks.xcoms import MAX_IMAGES

__all__ = ["LONGEST", "Image", "Pushed", "Row", "order_of", "read_images"]

LONGEST = 4 * 1024 * 1024
"""Bytes of an XCom that is read: ten times what the largest of ours has."""

VALUES = 10_000
"""Values in an XCom that is read."""

_STATES = {
    None: ("open", "Not begun"),
    "scheduled": ("open", "Scheduled"),
    "queued": ("open", "Queued"),
    "running": ("open", "Running"),
    "deferred": ("open", "Waiting for the hub"),
    "up_for_retry": ("open", "Failed, will be tried again"),
    "up_for_reschedule": ("open", "Waiting"),
    "restarting": ("open", "Restarting"),
    "success": ("none", "Done"),
    "failed": ("failed", "Failed"),
    "upstream_failed": ("failed", "Not run: a task before it failed"),
    "skipped": ("none", "Skipped"),
    "removed": ("none", "Removed"),
}
"""What is shown of a task instance without images, as :class:`.tiles.Tile` has it, and its state in words."""

_ORDER = {"failed": 0, "open": 1}

_Text = Annotated[str, StringConstraints(max_length=4000)]
_Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, lt=2**63)]


class Image(BaseModel):
    """An image, as :mod:`~airflow_provider_oxen.tasks.xcoms` pushes it."""

    id: _Text | None = None
    prompt: _Text | None = None
    model: _Text | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    cost: _Number | None = None
    status: Literal["generated", "reused", "failed", "unknown"] | None = None
    width: _Whole | None = None
    height: _Whole | None = None
    bytes: _Whole | None = None
    path: _Text | None = None
    error: _Text | None = None
    request: dict[str, Any] | None = None
    preview: Annotated[str, StringConstraints(max_length=20_000)] | None = None


class Pushed(BaseModel):
    """The XCom with the images of a task.

    :ivar console: whether the files are in the store that their paths name, and so in its web console: not in
        MinIO, or in another store behind an endpoint of your own.
    """

    total: _Whole
    images: list[Image] = Field(max_length=MAX_IMAGES)
    console: bool = True


@dataclass(frozen=True)
class Row:
    """A task instance.

    :ivar state: Airflow's word; None before it is scheduled.
    :ivar since: when its try began.
    :ivar run_after: of its run.
    :ivar value: of its XCom with the facts, as the database holds it; None where there is none.
    """

    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int = 0
    since: datetime | None = None
    run_after: datetime | None = None
    value: Any = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What names it within its Dag."""
        return self.run_id, self.task_id, self.map_index

    @cached_property
    def facts(self) -> Facts | None:
        """What it says of itself, if it does."""
        return read_facts(self.value)

    @property
    def kind(self) -> str:
        """``open``, ``failed`` or ``none``, whatever images it has."""
        return _STATES.get(self.state, ("open", ""))[0]

    @property
    def words(self) -> str:
        """Its state in words."""
        return _STATES.get(self.state, ("", str(self.state)))[1]

    @property
    def order(self) -> int:
        """Where it stands in its run; see :func:`order_of`."""
        facts = self.facts
        if self.kind == "none" and facts and (facts.failed or facts.unknown):
            return order_of("failed")
        return order_of(self.kind)

    @property
    def task(self) -> str:
        """Its name; of a mapped task with its index."""
        return self.task_id if self.map_index < 0 else f"{self.task_id} [{self.map_index}]"

    @property
    def href(self) -> str:
        """Its page with its log, relative to its Dag's."""
        run, task = quote(self.run_id, safe=""), quote(self.task_id, safe="")
        mapped = "" if self.map_index < 0 else f"/mapped/{self.map_index}"
        return f"runs/{run}/tasks/{task}{mapped}"


def order_of(kind: str) -> int:
    """Return where a kind of task or tile stands in its run: failures first, then what is under way."""
    return _ORDER.get(kind, len(_ORDER))


def read_images(value: Any) -> Pushed | None:
    """Return what was pushed, None where it is not of the known shape."""
    return read(Pushed, value, longest=LONGEST, many=VALUES)
