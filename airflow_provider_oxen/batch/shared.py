"""What the rows of a batch share on their event loop: claims, look-ups and the waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.jobs.evidence import is_candidate
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.waiting.polling import Poll
from airflow_provider_oxen.waiting.registry import KnownConnection, wait

__all__ = ["SharedLookup", "SharedQueue"]


@dataclass
class _Question:
    """What is looked for at once, and what was found, or the error of the reading."""

    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    answer: list[Generation] | Exception | None = None


class SharedLookup:
    """Reads queue and history once for everybody who asked before the reading began.

    A reading that began before the question does not count: "not there" needs a list that was read after the
    request could have appeared in it.

    :param read: returns the rows of a namespace's queue and history that may be the jobs of these bodies.
    """

    def __init__(
        self, read: Callable[[str | None, Sequence[Mapping[str, Any]]], Awaitable[list[Generation]]]
    ) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._open: dict[str | None, _Question] = {}

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        """Return the rows that may be this record's job, or one of the others'.

        :raises OxenError: if the lists could not be read.
        """
        question = self._open.setdefault(record.namespace, _Question())
        bodies = [record.body, *(other.body for other in others)]
        question.bodies += bodies
        async with self._reading:
            if question.answer is None:
                # Questions from now on wait for the next reading.
                self._open.pop(record.namespace, None)
                try:
                    question.answer = await self._read(record.namespace, question.bodies)
                except Exception as error:
                    # "Could not read" never means "there is none": everybody who asked gets the error.
                    question.answer = error
        if isinstance(question.answer, Exception):
            raise question.answer
        return [row for row in question.answer if any(is_candidate(body, row) for body in bodies)]


@dataclass
class SharedQueue:
    """What the rows of a batch share on their loop.

    :param lookup: reads the hub's lists.
    :param interval: seconds between two looks at the hub's queue.
    :ivar patient: whether a row waits for an image that is not there yet; otherwise the next try does.
    """

    connection: KnownConnection
    lookup: SharedLookup
    interval: float
    patient: bool = True
    _looked: float | None = field(default=None, init=False)
    _claims: dict[str, str] = field(default_factory=dict, init=False)
    _waiting: set[asyncio.Task[End]] = field(default_factory=set, init=False)
    _stopping: bool = field(default=False, init=False)

    def claim(self, generation_id: str, stem: str) -> bool:
        """Claim a generation for a row; return whether it is this row's. One job gives one row its image."""
        return self._claims.setdefault(generation_id, stem) == stem

    def is_anothers(self, row: Generation, stem: str) -> bool:
        """Return whether a row of the hub's lists is known to be another row's job."""
        return self._claims.get(row.generation_id, stem) != stem

    def begin_look(self) -> None:
        """Record that a row begins to look for what an earlier try may have sent."""
        self._looked = self._looked or time.monotonic()

    def since_look(self) -> float:
        """Return the seconds since the first such look of this try."""
        return 0.0 if self._looked is None else time.monotonic() - self._looked

    async def wait(self, generation_id: str, namespace: str | None, poll: Poll) -> End:
        """Wait until a generation has ended: one list request a tick, however many rows wait.

        :raises OxenPollError: if the task is told to stop meanwhile.
        """
        if self._stopping:
            raise _stopped()
        end = wait(self.connection, generation_id, namespace=namespace, interval=self.interval, poll=poll)
        waiting = asyncio.get_running_loop().create_task(end)
        self._waiting.add(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._stopping:
                raise _stopped() from None
            raise
        finally:
            self._waiting.discard(waiting)

    def stop(self) -> None:
        """End all waiting."""
        self._stopping = True
        for waiting in self._waiting:
            waiting.cancel()


def _stopped() -> OxenPollError:
    return OxenPollError("The task was stopped while the generation was running.")
