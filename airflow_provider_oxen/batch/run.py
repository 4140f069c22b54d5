"""One try of a batch: plan it, work on it, wait for it, and report it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.api.errors import (
    OxenBatchError,
    OxenError,
    OxenOutputExists,
    OxenRecordError,
)
from airflow_provider_oxen.batch.admission import Admission
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.conflicts import claim, release
from airflow_provider_oxen.batch.deferral import Deferral, defer, lost_record, read_deferral
from airflow_provider_oxen.batch.engine import Engine
from airflow_provider_oxen.batch.facts import BatchTry
from airflow_provider_oxen.batch.intake import read_rows
from airflow_provider_oxen.batch.limits import Gate
from airflow_provider_oxen.batch.outcome import StopRule
from airflow_provider_oxen.batch.plan import Plan
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.results import FILES, Results
from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.batch.rowstore import NEW, OPEN, WAITING, Row, RowStore
from airflow_provider_oxen.batch.setup import RowSetup
from airflow_provider_oxen.batch.source import open_source
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.tasks.assets import add_asset_events
from airflow_provider_oxen.tasks.deferral import TaskOperator
from airflow_provider_oxen.tasks.facts import BatchFacts
from airflow_provider_oxen.tasks.lineage import lineage, of_manifest, report_lineage
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.running import warn_of_local_disk
from airflow_provider_oxen.tasks.xcoms import TaskXComs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["BatchOperator", "BatchRun"]


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
    facts: BatchFacts
    admission: Admission
    _engine: Engine | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _anew_once: bool = field(default=False, init=False)
    # Whether the rows are known, and may have changed since their sums were told.
    _has_news: bool = field(default=False, init=False)

    @contextmanager
    def adding_up(self) -> Iterator[None]:
        """If the batch fails, add up what is known of its rows by then."""
        try:
            yield
        except OxenError:
            if self._has_news:
                # The error is worth more than the sums.
                with contextlib.suppress(Exception):
                    self.facts.add_up(self.results.summed(), console=self.xcoms.is_public)
            raise

    def run(self) -> dict[str, Any]:
        """Plan, request what is missing, and keep it, or defer; return the operator's result.

        :raises OxenError: see the operator.
        """
        options, log = self.options, self.operator.log
        warn_of_local_disk(self.operator, self.folder)
        self._prove_folder()
        account = self.admission.admit(anew=self._anew_once)
        source = open_source(self.operator.prompts, options.source_conn_id)
        key = self.builder.client.settings.api_key
        read_rows(source, options.defaults, self.rows, self.folder, key)
        self.results.tally.total = self.rows.total
        claim(self.folder, self.this_try.identity, self.results.mark)
        worker = self._worker(defers=options.deferrable, unsure=account.unsure)
        plan = Plan(source.name, worker, self.results, self._stop_rule())
        budget = self.budget
        # The facts of a deferral may also be in the folder, or the folder may be gone.
        try:
            budget.at_least(plan.look_around())
        except OxenOutputExists:
            # The folder belongs to another batch: leave it unchanged.
            self.admission.accounts.withdraw()
            raise
        self._has_news = True
        plan.check(options.max_cost, budget.held, allow_unknown=options.allow_unknown_price)
        tally = self.results.tally
        log.info(
            "%s: %s prompts, of which %s are in %s already.",
            source.name, f"{tally.total:,}", f"{tally.ended:,}", self.folder.asset_uri(""),
        )  # fmt: skip
        metrics.retried(self.this_try.try_number)
        self.xcoms.push_request(
            self.builder.client.settings.base_url, options.defaults["model"], None, tally.total
        )
        if tally.ended < tally.total:
            self.admission.begin(account)
            # From here on, an earlier try's files could be wrong about what was paid for.
            self._push_facts(self.results.write(finished=False, begun=False))
            self._work(worker, self.rows.in_state(OPEN), self.rows.in_state(NEW))
            if self.rows.count(WAITING) and not self.results.outcome.interrupted:
                self._defer()
        return self._end()

    def resume(self, event: Any, kept: Mapping[str, Any] | None) -> dict[str, Any]:
        """Resume after the trigger has seen the jobs end.

        :param kept: what :meth:`_defer` gave Airflow to keep; None if it was lost.
        """
        from airflow_provider_oxen.triggers.events import read_batch_event

        deferral = read_deferral(kept, event, self.this_try.identity.key)
        # It is the same try, whatever was cleared meanwhile.
        self.this_try.clear_key = deferral.series or self.this_try.clear_key
        ended = read_batch_event(event, deferral.record)
        if ended.status != "ended":
            self.operator.log.warning("The triggerer did not see the end of all jobs: %s", ended.message)
        self.budget.at_least(deferral)
        if not self.results.load(deferral.record, deferral.sha256):
            return self._anew(deferral)
        if deferral.sha256 is None and 0 < deferral.jobs < (count := self.rows.count_waited()):
            raise OxenRecordError(
                f"The record of the batch, {self.folder.asset_uri(deferral.record)}, lists {count:,} "
                f"generations, but {deferral.jobs:,} were submitted.",
                remedy="Clear the task to continue.",
            )
        self._has_news = True
        self.admission.readmit()
        # Do not send now what was not sent before: the batch had stopped.
        if self.results.outcome.stopped:
            self.gate.close(self.results.outcome.stopped)
        jobs = self.rows.in_state(OPEN)
        if deferral.sha256 is None:
            # The record's rows are not verified: fetch what was waited for, and request nothing else.
            jobs = (job for job in jobs if job.waited)
        self._prove_folder()
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
        return self.run()

    def stop(self) -> None:
        """Do what a kill asks for. Called from a signal handler, so it only sets a flag."""
        self._stopped = True

    def _prove_folder(self) -> None:
        with_store_errors(self.folder, self.folder.check)
        with_store_errors(self.folder, lambda: self.folder.prove(self.results.mark))

    def _worker(self, *, defers: bool, unsure: bool = False) -> RowWorker:
        listing = self.results.list_folder()
        setup = RowSetup(
            self.options, self.this_try, self.folder, listing, self.builder, self.operator.log, unsure
        )
        return RowWorker(setup, self.gate, self.budget, self.threads, defers)

    def _stop_rule(self) -> StopRule:
        most = self.options.most_failures(self.rows.total)
        return StopRule(self.options.on_error == "continue", most, failed=self.results.tally.bad)

    def _work(self, worker: RowWorker, begun: Iterator[Row], fresh: Iterator[Row]) -> None:
        tally = self.results.tally
        stop_rule = self._stop_rule()
        progress = Progress(tally, self.operator.log, lambda: self.budget.in_words)
        self._engine = Engine(worker, stop_rule, progress, self.results, lambda: self._stopped)
        self._has_news = True
        try:
            self._engine.run(begun, fresh)
        except BaseException:
            # For example Airflow's timeout: write what is known by now.
            with contextlib.suppress(Exception):
                self._push_facts(self.results.write(finished=False))
            self.results.send_metrics()
            raise
        outcome = self.results.outcome
        outcome.stopped = outcome.stopped or self.gate.why
        outcome.too_many = outcome.too_many or stop_rule.is_broken

    def _defer(self) -> NoReturn:
        options = self.options
        self._push_facts(self.results.write(finished=False))
        name, sha256 = self.results.save()
        self.admission.sum_up()
        self.results.send_metrics()
        deferral = Deferral(
            folder=options.storage_path,
            storage_conn_id=options.storage_conn_id,
            record=name,
            sha256=sha256,
            jobs=self.rows.count(WAITING),
            **self.budget.sums(),
            series=self.this_try.clear_key,
            anew=self._anew_once,
        )
        self.operator.log.info(
            "Waiting for %s generations in the triggerer; their ids are in %s.",
            f"{deferral.jobs:,}", self.folder.asset_uri(name),
        )  # fmt: skip
        defer(self.operator, self.context["ti"], options, deferral, self.this_try.identity.key)

    def _push_facts(self, result: Mapping[str, Any]) -> None:
        self.facts.push_batch(result, console=self.xcoms.is_public)
        self._has_news = False

    def _interrupted(self) -> OxenError:
        """Return the error for a try that was told to stop. Writes nothing: the next try may be running."""
        result = self.results.summed()
        self.results.send_metrics()
        return self.results.error(result) or OxenBatchError(
            f"The task was stopped when all {result['prompts']:,} images were kept in "
            f"{self.folder.asset_uri('')}.",
            retry="The next try writes the manifest, and pays for nothing.",
            retry_helps=True,
        )

    def _end(self) -> dict[str, Any]:
        if self.results.outcome.interrupted:
            raise self._interrupted()
        result = self.results.write(finished=True)
        self.results.forget()
        release(self.folder, self.this_try.identity)
        broken = self._engine.broken if self._engine is not None else None
        error = broken or self.results.error(result)
        all_kept = result["generated"] + result["reused"] == result["prompts"]
        self.admission.sum_up(all_kept=all_kept, over=error is None)
        self.xcoms.push_images(self.results.shown(), result["prompts"])
        self.xcoms.push_page(result["manifest"])
        self._push_facts(result)
        self.results.send_metrics()
        if error is not None:
            raise error
        if missing := self.results.outcome.missing(result):
            self.operator.log.warning("%s", missing)
        report_lineage(self.folder, FILES)
        made = of_manifest(result)
        add_asset_events(self.operator, self.context, made)
        prompts = self.options.prompts
        self.operator.lineage = lambda: lineage(
            self.builder.client.settings.base_url, result["models"], made, prompts
        )
        return result
