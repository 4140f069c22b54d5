"""What a batch has spent, and may spend: one budget for all its prompts, on the event loop of their rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_oxen.api.errors import OxenBudgetError

__all__ = ["Budget", "Sums", "exact"]


class Sums(BaseModel):
    """What a task has spent.

    :ivar spent: USD.
    :ivar held: USD that count against ``max_cost``.
    :ivar spent_unknown: submissions whose cost is not known.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    spent: float = Field(0.0, ge=0, allow_inf_nan=False)
    held: float = Field(0.0, ge=0, allow_inf_nan=False)
    spent_unknown: int = Field(0, ge=0, lt=2**63)


class Budget:
    """Counts every submission of a batch before it is sent.

    There are two sums. The reported sum is what was charged, as far as the hub has said, and otherwise the
    catalogue's prices. The sum held against the limit is never less than the prices of everything that was
    sent: a charge that is lower, or not known yet, gives nothing back.

    :param limit: USD; None for no limit.
    :ivar unknown: submissions that were counted as free, because nobody knows their cost.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = None if limit is None else exact(limit)
        self._spent = self._held = Decimal(0)
        self.unknown = 0

    @property
    def spent(self) -> float:
        """USD: the charges that the hub has stated, otherwise the catalogue's prices."""
        return float(self._spent)

    @property
    def held(self) -> float:
        """USD that count against the limit."""
        return float(self._held)

    @property
    def in_words(self) -> str:
        """What was spent, in words."""
        return f"{'at least ' if self.unknown else ''}${self._spent:,.2f}"

    def reserve(self, price: float | None) -> None:
        """Count a submission that is about to be sent; one of unknown price counts as free.

        :raises OxenBudgetError: if it would cost more than is left.
        """
        total = self._held + exact(price)
        if self._limit is not None and total > self._limit:
            raise OxenBudgetError(
                f"The batch has cost ${self._held:.2f} so far, the next image costs ${price or 0:g}, "
                f"and max_cost is ${self._limit:f}."
            )
        self._held = total
        self._spent += exact(price)
        self.unknown += price is None

    def release(self, price: float | None) -> None:
        """Take back a counted submission that was not sent, or not accepted."""
        self._held -= exact(price)
        self._spent -= exact(price)
        self.unknown -= price is None

    def settle(self, price: float | None, charged: float | None) -> None:
        """Correct a submission by its charge.

        The reported sum agrees with the hub. The limit counts whichever is more, so that no charge ever
        allows more spending.

        :param charged: USD; None if the hub does not say.
        """
        if charged is not None and charged >= 0:
            more = exact(charged) - exact(price)
            self._spent += more
            self._held += max(Decimal(0), more)
            self.unknown -= price is None

    def sums(self) -> dict[str, Any]:
        """Return the fields of :class:`Sums`."""
        return {"spent": self.spent, "held": self.held, "spent_unknown": self.unknown}

    def at_least(self, before: Sums) -> None:
        """Count what this task has spent before, of which some may have been counted already."""
        self._spent = max(self._spent, exact(before.spent))
        self._held = max(self._held, exact(before.spent), exact(before.held))
        self.unknown = max(self.unknown, before.spent_unknown)


def exact(amount: float | None) -> Decimal:
    """Return an amount as an exact decimal, so that sums do not drift."""
    return Decimal(str(amount or 0))
