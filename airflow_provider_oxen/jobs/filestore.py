"""A record in a file beside the output: of two tries that create the same intent, only one succeeds."""

from __future__ import annotations

import contextlib
import io
from functools import partial

from pydantic_core import to_json

from airflow_provider_oxen.api.errors import OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.images.folder import Folder, UnreadableFile
from airflow_provider_oxen.images.known import RECORD
from airflow_provider_oxen.jobs import record as records
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import ask_store, is_later, overtaken

__all__ = ["FileRecordStore", "file_name"]

_MOST = 1000
"""How many intent files are read; more than this was not written by this package."""


class FileRecordStore:
    """A hidden file beside the output, named after output and task.

    Each intent after the first record is a file of its own, with its number in the name. It can only be
    created, never overwritten, so that only one of two tries continues. It is removed when the next phase is
    written.

    :param mark: for the names of unfinished files.
    """

    keeps = True

    def __init__(self, folder: Folder, stem: str, identity: str, mark: str) -> None:
        self.folder = folder
        self.stem = stem
        self.name = file_name(stem, identity)
        self.identity = identity
        self.mark = mark
        self._base: Record | None = None
        self._numbered: int | None = None
        self._intent: Record | None = None

    def read(self) -> Record | None:
        self._base = found = self._at(self.name)
        self._numbered = None
        number = found.order if found else 0
        for following in range(number + 1, number + _MOST):
            later = self._at(self._name(following))
            if later is None:
                return found
            found, self._numbered = later, following
        raise OxenRecordError(
            f"Beside {self.folder.asset_uri(self.name)} are {_MOST} intents or more, which this package "
            "did not write.",
            remedy="Look at the folder, and remove what does not belong there.",
        )

    def create(self, record: Record) -> None:
        self._create(self.name, record)

    def write(self, record: Record) -> None:
        if record.phase == "intent":
            if self._intent is None or self._intent.nonce != record.nonce:
                self._intend(record)
            else:
                # It is the same intent, with more facts.
                number = None if self._numbered is None else record.number
                self._put(record, file_name(self.stem, self.identity, number))
            return
        there = self.read()
        if is_later(there, record):
            raise overtaken(there)
        self._keep(record)

    def close(self, record: Record) -> None:
        if record.phase != "kept":
            self.write(record)
            return
        # The sidecar has everything that is still needed.
        try:
            self._remove(record)
        except OxenStoreUnavailable:
            self._keep(record.to("kept", items=[]))

    def _intend(self, record: Record) -> None:
        base = self._base
        if base is None:
            if not self._create(self.name, record):
                raise overtaken(None)
            self._base = self._intent = record
            return
        if (self._numbered or base.order) != record.number - 1:
            # The other store knows later intents: continue the numbering from there.
            base = record.to("not_sent", number=record.number - 1)
            self._keep(base)
        name = self._name(record.number)
        if not self._create(name, record):
            raise overtaken(None)
        self._numbered = record.number
        there = self._at(self.name)
        if there is None or (there.nonce, there.phase) != (base.nonce, base.phase):
            # Another try has been running meanwhile, and may have ended.
            with contextlib.suppress(OxenStoreUnavailable):
                self.withdraw(record)
            raise overtaken(there)
        self._intent = record

    def withdraw(self, record: Record) -> None:
        """Remove an intent that was just created here, before anything was sent."""
        name = self.name if self._numbered is None else self._name(record.number)
        there = self._at(name)
        if there is not None and there.nonce == record.nonce:
            ask_store("removed", lambda: self.folder.remove(name))

    def _create(self, name: str, record: Record) -> bool:
        return ask_store("written", lambda: self.folder.create(name, _dump(record), self.mark))

    def _put(self, record: Record, name: str) -> None:
        # The image of an answer is on the disk in a moment. If the power fails before that, the outcome of
        # the call counts as unknown.
        lasting = record.phase != "answered"
        content = io.BytesIO(_dump(record))
        ask_store("written", lambda: self.folder.put(name, content, self.mark, lasting=lasting))

    def _keep(self, record: Record) -> None:
        """Write the record itself, and remove the file of its intent."""
        self._put(record, self.name)
        self._base = record
        if self._numbered is not None:
            # A file that stays is older than the record, and is ignored.
            with contextlib.suppress(OxenStoreUnavailable):
                name = self._name(self._numbered)
                ask_store("removed", lambda: self.folder.remove(name))
            self._numbered = None

    def _remove(self, record: Record) -> None:
        # If an intent stayed behind, it would count as the record once the record is gone.
        left = range(1, record.number + 1) if record.number > 1 or self._numbered else ()
        for name in [*(self._name(number) for number in left), self.name]:
            ask_store("removed", partial(self.folder.remove, name))
        self._base = self._numbered = None

    def _at(self, name: str) -> Record | None:
        raw = ask_store("read", lambda: self._raw(name))
        return None if raw is None else records.read(raw, self.folder.asset_uri(name), self.identity)

    def _raw(self, name: str) -> bytes | None:
        try:
            return self.folder.read(name)
        except NotADirectoryError:
            # Where there can be no folder, there is no record. The check of the output reports the error.
            return None
        except UnreadableFile:
            # Something else has the record's name. Reading the empty text reports it as damaged.
            return b""

    def _name(self, number: int) -> str:
        return file_name(self.stem, self.identity, number)


def file_name(stem: str, identity: str, number: int | None = None) -> str:
    """Return the name of the record's file beside an output, or of the file of an intent."""
    return f".{stem}.{identity[:16]}{'' if number is None else f'.{number}'}{RECORD}"


def _dump(record: Record) -> bytes:
    return to_json(record.as_json(), indent=2) + b"\n"
