"""The work on one row: like a task of its own, with its record and images in the batch's folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.errors import OxenError, OxenRefused
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.conflicts import RowConflict, RowRecordStore
from airflow_provider_oxen.batch.costs import BudgetedEffects, RowCosts
from airflow_provider_oxen.batch.effects import PacedEffects, SharedEffects
from airflow_provider_oxen.batch.facts import PriorWork, RowLog, RowOutcome, restored, uncounted
from airflow_provider_oxen.batch.limits import Gate, NotSent
from airflow_provider_oxen.batch.outcome import Bill, bill, has_ended
from airflow_provider_oxen.batch.rowstore import OPEN, Row
from airflow_provider_oxen.batch.setup import RowSetup
from airflow_provider_oxen.batch.shared import SharedLookup, SharedQueue
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import refused_change
from airflow_provider_oxen.jobs.task import Task
from airflow_provider_oxen.tasks.attempt import Existing, ImageAttempt, is_open
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.generations import candidates
from airflow_provider_oxen.tasks.runtime import LoopRuntime
from airflow_provider_oxen.waiting.registry import KnownConnection

__all__ = ["RowWorker"]

T = TypeVar("T")

_TURNS = 6
"""How often work on a row starts again after other runs have worked on it."""


@dataclass
class RowWorker:
    """Works on rows side by side, on the event loop on which it is entered.

    :param threads: run blocking work.
    :param defers: whether the triggerer waits for jobs in the queue.
    """

    setup: RowSetup
    gate: Gate
    budget: Budget
    threads: Threads
    defers: bool
    queue: SharedQueue = field(init=False)
    _stopping: bool = field(default=False, init=False)
    _under_way: dict[int, WorkerEffects] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._settings = self.setup.builder.client.settings
        connection = KnownConnection(self.setup.arguments.oxen_conn_id, self._settings)
        lookup = SharedLookup(lambda namespace, bodies: candidates(self._runtime, namespace, bodies))
        self.queue = SharedQueue(connection, lookup, self.setup.arguments.poll_interval)

    async def __aenter__(self) -> RowWorker:
        self._clients = (
            AsyncClient(self._settings),
            AsyncClient(replace(self._settings, max_retries=0)),
        )
        is_local = isinstance(self.setup.folder, LocalFolder)
        self._runtime = LoopRuntime(*self._clients, self.threads, looks_are_quick=is_local)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    def stop(self) -> None:
        """End all rows under way soon; call it in the loop's thread."""
        self._stopping = True
        self.queue.stop()
        for effects in self._under_way.values():
            effects.stopping = True

    def look(self, row: Row) -> PriorWork | None:
        """Return what is in a row's place, or None if nothing is. Spends and writes nothing.

        It blocks, and several threads may call it.

        :raises OxenRefused: if something else is there.
        :raises OxenRecordError: if the record of its job cannot be used.
        """
        store, output, task, _ = self.setup.parts(row)
        record = store.read()
        kept = None
        try:
            kept = output.find(record.files if record else ())
        except OxenRefused:
            # The paid image goes beside it.
            if not is_open(record):
                raise
        if kept:
            # What an earlier try of this very task has generated is not reused.
            kept = {**kept, "reused": not output.is_own()}
        if record is None:
            if kept is None:
                return None
            if self.setup.listing.records and kept.get("generation_id"):
                # Another row that looks for its job must not take this one's.
                self.queue.claim(kept["generation_id"], row.stem)
            return PriorWork(kept, output.preview, False, int(not kept["reused"]), kept.get("cost"))
        if record.generation_id:
            self.queue.claim(record.generation_id, row.stem)
        sent = record.submissions if record.clear_key == self.setup.this_try.clear_key else 0
        if is_open(record):
            if refused := refused_change(task, record):
                raise refused
            return PriorWork(None, output.preview, True, sent)
        # If the hub states no cost for an ended job, it did not charge for it.
        return PriorWork(kept, output.preview, False, sent, max(record.counted, record.before))

    async def do(self, row: Row) -> RowOutcome:
        """Finish a row; never raises."""
        for turn in range(_TURNS):
            with contextlib.suppress(RowConflict):
                # From the second turn on, nothing about this row is assumed.
                return await self._do(row, shared=turn > 0)
        return RowOutcome(row, error=NotSent("Not sent: other runs kept working on this row.", passes=True))

    async def _do(self, row: Row, *, shared: bool) -> RowOutcome:
        store, output, task, log = self.setup.parts(row, shared=shared)
        costs = RowCosts(self._runtime, log, self.budget, store.clear_key)
        effects = self.setup.effects(self._runtime, row, task, store, output, costs, log)
        paced = PacedEffects(effects, self.gate, self.setup.this_try.running, self._runtime)
        shared_effects = SharedEffects(
            paced, self.queue, row.stem, store.files, self.setup.arguments, unsure=self.setup.unsure
        )
        budgeted = BudgetedEffects(shared_effects, costs, store)
        work = ImageAttempt(task, output, store, budgeted, self._runtime, log)
        self._under_way[id(effects)] = effects
        try:
            if shared or row.waited or self.setup.has_files(row):
                before = await self._runtime.blocking(lambda: self._before(row, task, store, work))
            else:
                # The folder's listing shows that nothing is there.
                before = self._before(row, task, store, work)
            budgeted.prior, is_own, looked = before
            begun = await self._begin(work, looked, effects, paced, budgeted)
            if isinstance(begun, Record):
                if self.defers and begun.phase == "submitted" and begun.endpoint == "queue":
                    return RowOutcome(row, waiting=begun)
                paced.arrive()
                begun = await work.finish(begun)
            elif is_own:
                # An earlier try of this very task kept it, but died before it could record that.
                begun = {**begun, "reused": False}
            return RowOutcome(row, begun, output.preview, uncounted=uncounted(begun, budgeted.record))
        except RowConflict:
            raise
        except Exception as error:
            return RowOutcome(
                row, error=error, bill=await self._billed(store, costs, budgeted.record, error, log)
            )
        finally:
            paced.depart()
            del self._under_way[id(effects)]

    def _before(
        self, row: Row, task: Task, store: RowRecordStore, work: ImageAttempt
    ) -> tuple[Record | None, bool, Existing]:
        """Return the row's record, whether this very task has kept its image, and what is there."""
        prior = store.read()
        if prior is None and row.waited and not self.setup.listing.has(f"{row.stem}.json"):
            store.create(restored(row, row.waited, task))
            prior = store.read()
        return prior, row.state == OPEN and work.output.is_own(), work.look()

    async def _begin(
        self,
        work: ImageAttempt,
        looked: Existing | None,
        effects: WorkerEffects,
        paced: PacedEffects,
        budgeted: BudgetedEffects,
    ) -> dict[str, Any] | Record:
        while True:
            paced.may_resend, effects.stopping = False, self._stopping
            try:
                begun, looked = work.begin(looked), None
                return await begun
            except OxenError as error:
                if not paced.may_resend:
                    raise
                if self.gate.why:
                    message = f"Not sent: {self.gate.why}. {error.message}"
                    raise NotSent(message, retry_after=error.retry_after, passes=error.retry_helps) from None
            finally:
                paced.let_go()
                budgeted.let_go()

    async def _billed(
        self, store: RowRecordStore, costs: RowCosts, record: Record | None, end: Exception, log: RowLog
    ) -> Bill:
        """Return what the row has cost. A failure here must not replace the row's own error."""
        try:
            return await self._bill(store, costs, record, end)
        except Exception as error:
            problem = describe_error(error)
        # Outside the except: where a log handler fails, logging prints what is being handled, as it is.
        log.warning("The cost of this row could not be read: %s", problem)
        return Bill()

    async def _bill(
        self, store: RowRecordStore, costs: RowCosts, last: Record | None, error: Exception
    ) -> Bill:
        """Return what a row that ended with an error has cost; nothing if no job is known.

        The cost is written into the record, if there still is one, for the next try's accounts.

        :param last: the row's latest record; None: this try has not written one.
        """
        record = last or await self._runtime.blocking(store.known)
        if record is None:
            return Bill()
        ours = costs.is_ours(record)
        cost = None
        if not self._stopping:
            cost = await (costs.cost(record) if last else costs.cost_before(record))
        billed = bill(record, error, cost, ours=ours)
        if last and ours and has_ended(error) and costs.is_untold(record):
            # The budget counted the price when the request was sent.
            self.budget.settle(record.price, 0.0)
        if billed.uncounted:
            await self._runtime.blocking(lambda: store.note(record.to(record.phase, counted=billed.cost)))
        return billed
