"""Where a task's record is kept: Airflow's task state store, files beside the output, both, or nowhere.

"Could not read" never means "there is none": it raises, and nothing is sent. A try that finds that another
one has written since does not overwrite its record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenOvertaken,
    OxenRecordError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.jobs import record as records
from airflow_provider_oxen.jobs.record import Record

__all__ = [
    "BothRecordStores",
    "NoRecordStore",
    "RecordStore",
    "StateRecordStore",
    "StateStore",
    "ask_store",
    "is_later",
    "overtaken",
]

T = TypeVar("T")

KEY = "airflow_provider_oxen_job"
"""The record's key in the task state store; a change would lose the jobs under way."""

_FURTHER = ("not_sent", "intent", "submitted", "cancelling", "answered", "ended", "kept")


class StateStore(Protocol):
    """The used part of Airflow's task state store, which belongs to one task instance."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, *, retention: Any = None) -> None: ...

    def delete(self, key: str) -> None: ...


class RecordStore(Protocol):
    """A place for one record. All methods raise :class:`~.errors.OxenStoreUnavailable` if they fail."""

    keeps: bool
    """Whether written records stay."""

    def read(self) -> Record | None:
        """Return the record, or None if there is none."""

    def create(self, record: Record) -> None:
        """Write a record only if there is none."""

    def write(self, record: Record) -> None:
        """Overwrite the record that was read; write an intent only if nobody else has written one.

        :raises OxenOvertaken: if another try has written since.
        """

    def close(self, record: Record) -> None:
        """Write the record of a finished job in the form in which it stays."""


class StateRecordStore:
    """The task state store of Airflow 3.3 and newer, which survives retries and moves.

    It has no exclusive write, so the current value is compared before each write. Airflow gives each try an
    id of its own, and accepts nothing from a try that is over.

    :param never: the store's value for "does not expire".
    """

    keeps = True

    def __init__(self, store: StateStore, identity: str, never: Any) -> None:
        self.store = store
        self.identity = identity
        self.never = never

    def read(self) -> Record | None:
        value = ask_store("read", lambda: self.store.get(KEY))
        where = f"the value {KEY!r} of its task state store"
        return None if value is None else records.read(value, where, self.identity)

    def create(self, record: Record) -> None:
        if self.read() is None:
            self._set(record)

    def write(self, record: Record) -> None:
        there = self.read()
        if is_later(there, record):
            raise overtaken(there)
        self._set(record)

    def _set(self, record: Record) -> None:
        ask_store("written", lambda: self.store.set(KEY, record.as_json(), retention=self.never))

    def close(self, record: Record) -> None:
        self.write(record)


class BothRecordStores:
    """The state store and the file, because either can vanish: newer Airflow empties a cleared store."""

    keeps = True

    def __init__(self, store: RecordStore, file: RecordStore) -> None:
        self.store = store
        self.file = file

    def read(self) -> Record | None:
        return _latest(self.store.read(), self.file.read())

    def create(self, record: Record) -> None:
        self.file.create(record)
        self.store.create(record)

    def write(self, record: Record) -> None:
        # Write the file first: only it can show that another try was faster.
        self._both(record, lambda store: store.write(record))

    def close(self, record: Record) -> None:
        self._both(record, lambda store: store.close(record))

    def _both(self, record: Record, write: Callable[[RecordStore], None]) -> None:
        failed: OxenError | None = None
        for store in (self.file, self.store):
            try:
                write(store)
            except OxenStoreUnavailable as error:
                failed = failed or error
                if record.phase == "intent":
                    break
        if failed:
            raise failed


class NoRecordStore:
    """No place: there is no store, and no files are written."""

    keeps = False

    def read(self) -> Record | None:
        return None

    def create(self, record: Record) -> None:
        """Do nothing."""

    def write(self, record: Record) -> None:
        """Do nothing."""

    def close(self, record: Record) -> None:
        """Do nothing."""


def _latest(one: Record | None, other: Record | None) -> Record | None:
    """Return the later record of two places.

    :raises OxenRecordError: if they describe two jobs, and nobody can say which is the later one.
    """
    if one is None or other is None:
        return one or other
    if one.nonce == other.nonce:
        return max(one, other, key=lambda record: _FURTHER.index(record.phase))
    if one.order == other.order:
        raise OxenRecordError(
            f"The task state store has {one.job} ({one.phase}), the file beside the output has {other.job} "
            f"({other.phase}), and neither is clearly the later one.",
            remedy="Check the account's history; then delete the wrong record and clear the task.",
        )
    return max(one, other, key=lambda record: record.order)


def is_later(there: Record | None, record: Record) -> bool:
    """Return whether the stored record is another try's that has come at least as far."""
    return there is not None and there.nonce != record.nonce and there.order >= record.order


def overtaken(there: Record | None) -> OxenOvertaken:
    """Return the error for a try that another one has overtaken."""
    what = "Another try" if there is None else f"Another try ({there.phase}, {there.job})"
    return OxenOvertaken(
        f"{what} has written the record of this task's job meanwhile; this try leaves it as it is."
    )


def ask_store(done: str, ask: Callable[[], T], what: str = "The record of this task's paid job") -> T:
    """Call the place of a record.

    :param done: what the call does, as a participle for the message.
    :param what: names the record in the message.
    :raises OxenStoreUnavailable: for every error there.
    """
    try:
        return ask()
    except Exception as error:
        raise OxenStoreUnavailable(f"{what} could not be {done}: {describe_error(error)}.") from None
