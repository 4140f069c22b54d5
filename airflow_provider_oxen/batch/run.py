"""One try of a batch: plan it, work on it, wait for it, and report it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.api.errors import (
    OxenBatchError,
    OxenError,
    OxenOutputExists,
    OxenRecordError,
)
from airflow_provider_oxen.batch.account import Account, AccountStore, check_folder, clear_key_of
from airflow_provider_oxen.batch.apart import claim, release
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.deferral import Deferral, lost_record, read_deferral
from airflow_provider_oxen.batch.engine import Engine
from airflow_provider_oxen.batch.facts import BatchTry
from airflow_provider_oxen.batch.intake import read_rows
from airflow_provider_oxen.batch.limits import Budget, Gate
from airflow_provider_oxen.batch.outcome import StopRule
from airflow_provider_oxen.batch.plan import Plan
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.results import FILES, Results
from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.batch.rowstore import NEW, OPEN, WAITING, Row, RowStore
from airflow_provider_oxen.batch.setup import RowSetup
from airflow_provider_oxen.batch.sheet import LARGE_PREVIEWS, PREVIEWS
from airflow_provider_oxen.batch.source import open_source
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.tasks.assets import add_asset_events
from airflow_provider_oxen.tasks.beginning import has_sent_nothing
from airflow_provider_oxen.tasks.deferral import TaskOperator, warn_before_deferral, with_arguments
from airflow_provider_oxen.tasks.facts import TaskFacts
from airflow_provider_oxen.tasks.lineage import lineage, of_manifest, report_lineage
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.running import warn_of_local_disk
from airflow_provider_oxen.tasks.xcoms import TaskXComs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["WAITED", "BatchOperator", "BatchRun"]

WAITED = "What this batch has waited for"
"""Text for messages of a try that returns from the triggerer."""

_SLACK = 600.0
"""Seconds that Airflow waits beyond the trigger's own deadline; this matters only if no triggerer runs."""


class BatchOperator(TaskOperator, Protocol):
    """An operator with the arguments of a batch."""

    prompts: Any


