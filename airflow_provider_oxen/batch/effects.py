"""A row's effects in step with the other rows: wrappers around the effects for a single image.

From the outside in, :class:`~.costs.BudgetedEffects` counts requests and charges, :class:`SharedEffects`
shares the hub's lists with the others and gives each generation to only one row, and :class:`PacedEffects`
keeps the pace of the batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenConnectionError,
    OxenError,
    OxenImageError,
    OxenOutcomeUnknown,
    OxenRateLimited,
    OxenRefused,
    OxenUnavailable,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.batch.limits import Gate, Outcome
from airflow_provider_oxen.batch.shared import SharedQueue
from airflow_provider_oxen.jobs.effects import Accepted, Effects, End, Prepared, Remade
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.tasks.arguments import TaskArguments
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.runtime import Runtime
from airflow_provider_oxen.waiting.polling import Poll

__all__ = ["EffectsWrapper", "PacedEffects", "SharedEffects"]

_MOMENT = 0.5
"""Usual seconds between a row's intent and its last check, in which a connection is opened."""


class EffectsWrapper:
    """Passes everything on to the effects that it wraps."""

    def __init__(self, do: Effects) -> None:
        self.do = do

    async def write(self, record: Record) -> None:
        await self.do.write(record)

    async def close(self, record: Record) -> None:
        await self.do.close(record)

    async def prepare(self, counter: int) -> Prepared:
        return await self.do.prepare(counter)

    async def remake(self, counter: int) -> Remade:
        return await self.do.remake(counter)

    async def send(self, record: Record) -> Accepted:
        return await self.do.send(record)

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        return await self.do.rows(record, others)

    async def row(self, generation_id: str) -> Generation | None:
        return await self.do.row(generation_id)

    async def pause(self, seconds: float) -> float:
        return await self.do.pause(seconds)

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        return await self.do.linger(seconds, error)

    async def wait(self, record: Record) -> End:
        return await self.do.wait(record)

    async def cancel(self, generation_id: str) -> None:
        await self.do.cancel(generation_id)

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        return await self.do.keep(record, same)


class PacedEffects(EffectsWrapper):
    """Keeps the batch's pace: it waits before the intent is written, when provably nothing was sent.

    :ivar may_resend: whether the request was refused, provably not accepted, and may be sent again at that
        pace.
    """

    def __init__(self, do: Effects, gate: Gate, running: Running, runtime: Runtime) -> None:
        super().__init__(do)
        self.may_resend = False
        self._gate = gate
        self._running = running
        self._runtime = runtime
        self._entered: float | None = None
        self._is_at_hub = False

    async def prepare(self, counter: int) -> Prepared:
        await self._enter()
        return await self.do.prepare(counter)

    async def write(self, record: Record) -> None:
        if record.phase == "intent":
            await self._enter()
            # Ask early enough to serve the last check, too: if the process is killed between the intent and
            # the first byte, nobody can know that the request was not sent.
            if self._running.is_known(_MOMENT):
                self._running.check(lasting=_MOMENT)
            else:
                await self._runtime.blocking(lambda: self._running.check(lasting=_MOMENT))
        await self.do.write(record)

    async def send(self, record: Record) -> Accepted:
        entered, self._entered = self._entered, None
        outcome: Outcome = "failed"
        retry_after = None
        try:
            accepted = await self.do.send(record)
            outcome = "accepted"
            return accepted
        except OxenError as error:
            outcome, retry_after = _outcome(error), error.retry_after
            self.may_resend = isinstance(error, OxenRefused) and outcome != "refused"
            raise
        finally:
            if entered is not None:
                self._gate.leave(entered, outcome, retry_after)

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        self.depart()
        return await self.do.keep(record, same)

    def arrive(self) -> None:
        """Count the row as one whose job the hub works on."""
        if not self._is_at_hub:
            self._is_at_hub = True
            self._gate.arrive()

    def depart(self) -> None:
        """Make way for another row: the image is ready, or the work is over."""
        if self._is_at_hub:
            self._is_at_hub = False
            self._gate.depart()

    def let_go(self) -> None:
        """Give back the slot of a request that was not sent after all."""
        if self._entered is not None:
            self._gate.leave(self._entered, None)
            self._entered = None

    async def _enter(self) -> None:
        if self._entered is None:
            if not self._is_at_hub:
                await self._gate.admit()
                self._is_at_hub = True
            self._entered = await self._gate.enter()


