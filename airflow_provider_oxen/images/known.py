"""A folder that was listed once, so that thousands of checks for missing files cost nothing."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import BinaryIO

from airflow_provider_oxen.images.storage import Folder

__all__ = ["RECORD", "KnownFolder", "Listing"]

RECORD = ".job.json"
"""The suffix of files that record a job."""

_MASK = 2**64 - 1


class Listing:
    """The names in a folder when it was listed, in eight bytes each.

    :param names: the names of all its files.
    :ivar records: how many of them record a job.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._unfinished: set[str] = set()
        self.records = 0
        hashes = array("Q")
        for name in names:
            hashes.append(hash(name) & _MASK)
            self.records += name.endswith(RECORD)
            if name.endswith(".part"):
                # The identity in ``.<name>.<identity>.<writer>.part``.
                self._unfinished.update(name.split(".")[-3:-2])
        self._hashes = array("Q", sorted(hashes))

    def has(self, name: str) -> bool:
        """Return whether a name was there. Two names in 2**64 may collide; then the store is asked."""
        wanted = hash(name) & _MASK
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted

    def has_unfinished(self, writer_id: str) -> bool:
        """Return whether there was an unfinished file of the identity at the start of a writer id."""
        return writer_id.partition(".")[0] in self._unfinished


class KnownFolder(Folder):
    """The folder as one row of a batch sees it: a file that was neither listed nor written by it is missing.

    Where somebody else may have been faster, nothing is assumed: :meth:`create` asks the store.

    :param listing: made before the row's work began.
    :param shared: whether somebody else may work on the row and finish it; then every question goes to the
        store.
    """

    def __init__(self, folder: Folder, listing: Listing, *, shared: bool = False) -> None:
        self._folder = folder
        self._listing = listing
        self.shared = shared
        self._written: set[str] = set()
        self._found: set[str] = set()

    def has_appeared(self, name: str) -> bool:
        """Return whether a file exists that did not when it was last read; this asks the store.

        :raises OSError: if the store cannot tell.
        """
        return name not in self._found and self._folder.size(name) is not None

    def check(self) -> None:
        """Do nothing: the folder was checked when it was listed."""

    def names(self) -> Iterable[str]:
        return self._folder.names()

    def read(self, name: str) -> bytes | None:
        content = self._folder.read(name) if self._may_have(name) else None
        if content is not None:
            self._found.add(name)
        return content

    def open(self, name: str) -> BinaryIO:
        return self._folder.open(name)

    def size(self, name: str) -> int | None:
        return self._folder.size(name) if self._may_have(name) else None

    def is_folder(self, name: str) -> bool:
        return self._folder.is_folder(name)

    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        self._written.add(name)
        self._folder.put(name, source, writer_id, lasting=lasting)

    def create(self, name: str, source: BinaryIO | bytes, writer_id: str) -> bool:
        self._written.add(name)
        return self._folder.create(name, source, writer_id)

    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        return self._folder._make(name, source, writer_id)

    def remove(self, name: str) -> None:
        self._folder.remove(name)

    def uri(self, name: str) -> str:
        return self._folder.uri(name)

    def asset_uri(self, name: str) -> str:
        return self._folder.asset_uri(name)

    def clean(self, writer_id: str) -> None:
        # Every search for leftovers reads the whole folder.
        if self._listing.has_unfinished(writer_id):
            self._folder.clean(writer_id)

    def _may_have(self, name: str) -> bool:
        return self.shared or name in self._written or self._listing.has(name)
