"""A batch's rows between their reading and the manifest: on disk, so that a million of them fit.

A private SQLite database that is gone with the task. It is no record: what must outlive the task stands
beside the output.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch.rows import Row

__all__ = ["DONE", "NEW", "OPEN", "WAITING", "Entry", "Job", "Spool", "identity_of"]

_TABLES = """
CREATE TABLE rows (
    n INTEGER PRIMARY KEY, line INTEGER, id TEXT, stem TEXT UNIQUE COLLATE {collation}, fingerprint TEXT,
    request TEXT, state INTEGER NOT NULL DEFAULT 0, generation TEXT, namespace TEXT, entry TEXT, preview TEXT
);
CREATE TABLE fingerprints (fingerprint TEXT PRIMARY KEY, rows INTEGER) WITHOUT ROWID;
"""

_JOBS = """
SELECT n, line, id, stem, fingerprint, request FROM rows WHERE state = ? AND n > ? ORDER BY n LIMIT ?
"""

_ENTRIES = """
SELECT n, line, id, stem, fingerprint, request, state, generation, entry, preview FROM rows ORDER BY n
"""

_DUMPED = ("line", "id", "stem", "fingerprint", "state", "generation", "namespace", "preview")
_DUMP = """
SELECT line, id, stem, fingerprint, state, generation, namespace, preview, request, entry FROM rows ORDER BY n
"""

NEW, OPEN, WAITING, DONE = range(4)
"""States of a row: to be asked for; has a job already; its job is waited for elsewhere; has come to its
end."""

_CHUNK = 500

_FACTS = 6
"""Columns that make a :class:`Job`."""


class Job(NamedTuple):
    """A row that is to be worked on.

    :ivar n: its place in the input, from 1.
    :ivar line: where the input has it.
    :ivar stem: of its files' names; together with the folder it is what the row goes by.
    """

    n: int
    line: int
    id: str | None
    stem: str
    fingerprint: str
    request: GenerateRequest

    @property
    def name(self) -> str:
        """The row for messages."""
        return f"line {self.line} ({self.stem})"


class Entry(NamedTuple):
    """A row, and what is known of it.

    :ivar entry: its line of the manifest, where it has come to its end.
    """

    job: Job
    state: int
    generation: str | None
    entry: dict[str, Any] | None
    preview: str | None


class Spool:
    """The rows, in the order of the input; for one thread. Close it, or use it as a context.

    :param folds_case: whether names that differ in case only are one.
    """

    def __init__(self, *, folds_case: bool = False) -> None:
        # In a file of SQLite's own that has no name; what is small stays in memory.
        tables = _TABLES.format(collation="NOCASE" if folds_case else "BINARY")
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {tables} BEGIN;")
        self.rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, row: Row) -> None:
        """Put a row at the end.

        :raises OxenInvalidRequest: where another row goes by the same name.
        """
        stem = row.id if row.id is not None else self._stem(row)
        try:
            self._database.execute(
                "INSERT INTO rows (line, id, stem, fingerprint, request) VALUES (?, ?, ?, ?, ?)",
                (row.line, row.id, stem, row.fingerprint, row.request.model_dump_json(exclude_none=True)),
            )
        except sqlite3.IntegrityError:
            found = self._database.execute("SELECT line, stem FROM rows WHERE stem = ?", (stem,)).fetchone()
            line, there = found
            case = "" if there == stem else f", which is the same file name as {stem!r} in this folder"
            raise OxenInvalidRequest(f"line {line} has the id {there!r} already{case}") from None
        self.rows += 1

    def _stem(self, row: Row) -> str:
        """Return a name for a row without id, always the same for the first, second… of one request."""
        [count] = self._database.execute(
            "INSERT INTO fingerprints VALUES (?, 1) ON CONFLICT DO UPDATE SET rows = rows + 1 RETURNING rows",
            (row.fingerprint,),
        ).fetchone()
        stem = f"{_readable(row.request.prompt)}{row.fingerprint[:16]}"
        return stem if count == 1 else f"{stem}_{count}"

    def jobs(self, *states: int) -> Iterator[Job]:
        """Yield the rows in these states, state by state, in the input's order; they may change meanwhile."""
        for state in states:
            last = 0
            while found := self._database.execute(_JOBS, (state, last, _CHUNK)).fetchall():
                last = found[-1][0]
                yield from map(_job, found)

    def has(self, stem: str) -> bool:
        """Whether a row goes by this name."""
        return self._database.execute("SELECT 1 FROM rows WHERE stem = ?", (stem,)).fetchone() is not None

    def is_open(self, n: int) -> None:
        """Note that a row has a job already."""
        self._database.execute("UPDATE rows SET state = ? WHERE n = ?", (OPEN, n))

    def waits(self, n: int, generation: str, namespace: str | None) -> None:
        """Note that a row's job is waited for elsewhere."""
        self._database.execute(
            "UPDATE rows SET state = ?, generation = ?, namespace = ? WHERE n = ?",
            (WAITING, generation, namespace, n),
        )

    def done(self, n: int, entry: dict[str, Any], preview: str | None) -> None:
        """Note what became of a row: its line of the manifest."""
        self._database.execute(
            "UPDATE rows SET state = ?, generation = NULL, entry = ?, preview = ? WHERE n = ?",
            (DONE, json.dumps(entry), preview, n),
        )

    def count(self, state: int) -> int:
        """Return how many rows are in a state."""
        [found] = self._database.execute("SELECT count(*) FROM rows WHERE state = ?", (state,)).fetchone()
        return int(found)

    def entries(self) -> Iterator[Entry]:
        """Yield what is known of each row, in the order of the input."""
        for row in self._database.execute(_ENTRIES):
            state, generation, entry, preview = row[_FACTS:]
            known = None if entry is None else json.loads(entry)
            yield Entry(_job(row[:_FACTS]), state, generation, known, preview)

    def dump(self) -> Iterator[dict[str, Any]]:
        """Yield all that is known of each row, as plain JSON; :meth:`load` takes it."""
        for *facts, request, entry in self._database.execute(_DUMP):
            named = dict(zip(_DUMPED, facts, strict=True))
            parsed = {"request": json.loads(request), "entry": entry and json.loads(entry)}
            yield {name: value for name, value in (named | parsed).items() if value is not None}

    def load(self, facts: dict[str, Any]) -> None:
        """Put a row at the end, as :meth:`dump` gave it; one whose job was waited for is worked on again."""
        entry, state = facts.get("entry"), facts["state"]
        self._database.execute(
            "INSERT INTO rows (line, id, stem, fingerprint, request, state, entry, preview)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                facts["line"],
                facts.get("id"),
                facts["stem"],
                facts["fingerprint"],
                json.dumps(facts["request"]),
                OPEN if state == WAITING else state,
                json.dumps(entry) if entry else None,
                facts.get("preview"),
            ),
        )
        self.rows += 1


def _job(row: Sequence[Any]) -> Job:
    n, line, id, stem, fingerprint, request = row
    return Job(n, line, id, stem, fingerprint, GenerateRequest.model_validate_json(request))


def identity_of(stem: str) -> str:
    """Return what a row goes by in its folder, for every run and task, as 64 hexadecimal characters."""
    return hashlib.sha256(json.dumps(["airflow-provider-oxen", "row", stem]).encode()).hexdigest()


def _readable(prompt: str) -> str:
    """Return the beginning of a prompt as a part of a file name: for people who look into the folder."""
    plain = unicodedata.normalize("NFKD", prompt[:200]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-")
    return f"{words}-" if words else ""
