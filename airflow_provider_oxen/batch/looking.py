"""One reading of the hub's lists for all rows that look for a lost request at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import may_matter
from airflow_provider_oxen.jobs.record import Record

__all__ = ["Looking"]


@dataclass
class _Question:
    """What several ask at once, and what the lists say; or the error that the reading ended with."""

    records: list[Record] = field(default_factory=list)
    rows: list[Generation] | None = None
    error: BaseException | None = None


class Looking:
    """Reads queue and history once for all who asked before the reading began.

    A reading that began earlier than the question would not do: "not there" counts only from a list that was
    read after the request could have come to be in it.

    :param read: gives the rows of queue and history of a namespace that may matter to one of these records.
    """

    def __init__(self, read: Callable[[str | None, list[Record]], Iterable[Generation]]) -> None:
        self._read = read
        self._reading = threading.Lock()
        self._lock = threading.Lock()
        self._open: dict[str | None, _Question] = {}

    def rows(self, record: Record) -> list[Generation]:
        """Return the rows that may be this record's job.

        :raises OxenError: where the lists could not be read.
        """
        with self._lock:
            question = self._open.setdefault(record.namespace, _Question())
            question.records.append(record)
        with self._reading:
            if question.rows is None and question.error is None:
                self._answer(record.namespace, question)
        if question.error is not None:
            raise question.error
        return [row for row in question.rows or [] if may_matter(record.body, row)]

    def _answer(self, namespace: str | None, question: _Question) -> None:
        with self._lock:
            # From here on, who asks is for the next reading.
            del self._open[namespace]
        try:
            question.rows = list(self._read(namespace, question.records))
        except BaseException as error:
            # "Could not read" is never "there is none", for nobody who asked.
            question.error = error
