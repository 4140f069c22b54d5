"""Write the record of one try: before the payment any doubt stops, after it nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable, OxenUnavailable
from airflow_provider_oxen.api.retries import call_with_retries
from airflow_provider_oxen.jobs import evidence
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import RecordStore
from airflow_provider_oxen.tasks.running import Running, clocks

__all__ = ["JobRecorder"]

_ATTEMPTS = 4
"""Attempts at writing a record after the money was spent, about 4 s in all. Then the work continues without
it: the image is worth more than the record, and the log has the id."""

_CHECKS = 3
"""How often the last check is started again after a clock has jumped."""


class JobRecorder:
    """Writes the record of one try.

    :ivar record: the record that was written last, or is in use.
    """

    def __init__(self, store: RecordStore, running: Running, log: Any) -> None:
        self.store = store
        self.running = running
        self.log = log
        self.record: Record | None = None

    def write(self, record: Record) -> None:
        """Write the record. After a request was sent, a place that does not accept it only logs an error.

        :raises OxenOvertaken: for an intent, or if nothing was sent: another try has written since.
        :raises OxenStoreUnavailable: for an intent.
        """
        record = self.claimed(record)
        if record.phase == "intent":
            # Before the payment, any doubt stops.
            self.store.write(record)
            self.record = record
            return
        self.record = record
        if record.phase == "not_sent":
            self._take_back(record)
        else:
            self.call_with_retries(f"written ({record.phase})", lambda: self.store.write(record))

    def check_last(self, record: Record) -> None:
        """Make sure, right before the first byte, that no other try is running.

        :raises OxenOvertaken: if another try is running, or was.
        """
        for _ in range(_CHECKS):
            began = clocks()
            found = self.store.read()
            self.running.check()
            if self.store.keeps and (doubt := evidence.send_conflict(record, found)):
                raise OxenOvertaken(doubt)
            if not clocks().have_jumped(began):
                return
            self.log.warning(
                "This process was paused, or the clock was changed: checking again before sending."
            )
        raise OxenUnavailable(
            "The check before the request took too long several times: this machine is overloaded, or its "
            "clock jumps."
        )

    def close(self, record: Record) -> None:
        """Write the record of a finished job in its last form."""
        self.record = record = self.claimed(record)
        self.call_with_retries("closed", lambda: self.store.close(record))

    def claimed(self, record: Record) -> Record:
        """Return the record with the file names that were claimed while keeping its job's images."""
        known = self.record
        if known is None or known.nonce != record.nonce or record.files:
            return record
        return record.to(record.phase, files=known.files)

    def call_with_retries(self, done: str, write: Callable[[], None]) -> None:
        """Write with retries, and continue if they all fail.

        :param done: what the write does, as a participle for the log.
        """
        try:
            call_with_retries(_again, write)
        except OxenOvertaken as error:
            if self.record and self.record.phase == "not_sent":
                raise
            # What was paid for is still worth keeping.
            self.log.error(
                "The record of %s is not %s: %s", self.record and self.record.job, done, error.message
            )
        except OxenStoreUnavailable as error:
            job = self.record.job if self.record else "a request"
            self.log.error(
                "The record of %s could not be %s; the task continues. %s", job, done, error.message
            )

    def _take_back(self, record: Record) -> None:
        """Record that nothing was sent, unless another try may have sent something meanwhile."""
        try:
            self.running.check()
        except OxenStoreUnavailable as error:
            self.log.warning("%s The next try checks whether it was.", error.message)
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
