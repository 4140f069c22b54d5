"""Open what one try of a batch needs: its arguments, its folder, its connection, its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.batch.account import AccountStore
from airflow_provider_oxen.batch.admission import Admission
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.facts import BatchTry
from airflow_provider_oxen.batch.limits import Gate, Pace
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.batch.rowstore import RowStore
from airflow_provider_oxen.batch.run import BatchOperator, BatchRun
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.images.storage import open_folder
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.tasks.facts import BatchFacts
from airflow_provider_oxen.tasks.places import state_store
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.xcoms import TaskXComs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


__all__ = ["open_batch"]

_THREADS = 10
"""Threads for blocking work: files, stores, the proof of images. More of them gain little: by default a
store's driver has as many connections, and a disk is no faster. Together with the loop's own, a driver's, and
those that resolve names, a batch has at most 20."""


@contextmanager
def open_batch(
    operator: BatchOperator, context: Context, deferred: Mapping[str, Any] | None = None
) -> Iterator[BatchRun]:
    """Read an operator's arguments after rendering, and open what its try needs.

    :param deferred: what a task that returns from the triggerer was deferred with.
    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    ti, log = context["ti"], operator.log
    facts = BatchFacts(ti, log)
    with facts.noting_failure(waited=deferred is not None), ExitStack() as stack:
        options = _in_its_folder(BatchArguments.of(operator), deferred or {}, log)
        folder = open_folder(options.storage_path, options.storage_conn_id, options.storage_options)
        xcoms = TaskXComs(ti, log, options.previews, operator.pushed_links or {}, folder)
        rows = stack.enter_context(RowStore(folds_case=folder.folds_case()))
        client = stack.enter_context(OxenHook(options.oxen_conn_id).get_conn())
        threads = Threads(_THREADS, "oxen-batch-files")
        stack.callback(threads.shutdown)
        identity = Identity.of(ti)
        this_try = BatchTry(
            identity=identity,
            try_number=ti.try_number,
            # When a task is cleared, Airflow adds its retries to max_tries, and one for the try that is over.
            clear_key=f"{identity.key[:16]}.{ti.max_tries or 0}",
            clear_number=getattr(context.get("dag_run"), "clear_number", None),
            tries_left=ti.try_number <= (ti.max_tries or 0),
            running=Running(ti, seconds=1.0),
        )
        results, budget = Results(folder, rows, this_try, options.endpoint), Budget(options.max_cost)
        accounts = AccountStore(*state_store(context), folder, identity, results.mark)
        admission = Admission(operator, context, options, this_try, accounts, budget)
        apart = 60 / options.requests_per_minute if options.requests_per_minute else 0
        run = BatchRun(
            operator,
            context,
            options,
            folder,
            rows,
            this_try,
            RequestBuilder(client, options.validation, options.max_cost is not None, None, guessed=True),
            Gate(Pace(options.max_in_flight, apart), log.warning),
            budget,
            threads,
            results,
            xcoms,
            facts,
            admission,
        )
        with admission.noting_the_end(), run.adding_up():
            yield run


def _in_its_folder(options: BatchArguments, deferred: Mapping[str, Any], log: Any) -> BatchArguments:
    """Return the options with the folder in which the batch began, where its rows' records are."""
    folder, conn_id = deferred.get("folder", options.storage_path), deferred.get("storage_conn_id")
    if folder == options.storage_path:
        return options
    log.warning("storage_path changed while this task waited; it continues in %s.", folder)
    return options.model_copy(update={"storage_path": folder, "storage_conn_id": conn_id})
