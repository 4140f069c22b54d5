"""The hands of one row: as those of a single image, and in step with the other rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenConnectionError,
    OxenError,
    OxenOutcomeUnknown,
    OxenRateLimited,
    OxenRefused,
    OxenUnavailable,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.batch.gate import Outcome
from airflow_provider_oxen.batch.shared import Shared
from airflow_provider_oxen.jobs import steps
from airflow_provider_oxen.jobs.polling import End, Poll
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.operators.drive import Driver

__all__ = ["RowDriver"]


@dataclass
class RowDriver(Driver):
    """Carries out the steps of one row.

    :param stem: what the row goes by.
    :param series: which clearing of which task instance this is.
    :param files: names that its first image may have, which are its own from the intent on.
    :ivar came_back: whether its request was sent back, provably not accepted, and may be sent again at the
        batch's pace.
    """

    shared: Shared
    stem: str
    series: str
    files: list[str]
    came_back: bool = field(default=False, init=False)
    _entered: float | None = field(default=None, init=False)
    _reserved: Record | None = field(default=None, init=False)
    _ended: Generation | None = field(default=None, init=False)

    @property
    def sender(self) -> Client:
        return self.shared.clients.sender

    def let_go(self) -> None:
        """Give back what was taken for a request that was not sent after all."""
        if self._entered is not None:
            self.shared.gate.leave(self._entered, None)
            self._entered = None
        self._unreserve()

    def stop(self) -> None:
        """Do nothing: the batch tells what becomes of its rows."""

    def _do(self, step: steps.Step) -> Any:
        match step:
            case steps.Prepare():
                self._enter()
            case steps.Create(record) | steps.Write(record) if record.phase == "intent":
                self._enter()
                self.shared.budget.reserve(record.price)
                self._reserved = record
        return super()._do(step)

    def _enter(self) -> None:
        """Wait for the gate before the intent is written: what waits there has provably not been sent."""
        if self._entered is None:
            self._entered = self.shared.gate.enter()

    def _send(self, record: Record) -> steps.Accepted:
        entered, self._entered = self._entered, None
        outcome: Outcome = "failed"
        retry_after = None
        try:
            accepted = super()._send(record)
            outcome = "accepted"
            return accepted
        except OxenError as error:
            outcome, retry_after = _outcome(error), error.retry_after
            self.came_back = isinstance(error, OxenRefused) and outcome != "refused"
            if isinstance(error, OxenRefused):
                self._unreserve()
            raise
        finally:
            self._reserved = None
            if entered is not None:
                self.shared.gate.leave(entered, outcome, retry_after)

    def _unreserve(self) -> None:
        if self._reserved is not None:
            self.shared.budget.settle(self._reserved.price, 0.0)
            self._reserved = None

    def _write(self, record: Record) -> None:
        if record.phase == "submitted" and not self.shared.claim(str(record.generation_id), self.stem):
            raise OxenOutcomeUnknown(
                f"Generation {record.generation_id}, the one that could be this row's, is another row's of "
                "the same prompt. One image may have been paid for."
            )
        super()._write(record)

    def _announce(self, record: Record) -> None:
        self.log.info("The hub accepted generation %s.", record.generation_id)

    def _rows(self, record: Record) -> Iterator[Generation]:
        rows = self.shared.looking.rows(record)
        return (row for row in rows if not self.shared.is_anothers(row, self.stem))

    def _row(self, generation_id: str) -> Generation | None:
        row, self._ended = self._ended, None
        if row is None:
            row = super()._row(generation_id)
            if row is not None and row.status == "succeeded":
                # The next question is for the link that it holds.
                self._ended = row
        return row

    def _wait(self, record: Record) -> End:
        if record.endpoint != "queue":
            # It is in the history only, where the watch does not look.
            return super()._wait(record)
        since = record.submitted_at or record.time
        poll = Poll(None if self.timeout is None else since + self.timeout, since + self.lookup_grace)
        if self._ended is not None and (end := poll.seen(self._ended, time.time())):
            return end
        self._ended = None
        return self.shared.watching.wait(str(record.generation_id), record.namespace, poll)

    def _keep(self, record: Record) -> tuple[Record, dict[str, Any]]:
        # Claimed with the intent: a write less for each image.
        return super()._keep(record.to(record.phase, files=record.files or self.files))

    def _hasty(self) -> AbstractContextManager[Client]:
        return nullcontext(self.shared.clients.sender)

    def _cost(self, record: Record) -> float | None:
        charged = super()._cost(record)
        # What another run's job costs was never counted here.
        if record.series in (None, self.series):
            self.shared.budget.settle(record.price, charged)
        return charged


def _outcome(error: OxenError) -> Outcome:
    if isinstance(error, OxenRateLimited):
        return "limited"
    passing = isinstance(error, OxenUnavailable | OxenConnectionError)
    return "failed" if passing or isinstance(error, OxenOutcomeUnknown) else "refused"
