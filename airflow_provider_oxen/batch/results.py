"""What came of the rows, and where it is told: manifest, summary, contact sheet, and the record of a wait."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from logging import getLogger
from typing import Any

from airflow_provider_oxen import __version__
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenRecordError,
    OxenStorageError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.ending import Ending
from airflow_provider_oxen.batch.gate import NotSent
from airflow_provider_oxen.batch.policy import is_unknown
from airflow_provider_oxen.batch.progress import Tally
from airflow_provider_oxen.batch.report import INDEX, MANIFEST, SUMMARY
from airflow_provider_oxen.batch.spool import NEW, WAITING, Entry, Job, Spool
from airflow_provider_oxen.batch.waiting import FORMAT
from airflow_provider_oxen.batch.working import Done, Terms
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.operators.showing import of_manifest

__all__ = ["FILES", "Results"]

log = getLogger(__name__)

FILES = (MANIFEST, SUMMARY, INDEX)


@dataclass
class Results:
    """The books of one try.

    :ivar here: what came of rows in this very process, by ``generated``, ``reused`` and ``failed``, and the
        ``cost`` in USD that was told.
    """

    folder: Folder
    spool: Spool
    terms: Terms
    ending: Ending = field(default_factory=Ending, init=False)
    tally: Tally = field(default_factory=lambda: Tally(0), init=False)
    here: Counter[str] = field(default_factory=Counter, init=False)
    _in_hand: dict[int, bool] = field(default_factory=dict, init=False)
    _saved: bool = field(default=False, init=False)

    @property
    def record(self) -> str:
        """Name of the file that remembers the rows while the task is deferred."""
        return f".batch-{self.terms.identity.key[:16]}.jsonl"

    @property
    def mark(self) -> str:
        """For the names of unfinished files."""
        return f"{self.terms.identity.key[:16]}.{self.terms.try_number}"

    def kept(self, job: Job, result: Mapping[str, Any], preview: str | None, *, now: bool = False) -> None:
        """Note a row whose images are kept.

        :param now: whether that is this process's work.
        """
        status = "reused" if result["reused"] else "generated"
        self.tally.add(status)
        if now or status == "reused":
            self.here[status] += 1
        if now:
            self.here["cost"] += result.get("cost") or 0
        self.spool.done(job.n, self._line(job, status, result=result), preview)

    def begins(self, job: Job, *, paid: bool) -> None:
        """Note a row that is worked on from now on: until it is done, it may have been paid for.

        :param paid: whether it may have been before.
        """
        self._in_hand[job.n] = paid

    def note(self, done: Done) -> None:
        """Note what came of a row."""
        job, error = done.job, done.error
        paid = self._in_hand.pop(job.n, False)
        if done.waiting is not None:
            self.tally.waiting += 1
            self.spool.waits(job.n, str(done.waiting.generation_id), done.waiting.namespace)
        elif error is None:
            self.kept(job, done.result or {}, done.preview, now=True)
        else:
            self._failed(job, error, paid=paid)

    def _failed(self, job: Job, error: Exception, *, paid: bool) -> None:
        told = str(error) if isinstance(error, OxenError) else f"{type(error).__name__}: {error}"
        self.ending.met(error)
        # Where the record of a job could not be read, what became of the job is not known.
        blind = paid and isinstance(error, OxenStoreUnavailable)
        status = "unknown" if blind or is_unknown(error) else "failed"
        self.tally.add(status)
        self.here["failed"] += 1
        entry = self._line(job, status, error=without_queries(told))
        self.spool.done(job.n, entry | ({"not_sent": True} if isinstance(error, NotSent) else {}), None)

    def _line(
        self, job: Job, status: str, *, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> dict[str, Any]:
        name = job.id if job.id is not None else job.stem
        asked = job.request
        return report.line(job.line, name, status, asked.prompt, asked.model, result=result, error=error)

    def write(self, *, finished: bool, begun: bool = True) -> dict[str, Any]:
        """Write manifest, summary and contact sheet, and return the task's result.

        :param finished: whether this try is over; before, what has not ended may still be paid for.
        :param begun: whether this try may have sent anything.
        :raises OxenStorageError: where the store does not take them.
        :raises OxenStoreUnavailable: the same, before anything was sent.
        """
        facts = {
            **self.terms.identity._asdict(),
            "try_number": self.terms.try_number,
            "made_by": f"airflow-provider-oxen {__version__}",
            **({"stopped": self.ending.stopped} if self.ending.stopped else {}),
        }
        self._mark_in_hand()
        lines = self._lines(finished)
        try:
            return report.write(self.folder, self.mark, lines, facts=facts, finished=finished)
        except Exception as error:
            told = (
                f"What comes of the batch cannot be written to {self.folder.asset_uri(MANIFEST)} "
                f"({type(error).__name__}: {without_queries(str(error))})."
            )
            if not begun:
                raise OxenStoreUnavailable(f"{told} Nothing was sent by this try.") from None
            failed = OxenStorageError(
                f"{told} The images themselves are kept, each with its sidecar, and the next try pays for "
                "none of them again."
            )
            failed.retry_helps = True
            raise failed from None

    def shown(self) -> Iterator[dict[str, Any]]:
        """Yield what Airflow's web interface shows of the rows, in the order of the input."""
        for line, preview in self._lines(True):
            yield of_manifest(line, preview)

    def _mark_in_hand(self) -> None:
        for n in self._in_hand:
            self.spool.is_open(n)

    def _lines(self, finished: bool) -> Iterator[tuple[dict[str, Any], str | None]]:
        for row in self.spool.entries():
            yield row.entry or self._unended(row, finished), row.preview

    def _unended(self, row: Entry, finished: bool) -> dict[str, Any]:
        if row.state == NEW and finished:
            why = self.ending.stopped or "the batch had stopped before"
            return self._line(row.job, "failed", error=f"Not sent: {why}.") | {"not_sent": True}
        if row.state == WAITING:
            told = f"Generation {row.generation} is on its way, and may have been paid for."
        elif finished:
            told = "It was under way when the task was stopped, and may have been paid for."
        else:
            told = "Not done yet, when this was written; the batch was at work."
        return self._line(row.job, "unknown", error=told)

    def save(self) -> None:
        """Write down what is known of the rows, for the time in which the task is deferred.

        :raises OxenStorageError: where the store does not take it.
        """
        self._saved = True
        self._mark_in_hand()
        header = {
            "format": FORMAT,
            "identity": self.terms.identity.key,
            "rows": self.spool.rows,
            "ending": asdict(self.ending),
        }
        with tempfile.TemporaryFile(prefix="oxen-") as file:
            for facts in itertools.chain([header], self.spool.dump()):
                file.write(json.dumps(facts, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
            try:
                self.folder.put(self.record, file, self.mark)
            except Exception as error:
                failed = OxenStorageError(
                    f"The record of the batch, {self.folder.asset_uri(self.record)}, could not be written: "
                    f"{type(error).__name__}: {without_queries(str(error))}. The generations that were asked "
                    "for may have been paid for; the next try goes on with them."
                )
                failed.retry_helps = True
                raise failed from None

    def load(self) -> bool:
        """Read what :meth:`save` has written; return whether it is there.

        :raises OxenStoreUnavailable: where the store does not answer.
        :raises OxenRecordError: where it is damaged, or another task's.
        """
        self._saved = True
        try:
            with self.folder.open(self.record) as file:
                self._read(file)
        except FileNotFoundError:
            return False
        except OxenError:
            raise
        except Exception as error:
            raise OxenStoreUnavailable(
                f"The record of the batch, {self.folder.asset_uri(self.record)}, could not be read: "
                f"{type(error).__name__}: {without_queries(str(error))}. The generations that this task "
                "waited for may have been paid for; the next try goes on with them."
            ) from None
        return True

    def _read(self, file: Any) -> None:
        try:
            header = json.loads(file.readline())
            if (header["format"], header["identity"]) != (FORMAT, self.terms.identity.key):
                raise ValueError("it is another's")
            self.ending = Ending(**header["ending"])
            for line in file:
                facts = json.loads(line)
                self.spool.load(facts)
                self._count(facts.get("entry"))
        except (ValueError, KeyError, TypeError) as error:
            raise OxenRecordError(
                f"The record of the batch, {self.folder.asset_uri(self.record)}, is damaged ({error!r}). "
                "Nothing was sent by this. The generations that this task waited for may have been paid for: "
                "clear the task to go on with them."
            ) from None

    def _count(self, entry: Mapping[str, Any] | None) -> None:
        self.tally.total = self.spool.rows
        if entry is not None:
            self.tally.add(entry["status"])

    def tidy(self, listing: Listing) -> None:
        """Remove what a try that died has left of the batch's own files."""
        self._saved = self._saved or listing.has(self.record)
        if listing.has_unfinished(self.mark):
            self.folder.clean(self.mark)

    def forget(self) -> None:
        """Remove what :meth:`save` has written; where that fails, it stays and does no harm."""
        try:
            if self._saved:
                self.folder.remove(self.record)
        except Exception as error:
            log.info("%s stays: %s", self.folder.asset_uri(self.record), without_queries(str(error)))
