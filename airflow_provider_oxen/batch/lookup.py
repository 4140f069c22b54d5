"""Read the hub's lists once for all rows that look for a lost request at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import is_candidate
from airflow_provider_oxen.jobs.record import Record

__all__ = ["SharedLookup"]


@dataclass
class _Question:
    """A question that several rows ask at once, and its answer; or the error of the reading."""

    records: list[Record] = field(default_factory=list)
    rows: list[Generation] | None = None
    error: Exception | None = None


class SharedLookup:
    """Reads queue and history once for everybody who asked before the reading began.

    A reading that began before the question does not count: "not there" needs a list that was read after the
    request could have appeared in it.

    :param read: returns the rows of a namespace's queue and history that may match one of these records.
    """

    def __init__(self, read: Callable[[str | None, Sequence[Record]], Awaitable[list[Generation]]]) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._open: dict[str | None, _Question] = {}

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        """Return the rows that may be this record's job, or one of the others'.

        :raises OxenError: if the lists could not be read.
        """
        question = self._open.setdefault(record.namespace, _Question())
        question.records += [record, *others]
        async with self._reading:
            if question.rows is None and question.error is None:
                await self._answer(record.namespace, question)
        if question.error is not None:
            raise question.error
        bodies = [record.body, *(other.body for other in others)]
        return [row for row in question.rows or [] if any(is_candidate(body, row) for body in bodies)]

    async def _answer(self, namespace: str | None, question: _Question) -> None:
        # Questions from now on wait for the next reading.
        self._open.pop(namespace, None)
        try:
            question.rows = await self._read(namespace, question.records)
        except Exception as error:
            # "Could not read" never means "there is none": everybody who asked gets the error.
            question.error = error
