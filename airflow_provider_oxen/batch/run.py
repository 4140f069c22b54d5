"""One try of a batch: planned, worked on, waited for, and told of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen import metrics
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.engine import Engine
from airflow_provider_oxen.batch.gate import Gate, Pace
from airflow_provider_oxen.batch.options import BatchOptions, read_options
from airflow_provider_oxen.batch.plan import Plan, read_rows
from airflow_provider_oxen.batch.policy import Policy
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.results import FILES, Results
from airflow_provider_oxen.batch.shared import Shared
from airflow_provider_oxen.batch.sheet import PREVIEWS
from airflow_provider_oxen.batch.source import open_source
from airflow_provider_oxen.batch.spool import NEW, OPEN, WAITING, Job, Spool
from airflow_provider_oxen.batch.watching import Watching
from airflow_provider_oxen.batch.working import Terms, Working
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder, open_folder
from airflow_provider_oxen.jobs.identity import Identity
from airflow_provider_oxen.operators.output import asked, report_lineage
from airflow_provider_oxen.operators.prepare import Preparing
from airflow_provider_oxen.operators.showing import MOST, Showing
from airflow_provider_oxen.operators.telling import lineage, of_batch, tell_assets

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator

__all__ = ["WAITED", "BatchRun", "open_batch"]

WAITED = "What this batch has waited for"
"""For messages of a try that comes back from the triggerer."""

_SLACK = 600.0
"""Seconds that Airflow waits beyond the trigger's own deadline: it strikes only where no triggerer runs."""


@dataclass
class BatchRun:
    """One try of one batch.

    :param operator: with its arguments rendered.
    """

    operator: ImageBatchGenerateOperator
    context: Context
    options: BatchOptions
    folder: Folder
    spool: Spool
    terms: Terms
    shared: Shared
    results: Results
    showing: Showing
    _engine: Engine | None = field(default=None, init=False)
    _told_to_stop: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def run(self) -> dict[str, Any]:
        """Plan, ask for what is missing, and keep it, or defer; return the operator's result.

        :raises OxenError: see the operator.
        """
        options, log = self.options, self.operator.log
        source = open_source(self.operator.prompts, options.prompts_conn_id)
        read_rows(source, options.defaults, self.spool)
        self.results.tally.total = self.spool.rows
        working = self._working(defers=self.operator.deferrable)
        where = str(source)
        plan = Plan(
            self.spool,
            where,
            self.folder,
            working.listing,
            self.shared.preparing,
            log,
            options.overwrite,
            look=working.look,
            found=lambda job, found: self.results.kept(job, found.result or {}, found.preview),
        )
        spent, unknown = plan.look_around(options.max_in_flight)
        plan.check_models()
        if options.max_cost is not None:
            plan.price(options.max_cost, spent, options.allow_unknown_price)
        self.shared.budget.before(spent, unknown)
        tally = self.results.tally
        log.info(
            "%s: %s prompts, of which %s are in %s already.",
            where, f"{tally.total:,}", f"{tally.ended:,}", self.folder.asset_uri(""),
        )  # fmt: skip
        metrics.retried(self.terms.try_number)
        self.showing.begins(self.terms.origin, options.defaults["model"], None, tally.total)
        if tally.ended < tally.total:
            # From here on, what an earlier try wrote there could be wrong about what was paid for.
            self.results.write(finished=False, begun=False)
            self._work(working, self.spool.jobs(NEW))
            if self.spool.count(WAITING):
                self._defer()
        return self._end()

    def resume(self, event: Any, deferred: Mapping[str, Any] | None) -> dict[str, Any]:
        """Go on after the trigger has seen the jobs' ends.

        :param deferred: what :meth:`_defer` gave Airflow to keep; None where that was lost.
        """
        from airflow_provider_oxen.triggers.events import read_batch_event

        name = self.results.record
        told = read_batch_event(event, name)
        if told.status != "ended":
            self.operator.log.warning("The triggerer did not see the end of all jobs: %s", told.message)
        if not self.results.load():
            self.operator.log.warning("The record %s is gone: the input is read anew.", name)
            return self.run()
        counted = deferred or {}
        self.shared.budget.before(counted.get("spent", 0.0), counted.get("spent_unknown", 0))
        # What was not sent before is not sent now: the batch had stopped.
        if self.results.ending.stopped:
            self.shared.gate.close(self.results.ending.stopped)
        self._work(self._working(defers=False), iter(()))
        return self._end()

    def stop(self) -> None:
        """Do what a kill asks for; called from a signal handler, and so it only sets flags."""
        self._told_to_stop = True
        if self._engine is not None:
            self._engine.told_to_stop = True

    def _working(self, *, defers: bool) -> Working:
        asked(self.folder, self.folder.check)
        listing = asked(self.folder, lambda: Listing(self.folder.names()))
        self.results.tidy(listing)
        return Working(self.shared, self.folder, listing, self.terms, self.operator.log, defers)

    def _work(self, working: Working, fresh: Iterator[Job]) -> None:
        options, log, tally = self.options, self.operator.log, self.results.tally
        policy = Policy(options.goes_on, options.max_failures.of(tally.total), tally.bad)
        progress = Progress(tally, log, lambda: self.shared.budget.told)
        self._engine = Engine(working, policy, progress, self.results, log, options.max_in_flight)
        # A signal may have come before there was an engine, or just now.
        self._engine.told_to_stop = self._told_to_stop
        try:
            self._engine.run(self.spool.jobs(OPEN), fresh)
        except BaseException:
            # Such as Airflow's timeout: what is known by now is worth to be told.
            with contextlib.suppress(Exception):
                self.results.write(finished=False)
            raise
        finally:
            self.shared.watching.close()
        ending = self.results.ending
        ending.stopped = ending.stopped or self.shared.gate.why
        ending.too_many = ending.too_many or policy.is_broken

    def _defer(self) -> None:
        from airflow_provider_oxen.triggers.batches import OxenBatchTrigger

        options, now = self.options, time.time()
        self.results.write(finished=False)
        self.results.save()
        deadline = None if options.timeout is None else now + options.timeout
        trigger = OxenBatchTrigger(
            record=self.results.record,
            folder=options.folder,
            storage_conn_id=options.storage_conn_id,
            identity=self.terms.identity.key,
            jobs=self.spool.count(WAITING),
            oxen_conn_id=options.conn_id,
            poll_interval=options.poll_interval,
            deadline=deadline,
            patience=now + options.lookup_grace,
        )
        self.operator.log.info(
            "Waiting for %s generations in the triggerer; their ids are in %s.",
            f"{trigger.jobs:,}", self.folder.asset_uri(self.results.record),
        )  # fmt: skip
        self.operator.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={
                "batch": {
                    "folder": options.folder,
                    "storage_conn_id": options.storage_conn_id,
                    "spent": self.shared.budget.spent,
                    "spent_unknown": self.shared.budget.unknown,
                }
            },
            timeout=None if options.timeout is None else timedelta(seconds=options.timeout + _SLACK),
        )

    def _end(self) -> dict[str, Any]:
        result = self.results.write(finished=True)
        self.results.forget()
        self.showing.ends(self.results.shown(), result["prompts"])
        self.showing.kept(result["manifest"])
        metrics.batch(self.results.here, self.terms.endpoint, time.monotonic() - self._began)
        if self._engine is not None and self._engine.broken is not None:
            raise self._engine.broken
        ending, left = self.results.ending, self.terms.tries_left
        where = self.folder.asset_uri("")
        if error := ending.error(result, self.shared.budget.told, where, tries_left=left):
            raise error
        if told := ending.missing(result):
            self.operator.log.warning("%s", told)
        report_lineage(self.folder, FILES)
        made = of_batch(result)
        tell_assets(self.operator, self.context, made)
        prompts = self.operator.prompts if isinstance(self.operator.prompts, str) else None
        self.operator.made = lambda: lineage(self.terms.origin, result["models"], made, prompts)
        return result


