"""A batch's rows between reading and manifest: on disk, so that a million of them fit.

A private SQLite database that disappears with the task. It is no record: what must outlive the task is beside
the output.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch.rows import CheckedRow

__all__ = ["DONE", "NEW", "OPEN", "WAITING", "Row", "RowStore", "Waited", "identity_of", "stem_of"]

_TABLES = """
CREATE TABLE rows (
    n INTEGER PRIMARY KEY, stem TEXT UNIQUE COLLATE {collation}, facts TEXT NOT NULL, state INTEGER NOT NULL,
    waited TEXT, entry TEXT, preview TEXT
);
CREATE TABLE fingerprints (fingerprint TEXT PRIMARY KEY, rows INTEGER) WITHOUT ROWID;
"""

_ROWS = "SELECT n, facts, state, waited FROM rows WHERE state = ? AND n > ? ORDER BY n LIMIT ?"

_INSERT = "INSERT INTO rows (stem, facts, state, waited, entry, preview) VALUES (?, ?, ?, ?, ?, ?)"

NEW, OPEN, WAITING, DONE = range(4)
"""States of a row: to be requested; already has a job; the triggerer waits for its job; has ended."""

_FACTS = ("line", "id", "stem", "fingerprint", "request")
"""Facts of a row that never change."""

_CHUNK = 500


class Waited(NamedTuple):
    """A row's job that the triggerer waits for: enough to go on with it if the row's own record is lost.

    :ivar namespace: whose queue holds it; None: the connection's.
    :ivar seed: the seed that was sent.
    :ivar price: USD by the catalogue.
    :ivar submitted_at: unix seconds.
    """

    generation: str
    namespace: str | None = None
    seed: int | None = None
    price: float | None = None
    submitted_at: float | None = None


class Row(NamedTuple):
    """A row to work on.

    :ivar n: its position in the input, from 1.
    :ivar line: its line in the input.
    :ivar stem: stem of its files' names; together with the folder it identifies the row.
    :ivar waited: its job, if the batch has waited for it.
    """

    n: int
    line: int
    id: str | None
    stem: str
    fingerprint: str
    request: GenerateRequest
    state: int = 0
    waited: Waited | None = None


class RowStore:
    """The rows, in the order of the input; for one thread, as a context manager.

    :param folds_case: whether names that differ only in case are the same.
    """

    def __init__(self, *, folds_case: bool = False) -> None:
        # SQLite uses its own file without a name; a small database stays in memory.
        tables = _TABLES.format(collation="NOCASE" if folds_case else "BINARY")
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {tables} BEGIN;")
        self.total = 0

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, row: CheckedRow) -> None:
        """Append a row.

        :raises OxenInvalidRequest: if another row has the same name.
        """
        stem = row.id if row.id is not None else self._stem(row)
        facts = (row.line, row.id, stem, row.fingerprint, row.request.body())
        try:
            self._insert(dict(zip(_FACTS, facts, strict=True)), NEW)
        except sqlite3.IntegrityError:
            found = self._database.execute("SELECT facts FROM rows WHERE stem = ?", (stem,)).fetchone()
            there = json.loads(found[0])
            same = there["stem"] == stem
            case = "" if same else f", which is the same file name as {stem!r} in this folder"
            raise OxenInvalidRequest(
                f"line {there['line']} has the id {there['stem']!r} already{case}"
            ) from None

    def _insert(self, facts: dict[str, Any], state: int, *more: str | None) -> None:
        waited, entry, preview = more or (None, None, None)
        self._database.execute(_INSERT, (facts["stem"], json.dumps(facts), state, waited, entry, preview))
        self.total += 1

    def _stem(self, row: CheckedRow) -> str:
        """Return a name for a row without id, always the same for the first, second… row of one request."""
        [count] = self._database.execute(
            "INSERT INTO fingerprints VALUES (?, 1) ON CONFLICT DO UPDATE SET rows = rows + 1 RETURNING rows",
            (row.fingerprint,),
        ).fetchone()
        return stem_of(row, count)

    def in_state(self, state: int) -> Iterator[Row]:
        """Yield the rows in a state, in the input's order; they may change meanwhile."""
        last = 0
        while found := self._database.execute(_ROWS, (state, last, _CHUNK)).fetchall():
            last = found[-1][0]
            for row in found:
                yield _row(*row)

    def has(self, stem: str) -> bool:
        """Return whether a row has this name."""
        return self._database.execute("SELECT 1 FROM rows WHERE stem = ?", (stem,)).fetchone() is not None

    def mark_open(self, n: int) -> None:
        """Record that a row already has a job."""
        self._database.execute("UPDATE rows SET state = ? WHERE n = ?", (OPEN, n))

    def mark_waiting(self, n: int, waited: Waited) -> None:
        """Record that the triggerer waits for a row's job."""
        self._database.execute(
            "UPDATE rows SET state = ?, waited = ? WHERE n = ?", (WAITING, json.dumps(waited._asdict()), n)
        )

    def mark_done(self, n: int, entry: dict[str, Any], preview: str | None) -> None:
        """Record the outcome of a row: its line of the manifest."""
        self._database.execute(
            "UPDATE rows SET state = ?, waited = NULL, entry = ?, preview = ? WHERE n = ?",
            (DONE, json.dumps(entry), preview, n),
        )

    def count(self, state: int) -> int:
        """Return how many rows are in a state."""
        [found] = self._database.execute("SELECT count(*) FROM rows WHERE state = ?", (state,)).fetchone()
        return int(found)

    def count_waited(self) -> int:
        """Return how many rows have a job that was waited for."""
        [found] = self._database.execute("SELECT count(waited) FROM rows").fetchone()
        return int(found)

    def entries(self) -> Iterator[tuple[Row, dict[str, Any] | None, str | None]]:
        """Yield each row, its line of the manifest if it has ended, and its preview."""
        for *row, entry, preview in self._database.execute(
            "SELECT n, facts, state, waited, entry, preview FROM rows ORDER BY n"
        ):
            yield _row(*row), entry and json.loads(entry), preview

    def dump(self) -> Iterator[dict[str, Any]]:
        """Yield everything that is known about each row, as plain JSON for :meth:`load`."""
        for facts, state, waited, entry, preview in self._database.execute(
            "SELECT facts, state, waited, entry, preview FROM rows ORDER BY n"
        ):
            known = {**json.loads(facts), **json.loads(waited or "{}")}
            known |= {"state": state, "preview": preview, "entry": entry and json.loads(entry)}
            yield {name: value for name, value in known.items() if value is not None}

    def load(self, known: dict[str, Any]) -> None:
        """Append a row from :meth:`dump`; one whose job was waited for is worked on again."""
        entry, state = known.get("entry"), known["state"]
        waited = {name: known[name] for name in Waited._fields if name in known}
        self._insert(
            {name: known.get(name) for name in _FACTS},
            OPEN if state == WAITING else state,
            json.dumps(waited) if "generation" in waited else None,
            json.dumps(entry) if entry else None,
            known.get("preview"),
        )


def _row(n: int, facts: str, state: int, waited: str | None) -> Row:
    known = json.loads(facts)
    request = GenerateRequest.model_validate(known.pop("request"))
    job = Waited(**json.loads(waited)) if waited else None
    return Row(n, request=request, state=state, waited=job, **known)


def stem_of(row: CheckedRow, count: int) -> str:
    """Return the name of a row without id.

    :param count: how often its request has come by then, including this time.
    """
    stem = f"{_readable(row.request.prompt)}{row.fingerprint[:16]}"
    return stem if count == 1 else f"{stem}_{count}"


def identity_of(stem: str) -> str:
    """Return what identifies a row in its folder for every run and task: 64 hexadecimal characters."""
    return hashlib.sha256(json.dumps(["airflow-provider-oxen", "row", stem]).encode()).hexdigest()


def _readable(prompt: str) -> str:
    """Return the beginning of a prompt as part of a file name, for people who look into the folder."""
    plain = unicodedata.normalize("NFKD", prompt[:200]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-")
    return f"{words}-" if words else ""
