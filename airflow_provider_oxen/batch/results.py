"""Collect the rows' outcomes and write them: manifest, summary, contact sheet, a deferral's record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_oxen import __version__, metrics
from airflow_provider_oxen.api.errors import OxenBatchError, OxenError, OxenStorageError, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.budget import exact
from airflow_provider_oxen.batch.facts import BatchTry, RowOutcome
from airflow_provider_oxen.batch.limits import NotSent
from airflow_provider_oxen.batch.outcome import BatchOutcome, Bill, is_unknown
from airflow_provider_oxen.batch.progress import Tally
from airflow_provider_oxen.batch.record import BatchRecord
from airflow_provider_oxen.batch.report import INDEX, MANIFEST, SUMMARY
from airflow_provider_oxen.batch.rowstore import NEW, WAITING, Row, RowStore, Waited
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.jobs.record import Endpoint, Record
from airflow_provider_oxen.tasks.xcoms import of_manifest

__all__ = ["FILES", "Results"]

FILES = (MANIFEST, SUMMARY, INDEX)


@dataclass
class Results:
    """The results of one try.

    :ivar here: outcomes of rows in this very process, by ``generated``, ``reused`` and ``failed``.
    :ivar cost: USD that the hub has charged in this process, and that no other has counted.
    """

    folder: Folder
    rows: RowStore
    this_try: BatchTry
    endpoint: Endpoint
    outcome: BatchOutcome = field(default_factory=BatchOutcome, init=False)
    tally: Tally = field(default_factory=lambda: Tally(0), init=False)
    here: Counter[str] = field(default_factory=Counter, init=False)
    cost: Decimal = field(default=Decimal(0), init=False)
    _in_hand: dict[int, bool] = field(default_factory=dict, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        key, number = self.this_try.identity.key, self.this_try.try_number
        self._record = BatchRecord(self.folder, self.rows, key, number, self.mark)

    @property
    def mark(self) -> str:
        """For the names of unfinished files."""
        return f"{self.this_try.identity.key[:16]}.{self.this_try.try_number}"

    def kept(self, row: Row, result: Mapping[str, Any], preview: str | None, *, now: bool = False) -> None:
        """Record a row whose images are kept.

        :param now: whether this process has done it.
        """
        status = "reused" if result["reused"] else "generated"
        self.tally.counts[status] += 1
        if now or status == "reused":
            self.here[status] += 1
        self.rows.mark_done(row.n, report.line(row, status, result=result), preview)

    def begins(self, row: Row, *, paid: bool) -> None:
        """Record that work on a row begins: until it is done, it may have been paid for.

        :param paid: whether it may have been paid for before.
        """
        self._in_hand[row.n] = paid

    def note(self, done: RowOutcome) -> None:
        """Record the outcome of a row."""
        row, error = done.row, done.error
        paid = self._in_hand.pop(row.n, False)
        if done.waiting is not None:
            self.tally.counts["waiting"] += 1
            self.rows.mark_waiting(row.n, _waited(done.waiting))
        elif error is None:
            self.cost += exact(done.uncounted)
            self.kept(row, done.result or {}, done.preview, now=True)
        else:
            self._failed(row, error, done.bill, paid=paid)

    def _failed(self, row: Row, error: Exception, bill: Bill, *, paid: bool) -> None:
        self.outcome.add(error)
        # If the record of a job could not be read, the job's outcome is not known.
        blind = paid and isinstance(error, OxenStoreUnavailable)
        status = "unknown" if blind or is_unknown(error) else "failed"
        self.tally.counts[status] += 1
        self.here["failed"] += 1
        self.cost += exact(bill.uncounted)
        words = without_queries(str(error)) if isinstance(error, OxenError) else describe_error(error)
        entry = report.line(row, status, result=bill._asdict(), error=words)
        marks = {"not_sent": isinstance(error, NotSent), "unclear": bill.unclear}
        self.rows.mark_done(row.n, entry | {name: True for name, holds in marks.items() if holds}, None)

    def write(self, *, finished: bool, begun: bool = True) -> dict[str, Any]:
        """Write manifest, summary and contact sheet, and return the task's result.

        :param finished: whether this try is over; before that, a row that has not ended may still be paid
            for.
        :param begun: whether this try may have sent anything.
        :raises OxenStorageError: if the store does not accept them.
        :raises OxenStoreUnavailable: the same, before anything was sent.
        :raises OxenError: if another try runs by now.
        """
        facts = {
            **self.this_try.identity._asdict(),
            "try_number": self.this_try.try_number,
            "clearing": self.this_try.clear_key,
            "clear_number": self.this_try.clear_number,
            "made_by": f"airflow-provider-oxen {__version__}",
            **({"stopped": self.outcome.stopped} if self.outcome.stopped else {}),
        }
        self._mark_in_hand()
        lines = self._lines(finished)
        try:
            return report.write(
                self.folder, self.mark, lines, facts=facts, finished=finished, check=self.this_try.check
            )
        except OxenError:
            raise
        except Exception as error:
            where = self.folder.asset_uri(MANIFEST)
            failure = f"The batch's manifest cannot be written to {where} ({describe_error(error)})."
            if not begun:
                raise OxenStoreUnavailable(failure) from None
            raise OxenStorageError(
                failure,
                money="The images are paid for and kept, each with its sidecar.",
                retry="The next try pays for none of them again.",
                retry_helps=True,
            ) from None

    def summed(self) -> dict[str, Any]:
        """Return the task's result as it is now, and write nothing: the next try may be running."""
        self._mark_in_hand()
        return report.summed(self.folder, self._lines(True))

    def shown(self) -> Iterator[dict[str, Any]]:
        """Yield what Airflow's web interface shows of the rows, in the order of the input."""
        for row, entry, preview in self.rows.entries():
            yield of_manifest(entry or self._unended(row, True), preview, row.request.body())

    def _mark_in_hand(self) -> None:
        for n in self._in_hand:
            self.rows.mark_open(n)

    def _lines(self, finished: bool) -> Iterator[tuple[dict[str, Any], str | None]]:
        for row, entry, preview in self.rows.entries():
            yield entry or self._unended(row, finished), preview

    def _unended(self, row: Row, finished: bool) -> dict[str, Any]:
        if row.state == NEW and finished:
            why = self.outcome.stopped or "the batch had stopped before"
            return report.line(row, "failed", error=f"Not sent: {why}.") | {"not_sent": True}
        if row.state == WAITING and row.waited:
            facts = {"seed": row.waited.seed, "generation_id": row.waited.generation}
            why = f"Generation {row.waited.generation} is still running and may have been paid for."
            return report.line(row, "unknown", result=facts, error=why)
        if finished:
            why = "It was running when the task was stopped, and may have been paid for."
        else:
            why = "Not finished when this was written: the batch was running."
        return report.line(row, "unknown", error=why)

    def error(self, result: Mapping[str, Any]) -> OxenBatchError | None:
        """Return the error that the task ends with, as :meth:`.BatchOutcome.error` does."""
        where = self.folder.asset_uri("")
        return self.outcome.error(result, where, tries_left=self.this_try.tries_left)

    def send_metrics(self) -> None:
        """Send this process's results to Airflow's metrics."""
        facts = {name: float(self.here[name]) for name in ("generated", "reused", "failed")}
        facts["cost"] = float(self.cost)
        metrics.batch(facts, self.endpoint, time.monotonic() - self._began)

    def save(self) -> tuple[str, str]:
        """Write the record of a deferral, as :meth:`.BatchRecord.save` does."""
        self._mark_in_hand()
        self.this_try.check()
        return self._record.save(self.outcome)

    def load(self, name: str, sha256: str | None) -> bool:
        """Read such a record, as :meth:`.BatchRecord.load` does; return whether there is one."""
        outcome = self._record.load(name, sha256, self.tally.counts)
        if outcome is None:
            return False
        self.outcome = outcome
        # That was another process; what it left undone may be tried again.
        outcome.passes, outcome.interrupted = outcome.passes or outcome.interrupted, False
        self.tally.total = self.rows.total
        return True

    def list_folder(self) -> Listing:
        """List the folder once, and remove the files that a dead try of this batch has left."""
        names = self._record.noting(self.folder.names())
        listing = with_store_errors(self.folder, lambda: Listing(names))
        if listing.has_unfinished(self.mark):
            self.this_try.check()
            self.folder.clean(self.mark)
        return listing

    def forget(self) -> None:
        """Remove the records of this task's tries; one that cannot be removed stays and does no harm."""
        if self._record.noted:
            self.this_try.check()
            self._record.forget()


def _waited(record: Record) -> Waited:
    seed = record.body.get("seed")
    return Waited(
        str(record.generation_id),
        record.namespace,
        seed if isinstance(seed, int) else None,
        record.price,
        record.submitted_at,
    )
