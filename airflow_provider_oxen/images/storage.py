"""A folder to keep images in: on this machine, or in an object store through ``ObjectStoragePath``.

Both kinds answer the same few questions; what is written appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import glob
import io
import mimetypes
import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from airflow_provider_oxen.api.errors import OxenInvalidRequest

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Folder", "LocalFolder", "ObjectFolder", "open_folder"]

_BLOCK = 8 * 1024 * 1024
"""Bytes held in memory of an object that is written in parts: above the 5 MiB that S3 asks of a part."""

_READ = 1024 * 1024
"""Bytes that are fetched at once of an object that is read bit by bit: each time is a request."""

_EXTRAS = {
    "s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gcs", "gcs": "gcs",
    "abfs": "azure", "abfss": "azure", "az": "azure", "adl": "azure",
}  # fmt: skip

_TYPE = {"s3": "ContentType", "s3a": "ContentType", "s3n": "ContentType", "gs": "content_type",
         "gcs": "content_type"}  # fmt: skip
"""What a driver calls a file's media type."""


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
    def put(self, name: str, source: BinaryIO, mark: str, *, lasting: bool = True) -> None:
        """Write a file from its source's beginning, in one step as others see it.

        :param mark: tells this task's unfinished files from others'.
        :param lasting: whether it has to outlive a power cut from now on.
        """

    @abstractmethod
    def create(self, name: str, content: bytes, mark: str) -> bool:
        """Write a small file where there is none, whole or not at all, and return whether that was so.

        :param mark: as for :meth:`put`.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return what ``ObjectStoragePath`` opens the file by, the connection id included."""

    @abstractmethod
    def asset_uri(self, name: str) -> str:
        """Return the file's URI for lineage and assets: without a connection id."""

    def clean(self, mark: str) -> None:
        """Remove what an earlier try of the task left unfinished, where a store shows such a thing."""
        return None


class LocalFolder(Folder):
    """A folder of this machine.

    :param path: absolute.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._root = str(self.path).rstrip("/")
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        self._begun = self._synced = 0

    def check(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write in {self.path}")

    def folds_case(self) -> bool:
        # What is not there yet is made in the nearest folder that is.
        for place in (self.path, *self.path.parents):
            name = place.name.swapcase()
            if name != place.name and place.exists():
                turned = place.with_name(name)
                return turned.exists() and turned.samefile(place)
        return False

    def names(self) -> Iterable[str]:
        with os.scandir(self.path) as entries:
            yield from (entry.name for entry in entries)

    def read(self, name: str) -> bytes | None:
        try:
            with open(self._at(name), "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        return open(self._at(name), "rb")

    def size(self, name: str) -> int | None:
        try:
            return os.stat(self._at(name)).st_size
        except FileNotFoundError:
            return None

    def put(self, name: str, source: BinaryIO, mark: str, *, lasting: bool = True) -> None:
        part = self._part(name, mark)
        source.seek(0)
        try:
            _write(part, source, lasting=lasting)
            os.replace(part, self._at(name))
        except BaseException:
            # On a full disk above all, what is of no use must not stay.
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        if lasting:
            self._sync()

    def create(self, name: str, content: bytes, mark: str) -> bool:
        part = self._part(name, mark)
        try:
            _write(part, io.BytesIO(content))
            try:
                os.link(part, self._at(name))
            except FileExistsError:
                return False
            except OSError:
                # A file system without links: there, what a death cuts short stays, and stops the next try.
                return self._open_new(name, content)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)
        self._sync()
        return True

    def _open_new(self, name: str, content: bytes) -> bool:
        try:
            _write(self._at(name), io.BytesIO(content), os.O_EXCL)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name))

    def _part(self, name: str, mark: str) -> str:
        return self._at(f".{name}.{mark}.part")

    def _at(self, name: str) -> str:
        # A Path for each file of thousands costs as much as looking at it.
        return f"{self._root}/{name}"

    def _sync(self) -> None:
        """Make a new name survive a power cut.

        The file is whole and in its place by now: a file system that cannot sync a folder does not undo that.
        """
        with self._lock:
            wanted = self._begun + 1
        with self._syncing:
            # Of many threads that wait here, one does it for all whose names were there when it began.
            if self._synced >= wanted:
                return
            with self._lock:
                self._begun += 1
                begun = self._begun
            with contextlib.suppress(OSError):
                handle = os.open(self.path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            self._synced = begun

    def clean(self, mark: str) -> None:
        identity = mark.partition(".")[0]
        for leftover in self.path.glob(f".*.{glob.escape(identity)}.*.part"):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()

    def uri(self, name: str) -> str:
        return str(self.path / name)

    def asset_uri(self, name: str) -> str:
        return (self.path / name).as_uri()


def _write(path: str, source: BinaryIO, flags: int = os.O_TRUNC, *, lasting: bool = True) -> None:
    """Write a file, and onto the disk where it must last.

    By its descriptor: a file object asks the system four more questions, and of hundreds of threads each
    waits its turn after each.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o666)
    try:
        while chunk := source.read(1024 * 1024):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(handle, rest) :]
        if lasting:
            os.fsync(handle)
    finally:
        os.close(handle)


