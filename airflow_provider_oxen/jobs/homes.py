"""Where a task's record lives: Airflow's task state store, a file beside the output, or nowhere.

"Could not read" is never "there is none": it raises, and nothing is sent.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pydantic_core import to_json

from airflow_provider_oxen.api.errors import OxenStoreUnavailable
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.images.known import RECORD
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.jobs import record as records
from airflow_provider_oxen.jobs.record import Record

__all__ = ["FileHome", "Home", "NoHome", "StateStore", "StoreHome", "file_name"]

T = TypeVar("T")

KEY = "airflow_provider_oxen_job"
"""The record's key in the task state store; changing it would lose the jobs that are on their way."""


class StateStore(Protocol):
    """The part of Airflow's task state store, scoped to one task instance, that is used here."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, *, retention: Any = None) -> None: ...

    def delete(self, key: str) -> None: ...


class Home(Protocol):
    """A place for one record. All methods raise :class:`~.errors.OxenStoreUnavailable` where they fail."""

    keeps: bool
    """Whether what is written stays."""

    def read(self) -> Record | None:
        """Return the record, or None where there is none."""

    def create(self, record: Record) -> None:
        """Write a record where there is none; one that is there stays."""

    def write(self, record: Record) -> None:
        """Write the record over the one that is there."""

    def delete(self) -> None:
        """Remove the record."""

    def close(self, record: Record) -> None:
        """Write the record of a job that is done, in the form in which it stays."""


class StoreHome:
    """The task state store of Airflow 3.3 and newer: it survives retries, moves and clearing.

    :param never: the store's word for a value that does not expire.
    """

    keeps = True

    def __init__(self, store: StateStore, identity: str, never: Any) -> None:
        self.store = store
        self.identity = identity
        self.never = never

    def read(self) -> Record | None:
        value = _ask("read", lambda: self.store.get(KEY))
        where = f"the value {KEY!r} of its task state store"
        return None if value is None else records.read(value, where, self.identity)

    def create(self, record: Record) -> None:
        # The store knows no exclusive write; Airflow runs one try of a task instance at a time.
        self.write(record)

    def write(self, record: Record) -> None:
        _ask("written", lambda: self.store.set(KEY, record.as_json(), retention=self.never))

    def delete(self) -> None:
        _ask("removed", lambda: self.store.delete(KEY))

    def close(self, record: Record) -> None:
        self.write(record)


class FileHome:
    """A hidden file beside the output, named after output and task.

    :param stem: of the output.
    :param mark: for the names of unfinished files.
    """

    keeps = True

    def __init__(self, folder: Folder, stem: str, identity: str, mark: str) -> None:
        self.folder = folder
        self.name = file_name(stem, identity)
        self.identity = identity
        self.mark = mark

    def read(self) -> Record | None:
        raw = _ask("read", self._raw)
        return None if raw is None else records.read(raw, self.folder.asset_uri(self.name), self.identity)

    def _raw(self) -> bytes | None:
        try:
            return self.folder.read(self.name)
        except NotADirectoryError:
            # Where no folder can be, no record is; the look at the output's place tells what is wrong.
            return None

    def create(self, record: Record) -> None:
        _ask("written", lambda: self.folder.create(self.name, _dump(record), self.mark))

    def write(self, record: Record) -> None:
        # An answer's image is on the disk in a moment; where a power cut is faster, its call is one of those
        # whose outcome nobody knows.
        lasting = record.phase != "answered"
        content = io.BytesIO(_dump(record))
        _ask("written", lambda: self.folder.put(self.name, content, self.mark, lasting=lasting))

    def delete(self) -> None:
        _ask("removed", lambda: self.folder.remove(self.name))

    def close(self, record: Record) -> None:
        if record.phase != "kept":
            self.write(record)
            return
        # The sidecar tells all that is still of use.
        try:
            self.delete()
        except OxenStoreUnavailable:
            self.write(record.to("kept", items=[]))


def file_name(stem: str, identity: str) -> str:
    """Return the name of the record's file beside an output."""
    return f".{stem}.{identity[:16]}{RECORD}"


class NoHome:
    """Nowhere: there is no store, and nothing is kept in files."""

    keeps = False

    def read(self) -> Record | None:
        return None

    def create(self, record: Record) -> None:
        """Do nothing."""

    def write(self, record: Record) -> None:
        """Do nothing."""

    def delete(self) -> None:
        """Do nothing."""

    def close(self, record: Record) -> None:
        """Do nothing."""


def _dump(record: Record) -> bytes:
    return to_json(record.as_json(), indent=2) + b"\n"


def _ask(done: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:
        raise OxenStoreUnavailable(
            f"The record of this task's paid job could not be {done}: {type(error).__name__}: "
            f"{without_queries(str(error))}. Nothing was sent by this try."
        ) from None
