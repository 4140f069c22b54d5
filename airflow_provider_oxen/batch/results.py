"""What came of the rows, and what is told of it: manifest, summary, contact sheet, and the task's end."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any

from airflow_provider_oxen import __version__
from airflow_provider_oxen.api.errors import (
    OxenBatchError,
    OxenError,
    OxenRecordError,
    OxenStorageError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.gate import NotSent
from airflow_provider_oxen.batch.plan import INDEX, MANIFEST, SUMMARY
from airflow_provider_oxen.batch.policy import is_unknown
from airflow_provider_oxen.batch.progress import Tally
from airflow_provider_oxen.batch.spool import NEW, WAITING, Entry, Job, Spool
from airflow_provider_oxen.batch.waiting import FORMAT
from airflow_provider_oxen.batch.working import Done, Terms
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder

__all__ = ["FILES", "Results"]

log = getLogger(__name__)

FILES = (MANIFEST, SUMMARY, INDEX)


@dataclass
class Results:
    """The books of one try.

    :ivar stopped: why nothing more was sent, as a clause, or None.
    :ivar too_many: whether more rows failed than may.
    :ivar broken: an error that nobody foresaw.
    """

    folder: Folder
    spool: Spool
    terms: Terms
    stopped: str | None = None
    too_many: bool = False
    broken: Exception | None = None
    tally: Tally = field(default_factory=lambda: Tally(0), init=False)
    _retry_helps: bool = field(default=False, init=False)
    _retry_after: float | None = field(default=None, init=False)
    _final: bool = field(default=False, init=False)
    _saved: bool = field(default=False, init=False)

    @property
    def record(self) -> str:
        """Name of the file that remembers the rows while the task is deferred."""
        return f".batch-{self.terms.identity.key[:16]}.jsonl"

    @property
    def mark(self) -> str:
        """For the names of unfinished files."""
        return f"{self.terms.identity.key[:16]}.{self.terms.try_number}"

    def kept(self, job: Job, result: Mapping[str, Any], preview: str | None) -> None:
        """Note a row whose images are kept."""
        status = "reused" if result["reused"] else "generated"
        self.tally.add(status)
        self.spool.done(job.n, self._line(job, status, result=result), preview)

    def begins(self, job: Job) -> None:
        """Note a row that is worked on from now on: until it is done, it may have been paid for."""
        self.spool.is_open(job.n)

    def note(self, done: Done) -> None:
        """Note what came of a row."""
        job, error = done.job, done.error
        if done.waiting is not None:
            self.tally.waiting += 1
            self.spool.waits(job.n, str(done.waiting.generation_id), done.waiting.namespace)
        elif error is None:
            self.kept(job, done.result or {}, done.preview)
        else:
            self._failed(job, error)

    def _failed(self, job: Job, error: Exception) -> None:
        told = str(error) if isinstance(error, OxenError) else f"{type(error).__name__}: {error}"
        if isinstance(error, NotSent):
            self._wait_as_told(error)
        elif isinstance(error, OxenError):
            self._final = True
            self._retry_helps = self._retry_helps or error.retry_helps
            self._wait_as_told(error)
        status = "unknown" if is_unknown(error) else "failed"
        self.tally.add(status)
        entry = self._line(job, status, error=without_queries(told))
        self.spool.done(job.n, entry | ({"not_sent": True} if isinstance(error, NotSent) else {}), None)

    def _wait_as_told(self, error: OxenError) -> None:
        if error.retry_after is not None:
            self._retry_after = max(self._retry_after or 0.0, error.retry_after)

    def _line(
        self, job: Job, status: str, *, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> dict[str, Any]:
        name = job.id if job.id is not None else job.stem
        asked = job.request
        return report.line(job.line, name, status, asked.prompt, asked.model, result=result, error=error)

    def write(self, *, finished: bool) -> dict[str, Any]:
        """Write manifest, summary and contact sheet, and return the task's result.

        :param finished: whether this try is over; before, what has not ended may still be paid for.
        :raises OxenStorageError: where the store does not take them.
        """
        facts = {
            **self.terms.identity._asdict(),
            "try_number": self.terms.try_number,
            "made_by": f"airflow-provider-oxen {__version__}",
            **({"stopped": self.stopped} if self.stopped else {}),
        }
        lines = self._lines(finished)
        try:
            return report.write(self.folder, self.mark, lines, facts=facts, finished=finished)
        except Exception as error:
            failed = OxenStorageError(
                f"What came of the batch could not be written to {self.folder.asset_uri(MANIFEST)} "
                f"({type(error).__name__}: {without_queries(str(error))}). The images themselves are kept, "
                "each with its sidecar, and the next try pays for none of them again."
            )
            failed.retry_helps = True
            raise failed from None

    def _lines(self, finished: bool) -> Iterator[tuple[dict[str, Any], str | None]]:
        for row in self.spool.entries():
            yield row.entry or self._unended(row, finished), row.preview

    def _unended(self, row: Entry, finished: bool) -> dict[str, Any]:
        if row.state == NEW and finished:
            why = self.stopped or "the batch had stopped before"
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
        header = {
            "format": FORMAT,
            "identity": self.terms.identity.key,
            "rows": self.spool.rows,
            "stopped": self.stopped,
            "too_many": self.too_many,
            "final": self._final,
            "retry_helps": self._retry_helps,
        }
        with tempfile.TemporaryFile(prefix="oxen-") as file:
            for facts in itertools.chain([header], self.spool.dump()):
                file.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")
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
            self.stopped, self.too_many = header["stopped"], header["too_many"]
            self._final, self._retry_helps = header["final"], header["retry_helps"]
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

    def error(self, spent: str, result: Mapping[str, Any]) -> Exception | None:
        """Return the error that the task ends with, or None where all came that had to.

        :param spent: USD, in words.
        :param result: of :meth:`write`.
        """
        if self.broken is not None:
            return self.broken
        kept = self.tally.generated + self.tally.reused
        if kept == self.tally.total or not (self.stopped or self.too_many or not kept):
            return None
        why = f" Nothing more was sent: {self.stopped}." if self.stopped else ""
        first = "".join(
            f"\n  line {item['line']} ({item['id']}): {item['error']}" for item in result["failures"][:5]
        )
        return OxenBatchError(
            f"{self.missing(result)} {kept:,} are kept in {self.folder.asset_uri('')}. {spent} spent so "
            f"far.{why} Another try does only what is missing.{first}",
            retry_helps=self._retry_helps or not self._final,
            retry_after=self._retry_after,
        )

    def missing(self, result: Mapping[str, Any]) -> str:
        """Return how many prompts gave no image, and what to do about it; an empty text for none.

        :param result: of :meth:`write`.
        """
        unknown, failed, unsent = result["unknown"], result["failed"], result["not_sent"]
        if not unknown + failed:
            return ""
        counts = {"failed": failed - unsent, "not sent": unsent, "unknown": unknown}
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        advice = (
            " What is unknown may have been paid for, and is not sent again: look at the account's history; "
            "to go on, set on_unknown_outcome to 'resubmit' (perhaps pay twice) or to 'adopt' (take the one "
            "generation that matches), and clear the task."
        )
        return (
            f"{unknown + failed:,} of {result['prompts']:,} prompts gave no image ({parts}); why stands in "
            f"{self.folder.asset_uri(MANIFEST)}.{advice if unknown else ''}"
        )
