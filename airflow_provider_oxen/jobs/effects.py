"""What the protocol needs done: everything in it that touches the world, or can fail.

:mod:`.resolve` and :mod:`.complete` decide, and await one of these for each thing to be done. A task in its
worker, the rows of a batch and the simulation, where each of them may be the last, bring their own; pace,
budget and claims are wrappers of another one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from airflow_provider_oxen.api.errors import OxenImageError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.ending import End
from airflow_provider_oxen.jobs.record import Record

__all__ = ["Accepted", "Effects", "Prepared", "Remade"]


class Prepared(NamedTuple):
    """A request that is ready to be sent.

    :ivar body: exact and final.
    :ivar price: of one submission in USD, None where not known.
    :ivar now: unix seconds.
    :ivar unique: whether the seed was derived for this very request.
    """

    body: dict[str, Any]
    price: float | None
    now: float
    unique: bool = False


class Remade(NamedTuple):
    """A request as it was, or would have been, sent; see :class:`Prepared`."""

    body: dict[str, Any]
    unique: bool = False


class Accepted(NamedTuple):
    """What the hub answered to a request that it took: an id of the queue, or the images."""

    generation_id: str | None = None
    items: Sequence[dict[str, Any]] = ()
    model: str | None = None
    created: int | None = None


class Effects(Protocol):
    """What one try can do. Each method raises an :class:`~.errors.OxenError` where it fails."""

    async def write(self, record: Record) -> None:
        """Write the record over the one that is there; an intent where nobody else has written one.

        :raises OxenOvertaken: where another try has written since.
        """

    async def close(self, record: Record) -> None:
        """Write the record, whose job is done, in its last form."""

    async def prepare(self, counter: int) -> Prepared:
        """Return the request: checked against the model, with its seed settled.

        :param counter: to derive the seed with: another one for each generation that the task is to have.
        """
        ...

    async def remake(self, counter: int) -> Remade:
        """Return the request that the arguments make, as :meth:`prepare` does, and check nothing."""
        ...

    async def send(self, record: Record) -> Accepted:
        """Send the request of the record, once.

        Last before the first byte, the record is read back and found to be this one, and the try to be the
        one that Airflow runs.

        :raises OxenRefused: where it provably was not accepted.
        :raises OxenOvertaken: where it was not sent because another try is at work.
        :raises OxenOutcomeUnknown: where it is not known whether it was accepted.
        """
        ...

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        """Return the rows of the hub's queue, and then of its whole history.

        Those that :func:`.evidence.is_candidate` sorts out for all of the records may be left out.

        :param others: what may have been sent instead.
        """
        ...

    async def row(self, generation_id: str) -> Generation | None:
        """Return the generation's row, or None where the hub says that it does not know it."""

    async def pause(self, seconds: float) -> float:
        """Wait, and return the time after it, in unix seconds."""
        ...

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        """Wait for an image that is not there yet.

        :return: whether to ask for it again now: else the next try does.
        """
        ...

    async def wait(self, record: Record) -> End:
        """Wait until the record's generation has ended."""
        ...

    async def cancel(self, generation_id: str) -> None:
        """Ask the hub to cancel the generation. One that has ended stays as it is."""

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        """Fetch and keep the images of the record; return its last form, and the result.

        :param same: sha256 of what came in an image's place again and again: the same bytes are kept as
            rejected.
        :raises OxenImageError: where they cannot be had, or are none.
        """
        ...
