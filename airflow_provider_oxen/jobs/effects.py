"""What the protocol needs done: every action that touches the outside world, or can fail; and its results.

:mod:`.resolve` and :mod:`.complete` decide, and await one of these methods for each action. A task in its
worker, the rows of a batch, and the simulation (where each action may be the last) each have an
implementation. Pace, budget and claims are wrappers around another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from airflow_provider_oxen.api.errors import OxenImageError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.record import Record

__all__ = ["Accepted", "Effects", "End", "Prepared", "Remade", "Status", "is_about_credits", "is_final"]

Status = Literal["succeeded", "failed", "cancelled", "timed_out", "unknown", "unreachable"]
"""How waiting ends. ``unknown``: the hub does not know the id. ``unreachable``: the hub could not be
asked."""

_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)

_FINAL = re.compile(
    r"moderat|content[ _-]?policy|policy[ _-]violation|nsfw|flagged|safety|sensitive[ _-]?content|prohibited"
    r"|data[ _-]?inspection|net check failed|forbidden|\b4(0[023]|13|22)\b|invalid[_ ]param",
    re.IGNORECASE,
)
"""Words of failures that would repeat: seen on the live hub, in its documentation, and in its models'
messages."""


class Prepared(NamedTuple):
    """A request that is ready to be sent.

    :ivar body: exact and final.
    :ivar price: of one submission in USD, None if not known.
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
    """The hub's answer to an accepted request: an id in the queue, or the images."""

    generation_id: str | None = None
    items: Sequence[dict[str, Any]] = ()
    model: str | None = None
    created: int | None = None


class End(NamedTuple):
    """How waiting for a generation ended.

    :ivar message: the hub's reason, or ours; never with a signed URL or the key.
    :ivar retryable: for a failure: whether the hub says that it may pass; None if it does not say.
    """

    status: Status
    message: str = ""
    retryable: bool | None = None

    @property
    def final(self) -> bool:
        """Whether a failed generation would fail again."""
        return is_final(self.message, self.retryable)


class Effects(Protocol):
    """What one try can do. Each method raises an :class:`~.errors.OxenError` if it fails."""

    async def write(self, record: Record) -> None:
        """Overwrite the record; write an intent only if nobody else has written one.

        Like :meth:`close`, it does nothing if the task has no place for a record.

        :raises OxenOvertaken: if another try has written since.
        """

    async def close(self, record: Record) -> None:
        """Write the record of a finished job in its last form."""

    async def prepare(self, counter: int) -> Prepared:
        """Return the request, checked against the model, with its final seed.

        :param counter: number for deriving the seed; a different one for each generation that the task is to
            have.
        """
        ...

    async def remake(self, counter: int) -> Remade:
        """Return the request that :meth:`prepare` makes from the arguments, without any check."""
        ...

    async def send(self, record: Record) -> Accepted:
        """Send the request of the record, once.

        Right before the first byte, the record is read back and must be this one, and this try must be the
        one that Airflow runs.

        :raises OxenRefused: if the request provably was not accepted.
        :raises OxenOvertaken: if it was not sent because another try is running.
        :raises OxenOutcomeUnknown: if it is not known whether it was accepted.
        """
        ...

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        """Return the rows of the hub's queue, and then of its whole history.

        Rows that :func:`.evidence.is_candidate` rejects for all of the records may be left out.

        :param others: what may have been sent instead.
        """
        ...

    async def row(self, generation_id: str) -> Generation | None:
        """Return the generation's row, or None if the hub says that it does not know it."""

    async def pause(self, seconds: float) -> float:
        """Wait, and return the time after it in unix seconds."""
        ...

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        """Wait for an image that is not there yet.

        :return: whether to ask for it again now; otherwise the next try does.
        """
        ...

    async def wait(self, record: Record) -> End:
        """Wait until the record's generation has ended."""
        ...

    async def cancel(self, generation_id: str) -> None:
        """Ask the hub to cancel the generation. One that has ended stays as it is."""

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        """Fetch and keep the images of the record; return its last form, and the result.

        :param same: SHA-256 of what came in place of an image again and again; the same bytes are kept as
            rejected.
        :raises OxenImageError: if the images cannot be fetched, or are no images.
        """
        ...


def is_final(reason: str | None, retryable: bool | None = None) -> bool:
    """Return whether a failed generation would fail again: credits, moderation, parameters.

    The hub's own verdict takes precedence over its message. A failure with unknown words is not final.

    :param retryable: ``error_retryable`` of the row.
    """
    if retryable is not None:
        return not retryable
    return is_about_credits(reason) or bool(_FINAL.search(reason or ""))


def is_about_credits(reason: str | None) -> bool:
    """Return whether a generation failed for lack of credits."""
    return bool(_CREDITS.search(reason or ""))