class ObjectFolder(Folder):
    """A prefix in an object store: one put a file, never a copy, and of an image never a delete.

    :param protocol: the URL's scheme.
    :param path: bucket and prefix.
    :param conn_id: the Airflow connection that ``fs`` was made from.
    """

    def __init__(self, fs: AbstractFileSystem, protocol: str, path: str, conn_id: str | None) -> None:
        self.fs = fs
        self.protocol = protocol
        self.path = path.rstrip("/")
        self.conn_id = conn_id

    def check(self) -> None:
        bucket = self.path.partition("/")[0]
        try:
            self.fs.info(bucket)
        except FileNotFoundError:
            # Other stores' drivers also say so of a bucket that is empty and may not be described.
            if self.protocol in ("s3", "s3a", "s3n"):
                raise FileNotFoundError(f"there is no bucket {bucket!r}") from None
        except PermissionError:
            # Many keys may write below a prefix and not look at the bucket.
            return

    def names(self) -> Iterable[str]:
        self.fs.invalidate_cache(self.path)
        try:
            found = self.fs.ls(self.path, detail=False)
        except FileNotFoundError:
            return
        yield from (str(key).rpartition("/")[2] for key in found)

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self.fs.cat_file(self._key(name)))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        # A listing that fsspec remembers would tell the size of what stood there before.
        self.fs.invalidate_cache(self.path)
        raw: Any = self.fs.open(self._key(name), "rb", block_size=_READ)
        # fsspec's own readline copies a block for each line.
        return io.BufferedReader(raw, _READ)

    def size(self, name: str) -> int | None:
        # A listing that fsspec remembers would hide what another worker wrote.
        self.fs.invalidate_cache(self.path)
        try:
            return int(self.fs.info(self._key(name))["size"])
        except FileNotFoundError:
            return None

    def put(self, name: str, source: BinaryIO, mark: str, *, lasting: bool = True) -> None:
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        if size <= _BLOCK:
            self.fs.pipe_file(self._key(name), source.read(), **self._typed(name))
        else:
            self._put_in_parts(name, source)
        found = self.size(name)
        if found != size:
            raise OSError(f"{self.asset_uri(name)} holds {found} bytes after {size} were written")

    def _put_in_parts(self, name: str, source: BinaryIO) -> None:
        file: Any = self.fs.open(self._key(name), "wb", block_size=_BLOCK, **self._typed(name))
        try:
            shutil.copyfileobj(source, file, _BLOCK)
            file.close()
        except BaseException:
            # Leaving a "with", or being collected, would commit what has come so far as if it were whole.
            file.closed = True
            with contextlib.suppress(Exception):
                file.discard()
            raise

    def create(self, name: str, content: bytes, mark: str) -> bool:
        try:
            self.fs.pipe_file(self._key(name), content, mode="create")
        except Exception:
            # Each store has its own error for a place that is taken, and some do not know the condition:
            # what is there afterwards tells. Who comes first there is told by the record being read back.
            if self.size(name) is not None:
                return False
            self.fs.pipe_file(self._key(name), content)
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._key(name))

    def uri(self, name: str) -> str:
        user = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.protocol}://{user}{self._key(name)}"

    def asset_uri(self, name: str) -> str:
        return f"{self.protocol}://{self._key(name)}"

    def _typed(self, name: str) -> dict[str, str]:
        """Return what tells the store of a file's type: a browser shows what else it would download."""
        argument, (kind, _) = _TYPE.get(self.protocol), mimetypes.guess_type(name, strict=False)
        return {argument: kind} if argument and kind else {}

    def _key(self, name: str) -> str:
        return f"{self.path}/{name}"


def open_folder(path: str, conn_id: str | None) -> Folder:
    """Return the folder that a local path or a URL names. Nothing is asked of the store yet.

    :param path: a folder as :func:`.names.locate` returns it.
    :raises OxenInvalidRequest: where the driver or the connection is missing, or the store cannot be opened.
    """
    if path.startswith("/"):
        return LocalFolder(path)
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

    scheme = urlsplit(path).scheme
    try:
        place = ObjectStoragePath(path, conn_id=conn_id) if conn_id else ObjectStoragePath(path)
        protocol, fs = str(place.protocol), place.fs
    except AirflowNotFoundException as error:
        raise OxenInvalidRequest(f"storage_path {path!r} cannot be opened: {error}.") from None
    except (ImportError, ValueError) as error:
        raise OxenInvalidRequest(
            f"storage_path {path!r} cannot be opened: {error}.{_advice(scheme)}"
        ) from None
    user = conn_id or urlsplit(path).netloc.rpartition("@")[0] or None
    return ObjectFolder(fs, protocol, str(place.path), user)


def _advice(scheme: str) -> str:
    extra = _EXTRAS.get(scheme)
    if extra:
        return f" Install the driver: pip install 'airflow-provider-oxen[{extra}]'."
    return f" Install a provider that registers the scheme {scheme!r} with Airflow's object storage."
