"""One try at one image: what is kept or on its way is found, else asked for, and then kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from airflow_provider_oxen.api.errors import OxenOutputExists, OxenPollError, OxenRefused
from airflow_provider_oxen.jobs.complete import complete
from airflow_provider_oxen.jobs.homes import Home
from airflow_provider_oxen.jobs.polling import End
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve
from airflow_provider_oxen.jobs.task import Task
from airflow_provider_oxen.operators import output as outputs
from airflow_provider_oxen.operators.drive import Driver
from airflow_provider_oxen.operators.output import Output

__all__ = ["ImageWork", "is_open"]


@dataclass
class ImageWork:
    """One try, in its two halves: :meth:`begin` spends, :meth:`finish` waits and keeps.

    :param log: of the task.
    """

    task: Task
    output: Output
    home: Home
    driver: Driver
    log: Any
    cancel_on_timeout: bool

    def begin(self) -> dict[str, Any] | Record:
        """Find what is kept, or the job that is on its way, or submit one.

        :return: the result where nothing is left to be done, else the job's record.
        :raises OxenError: see the protocol.
        """
        record = self.home.read()
        found = self.find(record)
        # Another task's output is no reason to forget what this one may have paid for.
        if found is not None and (not is_open(record) or self.output.is_of(record)):
            if record and is_open(record) and record.fingerprint == self.task.fingerprint:
                # Stopped right after the last sidecar was written.
                self.driver.close(record.to("kept", items=[]))
            self.log.info(
                "Reused %s: it holds the answer to this very request. Nothing was spent.", self.output
            )
            return found
        job: Record = self.driver.drive(resolve(self.task, record, time.time()))
        if job.phase != "kept":
            return job
        self.log.info("This task has generated its image already, and fetches it again. Nothing is spent.")
        # Of the queue's jobs the row gives a fresh link; an old one has no business in a deferred task.
        again = job.to("submitted", items=[]) if job.generation_id else job.to("answered")
        return {**self.finish(again), "reused": True}

    def finish(self, record: Record, end: End | None = None) -> dict[str, Any]:
        """Wait for a job, keep its images and return the result.

        :param end: how the job ended, where somebody else has waited for it.
        :raises OxenError: see the protocol.
        """
        protocol = complete(self.task, record, end=end, cancel_on_timeout=self.cancel_on_timeout)
        result: dict[str, Any] = self.driver.drive(protocol)
        self.log.info("Kept in %s: %s", self.output, outputs.describe(result))
        return result

    def find(self, record: Record | None) -> dict[str, Any] | None:
        """Look at the output's place; what is paid for already must not be lost over what is there."""
        try:
            return self.output.find(record.files if record else ())
        except OxenRefused as error:
            if record is None or not (is_open(record) or self._is_gone(record, error)):
                raise
            if isinstance(error, OxenOutputExists):
                if is_open(record):
                    self.log.warning("%s The image of %s goes beside it.", error, record.job)
                return None
            failed = OxenPollError(
                f"{error} But this task has {record.job}, which may have been paid for; a later try goes on "
                "with it."
            )
            failed.retry_helps = error.retry_helps
            raise failed from None

    def _is_gone(self, record: Record, error: OxenRefused) -> bool:
        """Whether this job's kept image is not there any more, and the hub can give it again."""
        again = record.phase == "kept" and record.generation_id is not None
        return again and isinstance(error, OxenOutputExists) and self.output.is_of(record)


def is_open(record: Record | None) -> bool:
    """Whether the job may be on its way, or its image not yet kept."""
    return record is not None and record.phase not in ("kept", "ended")