@contextmanager
def open_batch(
    operator: ImageBatchGenerateOperator, context: Context, deferred: Mapping[str, Any] | None = None
) -> Iterator[BatchRun]:
    """Read an operator's arguments after rendering, and open what its try needs.

    :param deferred: what a task that comes back from the triggerer was deferred with.
    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    options = _in_its_folder(read_options(operator), deferred or {}, operator.log)
    folder = open_folder(options.folder, options.storage_conn_id)
    ti, log = context["ti"], operator.log
    showing = Showing(ti, log, options.previews, operator.told_links or {})
    identity = Identity(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(folds_case=folder.folds_case()))
        client = stack.enter_context(OxenHook(options.conn_id).get_conn())
        settings = client.settings
        shared = Shared(
            client,
            Preparing(client, options.validate, options.max_cost is not None, None, guessed=True),
            Gate(
                Pace(
                    options.max_in_flight,
                    60 / options.requests_per_minute if options.requests_per_minute else 0,
                ),
                log.warning,
            ),
            Budget(options.max_cost),
            Watching(options.conn_id, settings, options.poll_interval),
        )
        stack.callback(shared.close)
        terms = Terms(
            identity=identity,
            try_number=ti.try_number,
            # Airflow adds to max_tries what a cleared task has as retries, and one for the try that is over.
            series=f"{identity.key[:16]}.{ti.max_tries or 0}",
            origin=settings.base_url,
            namespace=settings.target_namespace,
            endpoint="queue" if options.use_queue else "generate",
            overwrite=options.overwrite,
            max_bytes=options.max_bytes,
            on_unknown_outcome=options.on_unknown_outcome,
            on_changed_request=options.on_changed_request,
            lookup_grace=options.lookup_grace,
            poll_interval=options.poll_interval,
            timeout=options.timeout,
            tries_left=ti.try_number <= (ti.max_tries or 0),
            previews=PREVIEWS,
            shown=MOST if showing.wanted else 0,
        )
        results = Results(folder, spool, terms)
        yield BatchRun(operator, context, options, folder, spool, terms, shared, results, showing)


def _in_its_folder(options: BatchOptions, deferred: Mapping[str, Any], log: Any) -> BatchOptions:
    """Return the options with the folder in which the batch was begun: its rows' records are there."""
    folder, conn_id = deferred.get("folder", options.folder), deferred.get("storage_conn_id")
    if folder == options.folder:
        return options
    log.warning("storage_path changed while this task waited; it goes on in %s.", folder)
    return replace(options, folder=folder, storage_conn_id=conn_id)
