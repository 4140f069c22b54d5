"""What a batch may cost, and what it has cost so far."""

from __future__ import annotations

import threading

from airflow_provider_oxen.api.errors import OxenBudgetError

__all__ = ["Budget"]

_ROUNDING = 1e-9


class Budget:
    """Counts every submission of a batch before it goes out. Thread-safe.

    :param limit: USD; None for no limit.
    :ivar unknown: submissions that were counted as nothing, as nobody knows what they cost.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._spent = 0.0
        self.unknown = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """USD: what was charged, where the hub has told it, else the catalogue's prices."""
        return self._spent

    @property
    def told(self) -> str:
        """What was spent, in words."""
        return f"{'at least ' if self.unknown else ''}${self._spent:,.2f}"

    def reserve(self, price: float | None) -> None:
        """Count a submission that is about to go out; one of unknown price counts nothing.

        :raises OxenBudgetError: where it would cost more than there is.
        """
        with self._lock:
            total = self._spent + (price or 0.0)
            if self._limit is not None and total > self._limit + _ROUNDING:
                raise OxenBudgetError(
                    f"The batch has cost ${self._spent:.2f} so far, the next image costs ${price or 0:g}, "
                    f"and max_cost is ${self._limit:g}. It was not sent."
                )
            self._spent = total
            self.unknown += price is None

    def settle(self, price: float | None, charged: float | None) -> None:
        """Correct a submission by what was charged for it; 0: it was not accepted."""
        if charged is not None:
            with self._lock:
                self._spent += charged - (price or 0.0)
                self.unknown -= price is None

    def before(self, spent: float, unknown: int) -> None:
        """Count what this task has spent before.

        :param spent: USD.
        :param unknown: submissions whose cost is not in it.
        """
        with self._lock:
            self._spent += spent
            self.unknown += unknown
