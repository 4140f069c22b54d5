"""What the protocol asks of whoever drives it: everything that is not thought but done.

A step is a plain value. The driver carries it out, sends back what came of it, or throws the error
into the generator that asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_oxen.jobs.record import Record

__all__ = [
    "Accepted",
    "Cancel",
    "Close",
    "Create",
    "Delete",
    "Keep",
    "Look",
    "Pause",
    "Prepare",
    "Prepared",
    "Read",
    "Row",
    "Send",
    "Step",
    "Wait",
    "Write",
]


class Prepared(NamedTuple):
    """A request that is ready to be sent.

    :ivar body: exact and final.
    :ivar price: of one submission in USD, None where not known.
    :ivar now: unix seconds.
    :ivar unique: whether the seed was drawn for this very request.
    """

    body: dict[str, Any]
    price: float | None
    now: float
    unique: bool = False


class Accepted(NamedTuple):
    """What the hub answered to a request that it took: an id of the queue, or the images."""

    generation_id: str | None = None
    items: Sequence[dict[str, Any]] = ()
    model: str | None = None
    created: int | None = None


@dataclass(frozen=True)
class Read:
    """Give the record, or None where there is none. "Could not read" raises."""


@dataclass(frozen=True)
class Create:
    """Write the record where there is none; where there is one, leave it."""

    record: Record


@dataclass(frozen=True)
class Write:
    """Write the record over the one that is there."""

    record: Record


@dataclass(frozen=True)
class Delete:
    """Take the record away."""


@dataclass(frozen=True)
class Prepare:
    """Give the request, :class:`Prepared`: checked against the model, with its seed settled."""


@dataclass(frozen=True)
class Send:
    """Send the request of the record, once, and give :class:`Accepted`.

    Raises OxenRefused where it provably was not accepted, OxenOutcomeUnknown where that is not known.
    """

    record: Record


@dataclass(frozen=True)
class Look:
    """Give the rows of the hub's queue, and then of its whole history.

    Those that :func:`.evidence.may_matter` sorts out may be left out.
    """

    record: Record


@dataclass(frozen=True)
class Row:
    """Give the generation's row, or None where the hub says that it does not know it."""

    generation_id: str


@dataclass(frozen=True)
class Pause:
    """Wait for some seconds and give the time after it, in unix seconds."""

    seconds: float


@dataclass(frozen=True)
class Wait:
    """Wait until the record's generation has ended, and give the :class:`~.polling.End`."""

    record: Record


@dataclass(frozen=True)
class Cancel:
    """Ask the hub to cancel the generation. One that has ended stays as it is."""

    generation_id: str


@dataclass(frozen=True)
class Keep:
    """Fetch and keep the images of the record, and give the result; raises OxenImageError."""

    record: Record


@dataclass(frozen=True)
class Close:
    """Write the record, whose job is done, in its last form."""

    record: Record


Step = Read | Create | Write | Delete | Prepare | Send | Look | Row | Pause | Wait | Cancel | Keep | Close
