"""The record of one try as it goes on: before the money any doubt stops, after it nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.api.retries import call_with_retries
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import RecordStore
from airflow_provider_oxen.tasks.running import Running

__all__ = ["JobRecorder"]

_ATTEMPTS = 4
"""Attempts at writing a record after the money was spent, some 4 s in all. Then the work goes on without: the
image is worth more than the record, and the log tells the id."""


class JobRecorder:
    """Writes the record of one try.

    :param running: tells whether this try is the one that Airflow runs.
    :param log: of the task.
    :ivar record: the last that was written.
    """

    def __init__(self, store: RecordStore, running: Running, log: Any) -> None:
        self.store = store
        self.record: Record | None = None
        self._running = running
        self._log = log

    def write(self, record: Record) -> None:
        """Write the record; one that a request was sent for is worth more than a place that does not take it.

        :raises OxenOvertaken: of an intent, or where nothing was sent: another try has written since.
        :raises OxenStoreUnavailable: of an intent.
        """
        record = self.claimed(record)
        if record.phase == "intent":
            # Before the money: any doubt stops.
            self.store.write(record)
            self.record = record
            return
        self.record = record
        if record.phase == "not_sent":
            self._take_back(record)
        else:
            self.call_with_retries(f"written ({record.phase})", lambda: self.store.write(record))

    def close(self, record: Record) -> None:
        """Write the record of a job that is done in its last form."""
        self.record = record = self.claimed(record)
        self.call_with_retries("closed", lambda: self.store.close(record))

    def claimed(self, record: Record) -> Record:
        """Return the record with the names that keeping its job's images has claimed in between."""
        known = self.record
        if known is None or known.nonce != record.nonce or record.files:
            return record
        return record.to(record.phase, files=known.files)

    def call_with_retries(self, done: str, write: Callable[[], None]) -> None:
        """Write with patience, and go on without where that is in vain.

        :param done: what is done by it, for the log.
        """
        try:
            call_with_retries(_again, write)
        except OxenOvertaken as error:
            if self.record and self.record.phase == "not_sent":
                raise
            # What was paid for is worth keeping all the same.
            self._log.error(
                "The record of %s is not %s: %s", self.record and self.record.job, done, error.message
            )
        except OxenStoreUnavailable as error:
            job = self.record.job if self.record else "a request"
            self._log.error(
                "The record of %s could not be %s; the task continues. %s", job, done, error.message
            )

    def _take_back(self, record: Record) -> None:
        """Say that nothing was sent, unless another try may have sent something meanwhile."""
        try:
            self._running.check()
        except OxenStoreUnavailable as error:
            self._log.warning("%s The next try checks whether it was.", error.message)
            return
        self.call_with_retries("written (not sent)", lambda: self.store.write(record))


def _again() -> Any:
    import tenacity

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(OxenStoreUnavailable),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=0.5),
        reraise=True,
    )
