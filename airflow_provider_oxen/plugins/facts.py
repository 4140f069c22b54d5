"""The facts that tasks have pushed, read as a stranger's word, and added up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints

from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.images.pages import money

__all__ = ["LARGEST", "Facts", "Failure", "Totals", "read", "read_facts"]

Shape = TypeVar("Shape", bound=BaseModel)

LARGEST = 128 * 1024
"""Bytes of such an XCom that is read: five times what the largest of ours has."""

_Text = Annotated[str, StringConstraints(max_length=4000)]
_Cost = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, lt=2**53)]


class Failure(BaseModel):
    """A row of a batch that gave no image."""

    line: _Whole = 0
    id: _Text = ""
    status: Literal["failed", "unknown"] = "failed"
    prompt: _Text = ""
    error: _Text = ""
    cost: _Cost | None = None


class Facts(BaseModel):
    """What a task says of itself, as :mod:`~airflow_provider_oxen.tasks.facts` pushes it.

    :ivar uncounted: whether it is a batch that failed before it could count its prompts.
    :ivar index: path of a batch's contact sheet.
    :ivar console: whether that is known to be in the web console of its store.
    """

    total: _Whole = 0
    generated: _Whole = 0
    reused: _Whole = 0
    failed: _Whole = 0
    unknown: _Whole = 0
    not_sent: _Whole = 0
    cost: _Cost = 0.0
    cost_unknown: _Whole = 0
    spent: Literal["no", "unknown", "yes"] | None = None
    error: _Text | None = None
    uncounted: bool = False
    index: _Text | None = None
    console: bool = False
    failures: list[Failure] = Field(default_factory=list, max_length=100)

    @property
    def paid(self) -> str:
        """Whether money was spent, in words."""
        if self.cost or self.spent == "yes":
            return f"Paid {money(self.cost)}" if self.cost else "Paid"
        if self.spent == "unknown" or self.unknown or self.cost_unknown:
            return "Perhaps paid"
        return "Nothing spent"


class Totals(BaseModel):
    """The sums of some tasks.

    :ivar open: tasks that are under way.
    :ivar uncounted: tasks that ended and pushed no facts: an older version ran them.
    :ivar batches: that failed before they could count their prompts.
    """

    generated: int = 0
    reused: int = 0
    failed: int = 0
    unknown: int = 0
    open: int = 0
    cost: float = 0.0
    cost_unknown: int = 0
    uncounted: int = 0
    batches: int = 0

    @classmethod
    def of(cls, tasks: Iterable[tuple[str, Facts | None]]) -> Totals:
        """Add up.

        :param tasks: for each its kind, as :class:`.tiles.Tile` has it, and its facts.
        """
        sums = cls()
        for kind, facts in tasks:
            sums.open += kind == "open"
            if facts is None:
                sums.failed += kind == "failed"
                sums.uncounted += kind == "none"
                continue
            sums.batches += facts.uncounted and kind != "open"
            sums.generated += facts.generated
            sums.reused += facts.reused
            sums.cost += facts.cost
            sums.cost_unknown += facts.cost_unknown
            if kind != "open":
                # While a batch waits, its rows count as unknown; a failed try may be followed by another.
                sums.failed += facts.failed
                sums.unknown += facts.unknown
        return sums


def read_facts(value: Any) -> Facts | None:
    """Return what was pushed, None where it is not of the known shape."""
    return read(Facts, value, longest=LARGEST, many=5_000)


def read(shape: type[Shape], value: Any, *, longest: int, many: int) -> Shape | None:
    """Return an XCom's value, None where it is not of the known shape.

    :param value: as the database holds it: an object or, from most of Airflow's ways to push one, its JSON.
    :param longest: most characters of the JSON.
    :param many: most values in it.
    """
    try:
        return shape.model_validate(
            loads(value, longest=longest, many=many) if isinstance(value, str) else value
        )
    except (ValueError, RecursionError):
        return None
