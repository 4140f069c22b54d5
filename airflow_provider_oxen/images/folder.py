"""A folder to keep images in, whatever it is in: the questions that each kind of store answers.

What is written appears whole or not at all. What is created never covers what another task made; whether a
store can promise that is found out by trying, see :meth:`Folder.prove`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable
from logging import getLogger
from typing import BinaryIO

from airflow_provider_oxen.api.jsontext import MAX_BYTES
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.images.stores import knows_no_conditions

__all__ = ["MOST", "PROBE", "Folder", "UnreadableFile"]

log = getLogger(__name__)

PROBE = ".oxen-probe"
"""How the names of files begin that are written to see whether that works; any of them may be removed."""

_SAYS = b"airflow-provider-oxen has written this to see whether it can. It may be removed at any time.\n"

MOST = MAX_BYTES
"""Bytes of a file that is read at once: records and sidecars, which hold a request."""

_CHUNK = 1024 * 1024

_PROVEN: dict[str, bool] = {}
"""Whether a second create is refused, by folder: asked once in a process."""


class UnreadableFile(PermissionError):
    """What has the name of a file is there, and is none, or none that may be read; the folder is well."""


class Folder(ABC):
    """Where a task's files go. Names are plain file names; none leaves the folder."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that files can be written, as far as that can be told without writing any.

        :raises OSError: where they cannot.
        """

    def folds_case(self) -> bool:
        """Whether names that differ in case only are one file."""
        return False

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Return the names of all files, hidden ones included.

        :raises OSError: where that cannot be told.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's content, or None where there is none.

        Of one that is larger than :data:`MOST` no more than one byte beyond that: it is none of ours.

        :raises UnreadableFile: where what is there is none, or may not be read.
        :raises OSError: where that cannot be told; "could not read" is never "there is none".
        """

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Return a file that may be big, to be read bit by bit and closed.

        :raises FileNotFoundError: where there is none.
        """

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where there is none."""

    @abstractmethod
    def is_folder(self, name: str) -> bool:
        """Whether a name is a folder's.

        :raises OSError: or what else the driver raises, where that cannot be told.
        """

    @abstractmethod
    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        """Write a file from its source's beginning, in one step as others see it; what is there goes.

        :param writer_id: tells this task's unfinished files from others'.
        :param lasting: whether it has to outlive a power cut from now on.
        """

    @abstractmethod
    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        """Write a file where there is none, as the store itself sees to it; return whether it says so.

        :raises OSError: or what else the driver raises, for any other answer than "it is taken".
        """

    def create(self, name: str, source: BinaryIO | bytes, writer_id: str) -> bool:
        """Write a file where there is none, whole or not at all; return whether it is there and ours.

        A store says "taken" too where a driver repeats a write whose answer was lost: so what is there is
        read back.

        :param writer_id: as for :meth:`put`.
        """
        content = io.BytesIO(source) if isinstance(source, bytes) else source
        if self.is_exclusive:
            return self._make(name, content, writer_id) or self._is_mine(name, content)
        # Nothing keeps two apart who do this at one moment: names there are each task's own.
        if self.size(name) is not None:
            return self._is_mine(name, content)
        self.put(name, content, writer_id)
        return True

    def _is_mine(self, name: str, source: BinaryIO) -> bool:
        try:
            return self.holds(name, source)
        except Exception as error:
            # For all that can be told it is another's, and must not be covered.
            log.warning("%s could not be read back: %s", self.asset_uri(name), without_queries(str(error)))
            return False

    def holds(self, name: str, source: BinaryIO) -> bool:
        """Whether a file is there and is, byte for byte, what its source gives."""
        if self.size(name) != source.seek(0, os.SEEK_END):
            return False
        source.seek(0)
        with contextlib.suppress(FileNotFoundError), self.open(name) as there:
            while chunk := source.read(_CHUNK):
                if there.read(len(chunk)) != chunk:
                    return False
            return True
        return False

    def sha256(self, name: str, size: int) -> str:
        """Return what a file's first ``size`` bytes come to, in hexadecimal digits.

        :raises FileNotFoundError: where there is none.
        """
        digest = hashlib.sha256()
        with self.open(name) as there:
            while size > 0 and (chunk := there.read(min(_CHUNK, size))):
                digest.update(chunk)
                size -= len(chunk)
        return digest.hexdigest()

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return what ``ObjectStoragePath`` opens the file by, the connection id included."""

    @abstractmethod
    def asset_uri(self, name: str) -> str:
        """Return the file's URI for lineage and assets: without a connection id."""

    def clean(self, writer_id: str) -> None:
        """Remove what an earlier try of the task left unfinished, where a store shows such a thing."""
        return None

    @property
    def is_exclusive(self) -> bool:
        """Whether two who create one file at one moment are kept apart, as far as :meth:`prove` was asked."""
        return _PROVEN.get(self.uri(""), True)

    def prove(self, writer_id: str) -> bool:
        """Write a small hidden file, have a second one refused, and remove it, once a folder and process.

        Nothing else shows before the money is spent that the place takes files at all. Where removing is not
        allowed, one file stays and is written over.

        :param writer_id: as for :meth:`put`.
        :return: whether two who create one file at one moment are kept apart.
        :raises OSError: or what else the driver raises, where the place takes no files.
        """
        place = self.uri("")
        if place not in _PROVEN:
            _PROVEN[place] = self._prove(writer_id)
            if not _PROVEN[place]:
                log.warning(
                    "%s does not refuse a second file of one name: it cannot keep apart two tasks that write "
                    "to one name at one moment. So a task's image gets a name of its own there.",
                    self.asset_uri(""),
                )
        return _PROVEN[place]

    def _prove(self, writer_id: str) -> bool:
        if self.size(PROBE) is not None:
            # It stayed, since nothing may be removed here. Where it is gone now, it was somebody's who may.
            refused = not self._may_make(PROBE, writer_id)
            self.put(PROBE, io.BytesIO(_SAYS), writer_id)
            if refused:
                return True
        # A name of its own: another's probe, removed between the two, would look like a second one taken.
        name = f"{PROBE}-{secrets.token_hex(8)}"
        try:
            self._make(name, io.BytesIO(_SAYS), writer_id)
            exclusive = not self._may_make(name, writer_id)
        except Exception as error:
            if not knows_no_conditions(error):
                raise
            self.put(name, io.BytesIO(_SAYS), writer_id)
            exclusive = False
        try:
            self.remove(name)
        except Exception as error:
            log.info("%s stays: %s", self.asset_uri(name), without_queries(str(error)))
            self.put(PROBE, io.BytesIO(_SAYS), writer_id)
        return exclusive

    def _may_make(self, name: str, writer_id: str) -> bool:
        return self._make(name, io.BytesIO(b"A second one of this name must be refused.\n"), writer_id)
