"""The work on one row: like a task of its own, with its record and images in the batch's folder."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from logging import Logger, LoggerAdapter
from typing import Any, NamedTuple, TypeVar

from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.errors import OxenError, OxenRefused
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.threads import Threads
from airflow_provider_oxen.batch.apart import OURS, Appeared, RowRecordStore
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.costs import Budgeted, RowCosts
from airflow_provider_oxen.batch.effects import Claimed, Joined, Paced, Rows
from airflow_provider_oxen.batch.limits import Budget, Gate, NotSent, exact
from airflow_provider_oxen.batch.lookup import SharedLookup
from airflow_provider_oxen.batch.outcome import Bill, bill, has_ended
from airflow_provider_oxen.batch.rowstore import OPEN, Row, Waited, identity_of
from airflow_provider_oxen.images.known import KnownFolder, Listing
from airflow_provider_oxen.images.media import SUFFIXES
from airflow_provider_oxen.images.preview import LARGE, SMALL, Size
from airflow_provider_oxen.images.storage import Folder, LocalFolder
from airflow_provider_oxen.jobs.effects import Prepared, Remade
from airflow_provider_oxen.jobs.filestore import file_name
from airflow_provider_oxen.jobs.record import Endpoint, Record
from airflow_provider_oxen.jobs.resolve import refused_change
from airflow_provider_oxen.jobs.task import Identity, Task
from airflow_provider_oxen.tasks.attempt import ImageAttempt, Looked, is_open
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.generations import candidates
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.runtime import LoopRuntime
from airflow_provider_oxen.waiting.registry import KnownConnection

__all__ = ["BatchTry", "Found", "RowOutcome", "RowWorker"]

T = TypeVar("T")

_TURNS = 6
"""How often work on a row starts again after other runs have worked on it."""

_SEPARATOR = "~"
"""Separates stem and number of a row's further images. It is in no id: "cube-2" may be another row's."""


@dataclass(frozen=True)
class BatchTry:
    """Which try of which task this is.

    :ivar identity: the task instance.
    :ivar clear_key: which clearing of which task instance this is.
    :ivar clear_number: how often the Dag run was cleared, for any of its tasks; None if not known.
    :ivar tries_left: whether Airflow would retry.
    :ivar running: checks whether this try is the one that Airflow runs.
    """

    identity: Identity
    try_number: int
    clear_key: str
    clear_number: int | None
    tries_left: bool
    running: Running


class Found(NamedTuple):
    """What is in a row's place before anything is spent.

    :ivar result: the operator's result, if the row's images are kept.
    :ivar is_open: whether it has a job, which may have been paid for.
    :ivar sent: requests that this task has sent for it.
    :ivar told: USD that they have cost; None if that is not known yet.
    """

    result: dict[str, Any] | None
    preview: str | None
    is_open: bool
    sent: int
    told: float | None = None


class RowOutcome(NamedTuple):
    """The outcome of a row: a result, a job that the triggerer waits for, or an error.

    :ivar bill: what a row that ended with an error has cost.
    :ivar news: USD of a result's cost that no metric has counted yet.
    """

    row: Row
    result: dict[str, Any] | None = None
    preview: str | None = None
    waiting: Record | None = None
    error: Exception | None = None
    bill: Bill | None = None
    news: float = 0.0


@dataclass
class RowWorker:
    """Works on rows side by side, on the event loop on which it is entered.

    :param settings: settings of the hub's connection.
    :param listing: the folder's listing, from before the batch began.
    :param threads: run blocking work.
    :param previews: number of rows, from the first, whose images get a small preview.
    :param shown: number of rows, from the first, whose preview Airflow shows too, so that it is larger.
    :param defers: whether the triggerer waits for jobs in the queue.
    :param unsure: whether a row of which nothing is found may still have been sent.
    """

    arguments: BatchArguments
    this_try: BatchTry
    settings: Settings
    folder: Folder
    listing: Listing
    builder: RequestBuilder
    gate: Gate
    budget: Budget
    threads: Threads
    log: Any
    previews: int
    shown: int
    defers: bool
    unsure: bool = False
    rows: Rows = field(init=False)
    _stopping: bool = field(default=False, init=False)
    _under_way: dict[int, WorkerEffects] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        connection = KnownConnection(self.arguments.oxen_conn_id, self.settings)
        self.rows = Rows(connection, SharedLookup(self._candidates), self.arguments.poll_interval)

    async def __aenter__(self) -> RowWorker:
        self._clients = (AsyncClient(self.settings), AsyncClient(replace(self.settings, max_retries=0)))
        is_local = isinstance(self.folder, LocalFolder)
        self._runtime = LoopRuntime(*self._clients, self.threads, looks_are_quick=is_local)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    def stop(self) -> None:
        """End all rows under way soon; call it in the loop's thread."""
        self._stopping = True
        self.rows.stop()
        for effects in self._under_way.values():
            effects.stopping = True

    async def _candidates(self, namespace: str | None, records: Sequence[Record]) -> list[Generation]:
        return await candidates(self._runtime, namespace, [record.body for record in records])

    def look(self, row: Row) -> Found | None:
        """Return what is in a row's place, or None if nothing is. Spends and writes nothing.

        It blocks, and several threads may call it.

        :raises OxenRefused: if something else is there.
        :raises OxenRecordError: if the record of its job cannot be used.
        """
        store, output, task, _ = self._parts(row)
        record = store.read()
        if record is None:
            kept = self._told(output, output.find())
            if kept and self.listing.records and kept.get("generation_id"):
                # Another row that looks for its job must not take this one's.
                self.rows.claim(kept["generation_id"], row.stem)
            if kept is None:
                return None
            return Found(kept, output.preview, False, int(not kept["reused"]), kept.get("cost"))
        result = self._told(output, self._find(output, record))
        if record.generation_id:
            self.rows.claim(record.generation_id, row.stem)
        refused = refused_change(task, record) if is_open(record) else None
        if refused:
            raise refused
        sent = record.submissions if record.clear_key == self.this_try.clear_key else 0
        # If the hub states no cost for an ended job, it did not charge for it.
        told = None if is_open(record) else max(record.counted, record.before)
        return Found(None if is_open(record) else result, output.preview, is_open(record), sent, told)

    def _told(self, output: Output, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """Mark as "generated" what an earlier try of this very task has generated."""
        return found and {**found, "reused": not output.is_own()}

    def _find(self, output: Output, record: Record) -> dict[str, Any] | None:
        try:
            return output.find(record.files)
        except OxenRefused:
            if not is_open(record):
                raise
            # The paid image goes beside it.
            return None

    async def do(self, row: Row, turn: int = 0) -> RowOutcome:
        """Finish a row; never raises."""
        if turn == _TURNS:
            told = "Not sent: other runs kept working on this row."
            return RowOutcome(row, error=NotSent(told, passes=True))
        # From the second turn on, nothing about this row is assumed.
        done = await self._do(row, shared=turn > 0)
        return await self.do(row, turn + 1) if isinstance(done.error, Appeared) else done

    async def _do(self, row: Row, *, shared: bool = False) -> RowOutcome:
        store, output, task, log = self._parts(row, shared=shared)
        costs = RowCosts(self._runtime, log, self.budget, self.this_try.clear_key)
        effects = self._effects(row, task, store, output, costs, log)
        paced = Paced(effects, self.gate, self.this_try.running, self._runtime)
        joined = Joined(
            paced,
            self.rows,
            unsure=self.unsure,
            timeout=self.arguments.timeout,
            lookup_grace=self.arguments.lookup_grace,
        )
        claimed = Claimed(joined, self.rows, row.stem, store.files)
        budgeted = Budgeted(claimed, self.budget, costs, store, self.this_try.clear_key)
        work = ImageAttempt(task, output, store, budgeted, self._runtime, log, cancel_on_timeout=False)
        self._under_way[id(effects)] = effects
        try:
            if shared or row.waited or self._may_hold(row):
                before = await self._runtime.blocking(lambda: self._before(row, task, store, work))
            else:
                # The folder's listing shows that nothing is there.
                before = self._before(row, task, store, work)
            budgeted.prior, is_own, looked = before
            begun = await self._begin(work, looked, effects, paced, budgeted)
            if isinstance(begun, Record):
                if self.defers and begun.phase == "submitted" and begun.endpoint == "queue":
                    return RowOutcome(row, waiting=begun)
                begun = await work.finish(begun)
            elif is_own:
                # An earlier try of this very task kept it, but died before it could record that.
                begun = {**begun, "reused": False}
            return RowOutcome(row, begun, output.preview, news=_news(begun, budgeted.record))
        except Appeared as error:
            return RowOutcome(row, error=error)
        except Exception as error:
            return RowOutcome(
                row, error=error, bill=await self._billed(store, costs, budgeted.record, error, log)
            )
        finally:
            del self._under_way[id(effects)]

    def _may_hold(self, row: Row) -> bool:
        """Return whether the folder may hold anything of a row."""
        names = [file_name(row.stem, identity_of(row.stem)), f"{row.stem}.json"]
        return any(map(self.listing.has, (*names, *(f"{row.stem}{suffix}" for suffix in SUFFIXES))))

    def _before(
        self, row: Row, task: Task, store: RowRecordStore, work: ImageAttempt
    ) -> tuple[Record | None, bool, Looked]:
        """Return the row's record, whether this very task has kept its image, and what is there."""
        prior = store.read()
        if prior is None and row.waited and not self.listing.has(f"{row.stem}.json"):
            store.create(_restored(row, row.waited, task))
            prior = store.read()
        return prior, row.state == OPEN and work.output.is_own(), work.look()

    async def _begin(
        self,
        work: ImageAttempt,
        looked: Looked | None,
        effects: WorkerEffects,
        paced: Paced,
        budgeted: Budgeted,
    ) -> dict[str, Any] | Record:
        while True:
            paced.came_back, effects.stopping = False, self._stopping
            try:
                begun, looked = work.begin(looked), None
                return await begun
            except OxenError as error:
                if not paced.came_back:
                    raise
                if self.gate.why:
                    told = f"Not sent: {self.gate.why}. {error.message}"
                    raise NotSent(told, retry_after=error.retry_after, passes=error.retry_helps) from None
            finally:
                paced.let_go()
                budgeted.let_go()

    async def _billed(
        self, store: RowRecordStore, costs: RowCosts, record: Record | None, error: Exception, log: _RowLog
    ) -> Bill | None:
        """Return what the row has cost. A failure here must not replace the row's own error."""
        try:
            return await self._bill(store, costs, record, error)
        except Exception as problem:
            log.warning("The cost of this row could not be read: %s", describe_error(problem))
            return None

    async def _bill(
        self, store: RowRecordStore, costs: RowCosts, last: Record | None, error: Exception
    ) -> Bill | None:
        """Return what a row that ended with an error has cost; None if no job is known.

        The cost is written into the record, if there still is one, for the next try's accounts.

        :param last: the row's latest record; None: this try has not written one.
        """
        record = last or await self._runtime.blocking(store.known)
        if record is None:
            return None
        ours = costs.is_ours(record)
        cost = None
        if not self._stopping:
            cost = await (costs.cost(record) if last else costs.cost_before(record))
        told = bill(record, error, cost, ours=ours)
        if last and ours and has_ended(error) and costs.is_untold(record):
            # The budget counted the price when the request was sent.
            self.budget.settle(record.price, 0.0)
        if told.news:
            await self._runtime.blocking(lambda: store.note(record.to(record.phase, counted=told.cost)))
        return told

    def _preview_size(self, n: int) -> Size | None:
        return LARGE if n <= self.shown else SMALL if n <= self.previews else None

    def _parts(self, row: Row, *, shared: bool = False) -> tuple[RowRecordStore, Output, Task, _RowLog]:
        arguments, this_try, key = self.arguments, self.this_try, identity_of(row.stem)
        begun = self.listing.has(file_name(row.stem, key))
        folder = KnownFolder(self.folder, self.listing, shared=begun or shared)
        output = Output(
            this_try.identity,
            key,
            this_try.try_number,
            row.fingerprint,
            folder,
            row.stem,
            arguments.overwrite,
            arguments.max_bytes,
            clear_key=this_try.clear_key,
            preview_size=self._preview_size(row.n),
            index_separator=_SEPARATOR,
            lineage=False,
        )
        store = RowRecordStore(folder, row.stem, key, output.writer_id, this_try.clear_key)
        endpoint: Endpoint = "queue" if arguments.use_queue else "generate"
        task = Task(
            identity=key,
            fingerprint=row.fingerprint,
            origin=self.settings.base_url,
            namespace=row.request.target_namespace or self.settings.target_namespace,
            endpoint=endpoint,
            nonce=secrets.token_hex(16),
            try_number=this_try.try_number,
            clear_count=OURS,
            begins=False,
            asked=row.request.body(),
            place=f"{self.folder.asset_uri('')}{key}",
            overwrite=arguments.overwrite,
            on_unknown_outcome=arguments.on_unknown_outcome,
            on_changed_request=arguments.on_changed_request,
            lookup_grace=arguments.lookup_grace,
            unsure=self.unsure or row.state == OPEN,
        )
        return store, output, task, _RowLog(self.log, {"row": row.name})

    def _effects(
        self, row: Row, task: Task, store: RowRecordStore, output: Output, costs: RowCosts, log: _RowLog
    ) -> WorkerEffects:
        arguments, builder = self.arguments, self.builder

        async def unless_known(work: Callable[[], T]) -> T:
            # Of a model that is known, nobody is asked.
            return work() if builder.knows(row.request.model) else await self._runtime.blocking(work)

        def built(counter: int) -> Awaitable[Prepared]:
            return unless_known(lambda: builder.prepare(task, row.request, log, counter, checked=True))

        def rebuilt(counter: int) -> Awaitable[Remade]:
            return unless_known(lambda: builder.remake(task, row.request, counter))

        return WorkerEffects(
            runtime=self._runtime,
            log=log,
            store=store,
            output=output,
            costs=costs,
            builds=built,
            rebuilds=rebuilt,
            push=lambda key, value: None,
            poll_interval=arguments.poll_interval,
            timeout=arguments.timeout,
            lookup_grace=arguments.lookup_grace,
            cancel_on_kill=False,
            closes_kept=True,
            running=self.this_try.running,
        )


def _news(result: dict[str, Any], record: Record | None) -> float:
    counted = record.counted if record is not None else 0.0
    return 0.0 if result["reused"] else max(0.0, float(exact(result.get("cost")) - exact(counted)))


def _restored(row: Row, waited: Waited, task: Task) -> Record:
    """Return the record of a row's job if only the batch's record still has it."""
    asked_for = {"target_namespace": waited.namespace, "seed": waited.seed}
    return Record(
        phase="submitted",
        nonce=task.nonce,
        identity=task.identity,
        time=waited.submitted_at or time.time(),
        endpoint="queue",
        body=row.request.model_copy(update=asked_for).body(),
        origin=task.origin,
        namespace=waited.namespace,
        fingerprint=row.fingerprint,
        price=waited.price,
        clear_count=task.clear_count,
        generation_id=waited.generation,
        submitted_at=waited.submitted_at,
    )


class _RowLog(LoggerAdapter[Logger]):
    """Adds the row to its messages, and logs only unusual events, since there may be thousands of rows."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {})['row']}: {msg}", kwargs
