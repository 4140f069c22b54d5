"""What a row's requests cost: counted before they are sent, corrected by the charges, kept in the record."""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.batch.budget import Budget, exact
from airflow_provider_oxen.batch.conflicts import RowRecordStore
from airflow_provider_oxen.batch.effects import EffectsWrapper
from airflow_provider_oxen.jobs.effects import Accepted, Effects, End
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.tasks.generations import Costs
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["BudgetedEffects", "RowCosts"]


class RowCosts(Costs):
    """What a row's generations have cost; each is looked up and counted once.

    :param clear_key: which clearing of which task instance this is.
    """

    def __init__(self, runtime: Runtime, log: Any, budget: Budget, clear_key: str) -> None:
        super().__init__(runtime, log)
        self.budget = budget
        self._clear_key = clear_key
        self._charges: dict[str, float | None] = {}

    async def cost(self, record: Record) -> float | None:
        """Return what the row's image has cost, including generations that gave no image."""
        return _with_before(await self._charged(record), record)

    async def cost_before(self, record: Record) -> float | None:
        """Return the cost of an earlier process's job, which that process, or the plan, has counted."""
        return _with_before(await super().cost(record), record)

    def is_untold(self, record: Record) -> bool:
        """Return whether the hub was asked for a generation's cost, and did not say."""
        return self._charges.get(str(record.generation_id), 0) is None

    def is_ours(self, record: Record) -> bool:
        """Return whether this task has sent the request."""
        return record.clear_key in (None, self._clear_key)

    async def _charged(self, record: Record) -> float | None:
        id = record.generation_id
        if id is None:
            return None
        if id not in self._charges:
            self._charges[id] = charged = await super().cost(record)
            # The cost of another run's job was never counted here.
            if self.is_ours(record):
                self.budget.settle(record.price, charged)
        return self._charges[id]


class BudgetedEffects(EffectsWrapper):
    """Counts each request before it is sent, and records what those before it have cost.

    :ivar prior: the row's record before this try.
    :ivar record: the row's latest record.
    """

    def __init__(self, do: Effects, costs: RowCosts, store: RowRecordStore) -> None:
        super().__init__(do)
        self.prior: Record | None = None
        self.record: Record | None = None
        self._costs = costs
        self._store = store
        self._before: float | None = None
        self._reserved: Record | None = None

    async def write(self, record: Record) -> None:
        record = await self._carried(record)
        if record.phase != "intent":
            self.record = record
            await self.do.write(record)
            return
        if record.submissions > self._store.counted:
            self._costs.budget.reserve(record.price)
        self._store.counted, self._reserved = record.submissions, record
        await self.do.write(record)
        self.record = record

    async def send(self, record: Record) -> Accepted:
        self.record = record = await self._carried(record)
        try:
            return await self.do.send(record)
        except OxenError as error:
            if error.spent == "no":
                self.let_go()
            raise
        finally:
            self._reserved = None

    async def wait(self, record: Record) -> End:
        self.record = record = await self._carried(record)
        return await self.do.wait(record)

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        self.record = record = await self._carried(record)
        return await self.do.keep(record, same)

    async def close(self, record: Record) -> None:
        self.record = record = await self._carried(record)
        await self.do.close(record)

    def let_go(self) -> None:
        """Take back a counted request that was not sent, or not accepted."""
        if self._reserved is not None:
            self._costs.budget.release(self._reserved.price)
            self._store.counted -= 1
            self._reserved = None

    async def _carried(self, record: Record) -> Record:
        """Return a record with the cost of this task's earlier generations for the row."""
        prior = self.prior
        if prior is None or prior.nonce == record.nonce or prior.clear_key != self._store.clear_key:
            return record
        if self._before is None:
            self._before = await self._costs.cost_before(prior) or 0.0
        return record.to(record.phase, before=self._before, counted=prior.counted)


def _with_before(charged: float | None, record: Record) -> float | None:
    return float(exact(charged) + exact(record.before)) if charged is not None or record.before else None
