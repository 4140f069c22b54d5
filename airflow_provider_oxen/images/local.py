"""A folder on this machine."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from airflow_provider_oxen.images.folder import MAX_READ_BYTES, PROBE, Folder, UnreadableFile

__all__ = ["LocalFolder"]

_SHOWN_BYTES = 60
"""Bytes of a file's name that its unfinished file's name repeats; the whole name could be too long."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
"""Flags to create a file: never an existing one, and never through a link."""

_NAME_ERRORS = (errno.EACCES, errno.ELOOP, errno.ENXIO)
"""Errors about a name, and not about its folder: no permission, a link to itself, a socket."""


class LocalFolder(Folder):
    """A folder on this machine.

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
        # Try it out. Inodes do not tell: exFAT in user space gives one file two of them.
        token = secrets.token_hex(8)
        names = [f"{PROBE}-{token}-{case}" for case in ("Aa", "aA")]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._at(names[0]), _CREATE, 0o666))
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._at(names[1]), _CREATE, 0o666))
            return sum(token in found for found in self.names()) == 1
        except OSError:
            # The check of the folder reports what is wrong with it.
            return False
        finally:
            for name in names:
                with contextlib.suppress(OSError):
                    os.unlink(self._at(name))

    def names(self) -> Iterable[str]:
        with os.scandir(self.path) as entries:
            yield from (entry.name for entry in entries)

    def read(self, name: str) -> bytes | None:
        try:
            with os.fdopen(_open_regular_file(self._at(name)), "rb", buffering=0) as file:
                return file.read(min(os.fstat(file.fileno()).st_size, MAX_READ_BYTES) + 1)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        return os.fdopen(_open_regular_file(self._at(name)), "rb")

    def size(self, name: str) -> int | None:
        try:
            return os.stat(self._at(name)).st_size
        except FileNotFoundError:
            return None

    def is_folder(self, name: str) -> bool:
        return os.path.isdir(self._at(name))

    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        with self._staged(name, source, writer_id, lasting=lasting) as part:
            os.replace(part, self._at(name))
        if lasting:
            self._sync()

    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        with self._staged(name, source, writer_id) as part:
            try:
                os.link(part, self._at(name))
                made = True
            except FileExistsError:
                made = False
            except OSError:
                return self._make_without_links(name, part)
            _unlink(part)
        if made:
            self._sync()
        return made

    def _make_without_links(self, name: str, part: str) -> bool:
        """Do the same without links. If the process dies here, an empty file keeps the name."""
        try:
            os.close(os.open(self._at(name), _CREATE, 0o666))
        except FileExistsError:
            _unlink(part)
            return False
        try:
            os.replace(part, self._at(name))
        except BaseException:
            self.remove(name)
            raise
        self._sync()
        return True

    @contextlib.contextmanager
    def _staged(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> Iterator[str]:
        """Write the content to a new file with an unpredictable name; remove that file if anything fails."""
        shown = os.fsencode(name)[:_SHOWN_BYTES].decode(errors="ignore")
        part = self._at(f".{shown}.{writer_id}-{secrets.token_hex(8)}.part")
        source.seek(0)
        try:
            _write(part, source, lasting=lasting)
            yield part
        except BaseException:
            # Useless files must not stay, least of all on a full disk.
            _unlink(part)
            raise

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name))

    def _at(self, name: str) -> str:
        # For thousands of files, creating a Path costs as much as reading its status.
        return f"{self._root}/{name}"

    def _sync(self) -> None:
        """Make a new name survive a power cut.

        The file is whole and in its place by now, even if the file system cannot sync a folder.
        """
        with self._lock:
            wanted = self._begun + 1
        with self._syncing:
            # Of many waiting threads, one syncs for all whose names existed when it began.
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

    def clean(self, writer_id: str) -> None:
        identity = writer_id.partition(".")[0]
        for leftover in self.path.glob(f".*.{glob.escape(identity)}.*.part"):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()

    def uri(self, name: str) -> str:
        return str(self.path / name)

    def asset_uri(self, name: str) -> str:
        return (self.path / name).as_uri()


def _open_regular_file(path: str) -> int:
    """Open a file to read, also through a link. Anything else is an error: a pipe would block for ever."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise UnreadableFile(error.errno, error.strerror, path) from None
        raise
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise UnreadableFile(errno.EISDIR, "Is a directory", path)
    raise UnreadableFile(errno.EINVAL, "No regular file", path)


def _unlink(part: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(part)


def _write(path: str, source: BinaryIO, *, lasting: bool = True) -> None:
    """Write a new file, and sync it to the disk if it must last.

    Uses the descriptor: a file object makes four more system calls, and with hundreds of threads each of them
    waits for its turn after each call.
    """
    handle = os.open(path, _CREATE, 0o666)
    try:
        while chunk := source.read(1024 * 1024):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(handle, rest) :]
        if lasting:
            os.fsync(handle)
    finally:
        os.close(handle)