@dataclass
class BatchRun:
    """One try of one batch.

    :param operator: with its arguments rendered.
    """

    operator: BatchOperator
    context: Context
    options: BatchArguments
    folder: Folder
    rows: RowStore
    this_try: BatchTry
    builder: RequestBuilder
    gate: Gate
    budget: Budget
    threads: Threads
    results: Results
    xcoms: TaskXComs
    facts: TaskFacts
    accounts: AccountStore
    _engine: Engine | None = field(default=None, init=False)
    _told_to_stop: bool = field(default=False, init=False)
    _account: Account | None = field(default=None, init=False)
    _anew_once: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def run(self) -> dict[str, Any]:
        """Plan, request what is missing, and keep it, or defer; return the operator's result.

        :raises OxenError: see the operator.
        """
        with self._noting_the_end():
            return self._run()

    @contextmanager
    def _noting_the_end(self) -> Iterator[None]:
        """After an error that Airflow does not retry, record that the next try follows a clearing."""
        try:
            yield
        except OxenError as error:
            if not error.retry_helps:
                with contextlib.suppress(OxenError):
                    self.results.check()
                    foreign = isinstance(error, OxenOutputExists)
                    self.accounts.mark_over(self.this_try.clear_number, is_ours=not foreign)
            raise

    def _run(self) -> dict[str, Any]:
        options, log = self.options, self.operator.log
        warn_of_local_disk(self.operator, self.folder)
        with_store_errors(self.folder, self.folder.check)
        with_store_errors(self.folder, lambda: self.folder.prove(self.results.mark))
        self._account = account = self._admitted()
        source = open_source(self.operator.prompts, options.source_conn_id)
        key = self.builder.client.settings.api_key
        read_rows(source, options.defaults, self.rows, self.folder, key)
        self.results.tally.total = self.rows.total
        claim(self.folder, self.this_try.identity, self.results.mark)
        worker = self._worker(defers=options.deferrable, unsure=account.unsure)
        where = str(source)
        plan = Plan(self.rows, where, worker, self.results, self._stop_rule())
        budget = self.budget
        # The facts of a deferral may also be in the folder, or the folder may be gone.
        try:
            budget.at_least(*plan.look_around())
        except OxenOutputExists:
            # The folder belongs to another batch: leave it unchanged.
            self.accounts.withdraw()
            raise
        plan.check_models()
        if options.max_cost is not None:
            plan.price(options.max_cost, budget.held, options.allow_unknown_price)
        tally = self.results.tally
        log.info(
            "%s: %s prompts, of which %s are in %s already.",
            where, f"{tally.total:,}", f"{tally.ended:,}", self.folder.asset_uri(""),
        )  # fmt: skip
        metrics.retried(self.this_try.try_number)
        self.xcoms.push_request(
            self.builder.client.settings.base_url, options.defaults["model"], None, tally.total
        )
        if tally.ended < tally.total:
            self._account = self._begun(account)
            # From here on, an earlier try's files could be wrong about what was paid for.
            self.results.write(finished=False, begun=False)
            self._work(worker, self.rows.in_state(OPEN), self.rows.in_state(NEW))
            if self.rows.count(WAITING) and not self.results.outcome.interrupted:
                self._defer()
        return self._end()

    def resume(self, event: Any, kept: Mapping[str, Any] | None) -> dict[str, Any]:
        """Resume after the trigger has seen the jobs end.

        :param kept: what :meth:`_defer` gave Airflow to keep; None if it was lost.
        """
        with self._noting_the_end():
            return self._resume(event, kept)

    def _resume(self, event: Any, kept: Mapping[str, Any] | None) -> dict[str, Any]:
        from airflow_provider_oxen.triggers.events import read_batch_event

        deferral = read_deferral(kept, event, self.this_try.identity.key)
        # It is the same try, whatever was cleared meanwhile.
        self._belong(deferral.series or self.this_try.clear_key)
        told = read_batch_event(event, deferral.record)
        if told.status != "ended":
            self.operator.log.warning("The triggerer did not see the end of all jobs: %s", told.message)
        self.budget.before(deferral.spent, deferral.spent_unknown, deferral.held)
        if not self.results.load(deferral.record, deferral.sha256):
            return self._anew(deferral)
        if deferral.sha256 is None and 0 < deferral.jobs < (count := self.rows.count_waited()):
            raise OxenRecordError(
                f"The record of the batch, {self.folder.asset_uri(deferral.record)}, lists {count:,} "
                f"generations, but {deferral.jobs:,} were submitted.",
                remedy="Clear the task to continue.",
            )
        with contextlib.suppress(OxenError):
            # Only for the sums: the record has proved that this is the folder.
            self._account = self.accounts.read()
        # Do not send now what was not sent before: the batch had stopped.
        if self.results.outcome.stopped:
            self.gate.close(self.results.outcome.stopped)
        jobs = self.rows.in_state(OPEN)
        if deferral.sha256 is None:
            # The record's rows are not verified: fetch what was waited for, and request nothing else.
            jobs = (job for job in jobs if job.waited)
        self._work(self._worker(defers=False), jobs, iter(()))
        return self._end()

    def _anew(self, deferral: Deferral) -> dict[str, Any]:
        """Begin again if the record of the deferral is missing, and the user allows that.

        :raises OxenRecordError: if the user does not: nobody knows what was submitted.
        """
        lost = lost_record(deferral, self.folder.asset_uri(deferral.record))
        if self.options.on_unknown_outcome != "resubmit":
            raise lost
        if deferral.anew:
            raise OxenRecordError(
                f"{lost.message} This try has started the folder again once already, and does not do so "
                "twice."
            )
        self.operator.log.warning(
            "%s on_unknown_outcome='resubmit': the batch starts again in this folder, and pays again for "
            "every image that is not in it.", lost,
        )  # fmt: skip
        self._anew_once = True
        return self._run()

    def stop(self) -> None:
        """Do what a kill asks for. Called from a signal handler, so it only sets flags."""
        self._told_to_stop = True
        if self._engine is not None:
            self._engine.told_to_stop = True

    def _admitted(self) -> Account:
        """Make sure that this is the folder in which the task has begun its batch, if it has.

        :return: the account that the task has, and must keep from now on.
        :raises OxenError: if it is another folder, so that nothing may be sent.
        """
        options, accounts, here = self.options, self.accounts, self.folder.asset_uri("")
        with_store_errors(self.folder, self.folder.check)
        account = accounts.read()
        summed = accounts.read_summary() if account is None and self.this_try.try_number > 1 else None
        found = accounts.read_mark() if account and account.mark else None
        unsure = check_folder(
            account,
            found,
            here,
            begun=account is None
            and self.this_try.try_number > 1
            and summed is None
            and not has_sent_nothing(self.operator, self.context),
            on_unknown_outcome=options.on_unknown_outcome,
            on_changed_request=options.on_changed_request,
        )
        if not self._anew_once:
            self._belong(clear_key_of(self.this_try.clear_key, account or summed, self.this_try.clear_number))
        admitted = Account(
            identity=self.this_try.identity.key,
            folder=here,
            mark=found,
            unsure=unsure,
            series=self.this_try.clear_key,
            clear_number=self.this_try.clear_number,
            over=not self.this_try.tries_left,
        )
        if account is None:
            accounts.write(admitted)
        elif account.series == self.this_try.clear_key:
            self.budget.at_least(account.spent, account.spent_unknown, account.held)
        if unsure:
            self.operator.log.warning(
                "This is try %d, but %s has no trace of the tries before: they may have used another "
                "folder. Each prompt without an image here is looked up on the hub before it is sent.",
                self.this_try.try_number, here,
            )  # fmt: skip
        return admitted

    def _belong(self, clear_key: str) -> None:
        """Assign the rest of this try to one clearing of the task."""
        self.this_try = self.results.this_try = replace(self.this_try, clear_key=clear_key)

    def _begun(self, account: Account) -> Account:
        """Record the folder and what was spent, before anything is sent."""
        self.results.check()
        begun = account.model_copy(update={"mark": self.accounts.ensure_mark(), **self._sums()})
        self.accounts.write(begun)
        return begun

    def _sums(self) -> dict[str, Any]:
        budget = self.budget
        sums = {"spent": budget.spent, "held": budget.held, "spent_unknown": budget.unknown}
        return {"series": self.this_try.clear_key, "clear_number": self.this_try.clear_number, **sums}

    def _sum_up(self, *, all_kept: bool = False, over: bool = False) -> None:
        """Record what was spent, and whether the task has its result."""
        account = self._account
        if account is None:
            return
        self._account = account = account.model_copy(update={**self._sums(), "over": over or account.over})
        try:
            self.results.check()
            (self.accounts.close if all_kept else self.accounts.write)(account)
        except OxenError as error:
            self.operator.log.warning("%s", error.message)

    def _worker(self, *, defers: bool, unsure: bool = False) -> RowWorker:
        with_store_errors(self.folder, self.folder.check)
        with_store_errors(self.folder, lambda: self.folder.prove(self.results.mark))
        records: list[str] = []
        listing = with_store_errors(self.folder, lambda: Listing(self._noted(records)))
        self.results.tidy(listing, records)
        setup = RowSetup(
            arguments=self.options,
            this_try=self.this_try,
            settings=self.builder.client.settings,
            folder=self.folder,
            listing=listing,
            builder=self.builder,
            log=self.operator.log,
            previews=PREVIEWS,
            large=LARGE_PREVIEWS,
            unsure=unsure,
        )
        return RowWorker(setup, self.gate, self.budget, self.threads, defers)

    def _noted(self, records: list[str]) -> Iterator[str]:
        for name in self.folder.names():
            if self.results.is_record(name):
                records.append(name)
            yield name

    def _stop_rule(self) -> StopRule:
        return StopRule(self.options.on_error == "continue", self.options.most_failures(self.rows.total))

    def _work(self, worker: RowWorker, begun: Iterator[Row], fresh: Iterator[Row]) -> None:
        options, log, tally = self.options, self.operator.log, self.results.tally
        stop_rule = replace(self._stop_rule(), failed=tally.bad)
        progress = Progress(tally, log, lambda: self.budget.told)
        self._engine = Engine(
            worker, self.gate, stop_rule, progress, self.results, log, options.max_in_flight
        )
        # A signal may have arrived before the engine existed, or just now.
        self._engine.told_to_stop = self._told_to_stop
        try:
            self._engine.run(begun, fresh)
        except BaseException:
            # For example Airflow's timeout: write what is known by now.
            with contextlib.suppress(Exception):
                self.results.write(finished=False)
            self._count()
            raise
        outcome = self.results.outcome
        outcome.stopped = outcome.stopped or self.gate.why
        outcome.too_many = outcome.too_many or stop_rule.is_broken

    def _defer(self) -> None:
        from airflow_provider_oxen.triggers.batches import OxenBatchTrigger

        options, now, budget = self.options, time.time(), self.budget
        self.facts.push_batch(self.results.write(finished=False))
        saved = self.results.save()
        self._sum_up()
        self._count()
        deadline = None if options.timeout is None else now + options.timeout
        trigger = OxenBatchTrigger(
            record=saved.name,
            folder=options.storage_path,
            storage_conn_id=options.storage_conn_id,
            identity=self.this_try.identity.key,
            jobs=self.rows.count(WAITING),
            oxen_conn_id=options.oxen_conn_id,
            poll_interval=options.poll_interval,
            deadline=deadline,
            patience=now + options.lookup_grace,
            deferred_at=now,
        )
        deferral = Deferral(
            folder=options.storage_path,
            storage_conn_id=options.storage_conn_id,
            record=saved.name,
            sha256=saved.sha256,
            jobs=trigger.jobs,
            spent=budget.spent,
            held=budget.held,
            spent_unknown=budget.unknown,
            series=self.this_try.clear_key,
            anew=self._anew_once,
        )
        self.operator.log.info(
            "Waiting for %s generations in the triggerer; their ids are in %s.",
            f"{trigger.jobs:,}", self.folder.asset_uri(saved.name),
        )  # fmt: skip
        warn_before_deferral(self.context["ti"], self.operator.log)
        self.operator.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"batch": with_arguments(deferral.model_dump(mode="json"), options.as_json())},
            timeout=None if options.timeout is None else timedelta(seconds=options.timeout + _SLACK),
        )

    def _count(self) -> None:
        """Send this process's results to Airflow's metrics."""
        results = self.results
        here = {name: float(results.here[name]) for name in ("generated", "reused", "failed")}
        seconds = time.monotonic() - self._began
        metrics.batch(
            {**here, "cost": float(results.cost)}, "queue" if self.options.use_queue else "generate", seconds
        )

    def _stopped(self) -> OxenError:
        """Return the error for a try that was told to stop. Writes nothing: the next try may be running."""
        result = self.results.summed()
        self._count()
        where = self.folder.asset_uri("")
        return self.results.outcome.error(
            result, where, tries_left=self.this_try.tries_left
        ) or OxenBatchError(
            f"The task was stopped when all {result['prompts']:,} images were kept in {where}.",
            retry="The next try writes the manifest, and pays for nothing.",
            retry_helps=True,
        )

    def _error(self, result: Mapping[str, Any]) -> Exception | None:
        if self._engine is not None and self._engine.broken is not None:
            return self._engine.broken
        where = self.folder.asset_uri("")
        return self.results.outcome.error(result, where, tries_left=self.this_try.tries_left)

    def _end(self) -> dict[str, Any]:
        if self.results.outcome.interrupted:
            raise self._stopped()
        result = self.results.write(finished=True)
        self.results.forget()
        release(self.folder, self.this_try.identity)
        error = self._error(result)
        all_kept = result["generated"] + result["reused"] == result["prompts"]
        self._sum_up(all_kept=all_kept, over=error is None)
        self.xcoms.push_images(self.results.shown(), result["prompts"])
        self.xcoms.push_page(result["manifest"])
        self.facts.push_batch(result)
        self._count()
        if error is not None:
            raise error
        if told := self.results.outcome.missing(result):
            self.operator.log.warning("%s", told)
        report_lineage(self.folder, FILES)
        made = of_manifest(result)
        add_asset_events(self.operator, self.context, made)
        prompts = self.options.prompts
        self.operator.lineage = lambda: lineage(
            self.builder.client.settings.base_url, result["models"], made, prompts
        )
        return result
