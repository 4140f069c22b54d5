"""A folder to keep images in, and the methods that each kind of store implements.

A written file appears whole or not at all. A created file never overwrites another task's. Whether a store
can promise that is found out by trying; see :meth:`Folder.prove`.
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

__all__ = ["MAX_READ_BYTES", "PROBE", "Folder", "UnreadableFile"]

log = getLogger(__name__)

PROBE = ".oxen-probe"
"""Beginning of the names of test files, which show whether writing works; any of them may be removed."""

_TEXT = b"airflow-provider-oxen has written this to see whether it can. It may be removed at any time.\n"

MAX_READ_BYTES = MAX_BYTES
"""Largest file, in bytes, that is read at once: records and sidecars, which hold a request."""

_CHUNK = 1024 * 1024

_PROVEN: dict[str, bool] = {}
"""Whether the store refuses to create a file twice, by folder; tested once in a process."""


class UnreadableFile(PermissionError):
    """The name exists but is not a file, or not a readable one. The folder itself is fine."""


class Folder(ABC):
    """Where a task's files go. Names are plain file names; none leaves the folder."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that files can be written, as far as that can be known without writing any.

        :raises OSError: if they cannot be written.
        """

    def folds_case(self) -> bool:
        """Return whether names that differ only in case are one file."""
        return False

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Return the names of all files, including hidden ones.

        :raises OSError: if the store cannot tell.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's content, or None if there is no such file.

        Of a file larger than :data:`MAX_READ_BYTES`, at most one byte more than that is returned: it is not
        one of ours.

        :raises UnreadableFile: if the name is not a file, or may not be read.
        :raises OSError: if the store cannot tell; "could not read" never means "does not exist".
        """

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Return a file that may be large, to be read piece by piece and closed.

        :raises FileNotFoundError: if there is no such file.
        """

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None if there is no such file."""

    @abstractmethod
    def is_folder(self, name: str) -> bool:
        """Return whether a name is a folder.

        :raises OSError: or what else the driver raises, if the store cannot tell.
        """

    @abstractmethod
    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        """Write a file from the beginning of its source. Readers see the old file or the whole new one.

        :param writer_id: tells this task's unfinished files from others'.
        :param lasting: whether the file must survive a power cut from now on.
        """

    @abstractmethod
    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        """Create a file, with the store's own protection against overwriting; return False if it exists.

        :raises OSError: or what else the driver raises, for any other answer than "it exists".
        """

    def create(self, name: str, source: BinaryIO | bytes, writer_id: str) -> bool:
        """Create a file, whole or not at all; return whether it exists and is ours. Never overwrites.

        A store also says "it exists" if a driver repeats a write whose answer was lost. So the existing file
        is read and compared.

        :param writer_id: as for :meth:`put`.
        """
        content = io.BytesIO(source) if isinstance(source, bytes) else source
        if self.is_exclusive:
            return self._make(name, content, writer_id) or self._is_mine(name, content)
        # Here nothing stops two tasks that do this at the same moment. So each task uses its own names there.
        if self.size(name) is not None:
            return self._is_mine(name, content)
        self.put(name, content, writer_id)
        return True

    def _is_mine(self, name: str, source: BinaryIO) -> bool:
        try:
            return self.holds(name, source)
        except Exception as error:
            # It may belong to another task, and must not be overwritten.
            log.warning("%s could not be read back: %s", self.asset_uri(name), without_queries(str(error)))
            return False

    def holds(self, name: str, source: BinaryIO) -> bool:
        """Return whether a file exists and equals its source, byte for byte."""
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
        """Return the SHA-256 of a file's first ``size`` bytes, in hexadecimal digits.

        :raises FileNotFoundError: if there is no such file.
        """
        digest = hashlib.sha256()
        with self.open(name) as there:
            while size > 0 and (chunk := there.read(min(_CHUNK, size))):
                digest.update(chunk)
                size -= len(chunk)
        return digest.hexdigest()

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; a missing file is no error."""

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return the path for ``ObjectStoragePath``, including the connection id."""

    @abstractmethod
    def asset_uri(self, name: str) -> str:
        """Return the file's URI for lineage and assets, without a connection id."""

    @property
    def is_public(self) -> bool:
        """Whether this is the store that its URL names, and not another one behind a custom endpoint."""
        return True

    def clean(self, writer_id: str) -> None:
        """Remove what an earlier try of the task left unfinished, in stores where that can remain."""
        return None

    @property
    def is_exclusive(self) -> bool:
        """Whether two tasks cannot create the same file at one moment, as far as :meth:`prove` has tested."""
        return _PROVEN.get(self.uri(""), True)

    def prove(self, writer_id: str) -> bool:
        """Test the folder with a small hidden file, once per process: create it, try again, remove it.

        Only this shows, before money is spent, that the place accepts files. If removing is not allowed, one
        file stays and is overwritten.

        :param writer_id: as for :meth:`put`.
        :return: whether the store refuses to create an existing file.
        :raises OSError: or what else the driver raises, if the place accepts no files.
        """
        place = self.uri("")
        if place not in _PROVEN:
            _PROVEN[place] = self._prove(writer_id)
            if not _PROVEN[place]:
                log.warning(
                    "%s does not refuse to overwrite a file, so two tasks that write to one name at the "
                    "same moment could lose an image. Each task's image gets its own name there.",
                    self.asset_uri(""),
                )
        return _PROVEN[place]

    def _prove(self, writer_id: str) -> bool:
        if self.size(PROBE) is not None:
            # It stayed because nothing may be removed here. If it is gone now, its owner may remove files.
            refused = not self._make_again(PROBE, writer_id)
            self.put(PROBE, io.BytesIO(_TEXT), writer_id)
            if refused:
                return True
        # Use a unique name: if another task removed a shared file between the two writes, it would look as if
        # the store accepted both.
        name = f"{PROBE}-{secrets.token_hex(8)}"
        try:
            self._make(name, io.BytesIO(_TEXT), writer_id)
            exclusive = not self._make_again(name, writer_id)
        except Exception as error:
            if not knows_no_conditions(error):
                raise
            self.put(name, io.BytesIO(_TEXT), writer_id)
            exclusive = False
        try:
            self.remove(name)
        except Exception as error:
            log.info("%s stays: %s", self.asset_uri(name), without_queries(str(error)))
            self.put(PROBE, io.BytesIO(_TEXT), writer_id)
        return exclusive

    def _make_again(self, name: str, writer_id: str) -> bool:
        return self._make(name, io.BytesIO(b"A second one of this name must be refused.\n"), writer_id)
