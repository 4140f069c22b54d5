"""Keep two runs apart that work in one folder: by a row's record there, and by a batch's claim.

Only one of two runs can create a row's record. If the store cannot refuse to create an existing file, each
batch writes a file of its own and then lists the folder: at least one of two sees the other's file, and does
not start.
"""

from __future__ import annotations

import contextlib
import io

from pydantic_core import from_json, to_json

from airflow_provider_oxen.api.errors import OxenError, OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.images.known import KnownFolder
from airflow_provider_oxen.images.media import SUFFIXES
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.jobs.filestore import FileRecordStore
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Identity

__all__ = ["CLAIM", "RowConflict", "RowRecordStore", "claim", "release"]

OLDER_CLEARING, THIS_CLEARING = -1, 0
"""The ``clear_count`` by which the protocol sees a record: what another task, or this one before it was
cleared, has left counts as older."""

CLAIM = ".oxen-claim-"
"""Beginning of the name of a file that says which batch works in a folder."""


class RowConflict(Exception):
    """Another run has worked on the row since this one looked."""


class RowRecordStore(FileRecordStore):
    """A row's record in the folder, shared by every run and task that asks for the row.

    :param clear_key: which clearing of which task instance this is.
    :ivar counted: how many of the row's requests the budget has counted.
    """

    folder: KnownFolder

    def __init__(self, folder: KnownFolder, stem: str, identity: str, mark: str, clear_key: str) -> None:
        super().__init__(folder, stem, identity, mark)
        self.clear_key = clear_key
        self._sidecar = f"{stem}.json"
        self.counted = 0
        self.files = [f"{stem}{suffix}" for suffix in sorted(SUFFIXES)]

    def read(self) -> Record | None:
        record = super().read()
        # The plan counts in the same way what earlier tries have sent.
        self.counted = record.submissions if record and record.clear_key == self.clear_key else 0
        if record is None or record.clear_key == self.clear_key:
            return record
        return record.to(record.phase, clear_count=OLDER_CLEARING)

    def create(self, record: Record) -> None:
        super().create(self._signed(record))

    def write(self, record: Record) -> None:
        """Write the record; write an intent only over the record that was there when the row was read.

        A run that keeps an image removes the record only after the sidecar exists. So a run that can write an
        intent and sees no new sidecar is alone.

        :raises RowConflict: if another run has worked on the row since; the intent is removed again.
        :raises OxenStoreUnavailable: if that cannot be found out; the intent then stays, if the store accepts
            it.
        """
        if record.phase != "intent":
            super().write(self._signed(record))
            return
        try:
            super().write(self._signed(record))
        except OxenOvertaken:
            raise RowConflict from None
        try:
            if not with_store_errors(self.folder, lambda: self.folder.has_appeared(self._sidecar)):
                return
        except OxenError:
            with contextlib.suppress(OxenError):
                self.withdraw(record)
            raise
        self.withdraw(record)
        raise RowConflict

    def close(self, record: Record) -> None:
        super().close(self._signed(record))

    def known(self) -> Record | None:
        """Return the record if there is one that can be read."""
        with contextlib.suppress(OxenError):
            return self.read()
        return None

    def note(self, record: Record) -> None:
        """Add facts to a record if it is still the one that is there."""
        there = self.known()
        if there is not None and (there.nonce, there.phase) == (record.nonce, record.phase):
            with contextlib.suppress(OxenError):
                self.write(record)

    def _signed(self, record: Record) -> Record:
        return record.to(record.phase, clear_key=self.clear_key, files=record.files or self.files)


def claim(folder: Folder, identity: Identity, mark: str) -> None:
    """Make sure that no other task's batch works in the folder, if its store does not ensure that.

    :param mark: as for :meth:`.Folder.put`.
    :raises OxenStoreUnavailable: if another batch does.
    """
    if folder.is_exclusive:
        return
    own = _name(identity)
    source = io.BytesIO(to_json(identity._asdict(), indent=2) + b"\n")
    with_store_errors(folder, lambda: folder.put(own, source, mark))
    others = with_store_errors(
        folder, lambda: [name for name in folder.names() if name.startswith(CLAIM) and name != own]
    )
    if others:
        release(folder, identity)
        raise OxenStoreUnavailable(
            f"Another task's batch{_whose(folder, others[0])} is running in {folder.asset_uri('')}, as "
            f"{others[0]} says, and this store cannot keep two apart: both could pay for the same row.",
            retry="The next try checks again.",
            remedy="Give each batch its own folder; if the other batch has ended for good, remove that file.",
        )


def _whose(folder: Folder, name: str) -> str:
    """Return the other task by name, as far as its file tells."""
    with contextlib.suppress(Exception):
        facts = from_json(folder.read(name) or b"{}")
        names = [redacted_line(facts[name]) for name in ("dag_id", "task_id")]
        return f" (Dag {names[0]!r}, task {names[1]!r})"
    return ""


def release(folder: Folder, identity: Identity) -> None:
    """Let others start. If this fails, the file stays, and their error names it."""
    if not folder.is_exclusive:
        with contextlib.suppress(Exception):
            folder.remove(_name(identity))


def _name(identity: Identity) -> str:
    return f"{CLAIM}{identity.key[:16]}.json"