class SharedEffects(EffectsWrapper):
    """Shares looks and waits with the other rows, and takes no generation that belongs to one of them.

    :param stem: the row's stem.
    :param files: possible names of its first image, which belong to it from the intent on.
    :param unsure: whether an earlier try may have sent something for a row without a record.
    """

    def __init__(
        self,
        do: Effects,
        queue: SharedQueue,
        stem: str,
        files: list[str],
        arguments: TaskArguments,
        *,
        unsure: bool,
    ) -> None:
        super().__init__(do)
        self._queue = queue
        self._stem = stem
        self._files = files
        self._unsure = unsure
        self._arguments = arguments
        self._ended: Generation | None = None

    async def write(self, record: Record) -> None:
        if record.phase == "submitted" and not self._queue.claim(str(record.generation_id), self._stem):
            raise OxenOutcomeUnknown(
                f"Generation {record.generation_id} matches this row, but belongs to another row with the "
                "same prompt."
            )
        await self.do.write(record)

    async def send(self, record: Record) -> Accepted:
        # From now on there is a request of this try, with its own grace.
        self._unsure = False
        return await self.do.send(record)

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        if self._unsure:
            self._queue.begin_look()
        rows = await self._queue.lookup.rows(record, others)
        return [row for row in rows if not self._queue.is_anothers(row, self._stem)]

    async def pause(self, seconds: float) -> float:
        if self._unsure:
            # Anything that was sent, for any row, was sent before this try began: one grace serves all.
            seconds = max(0.0, seconds - self._queue.since_look())
        return await self.do.pause(seconds)

    async def row(self, generation_id: str) -> Generation | None:
        row, self._ended = self._ended, None
        if row is None:
            row = await self.do.row(generation_id)
            if row is not None and row.status == "succeeded":
                # The next question is for the link that it holds.
                self._ended = row
        return row

    async def wait(self, record: Record) -> End:
        if record.endpoint != "queue":
            # It is only in the history, which is not read for many rows at once.
            return await self.do.wait(record)
        since = record.submitted_at or record.time
        timeout = self._arguments.timeout
        deadline = None if timeout is None else record.since + timeout
        poll = _RememberingPoll(deadline, since + self._arguments.lookup_grace)
        if self._ended is not None and (end := poll.seen(self._ended, time.time())):
            return end
        self._ended = None
        end = await self._queue.wait(str(record.generation_id), record.namespace, poll)
        if end.status == "succeeded":
            # The next question is for the link that this row holds.
            self._ended = poll.last
        return end

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        return self._queue.patient and await self.do.linger(seconds, error)

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, dict[str, Any]]:
        # Whoever asks for the row after this wants another link than it told before.
        self._ended = None
        # Claim the files with the intent, which saves a write for each image.
        return await self.do.keep(record.to(record.phase, files=record.files or self._files), same)


@dataclass
class _RememberingPoll(Poll):
    """Remembers the last row with a link, so that it need not be requested twice."""

    last: Generation | None = None

    def seen(self, row: Generation, now: float) -> End | None:
        self.last = row if row.result_url else None
        return super().seen(row, now)


def _outcome(error: OxenError) -> Outcome:
    if isinstance(error, OxenRateLimited):
        return "limited"
    passing = isinstance(error, OxenUnavailable | OxenConnectionError)
    return "failed" if passing or isinstance(error, OxenOutcomeUnknown) else "refused"
