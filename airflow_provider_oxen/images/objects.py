"""A prefix in an object store, with the driver that Airflow's ``ObjectStoragePath`` finds."""

from __future__ import annotations

import contextlib
import io
import mimetypes
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_oxen.images.folder import MAX_READ_BYTES, Folder
from airflow_provider_oxen.images.stores import AZURE, S3, is_public, is_taken, store_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["ObjectFolder"]

_BLOCK = 8 * 1024 * 1024
"""Bytes in memory while an object is written in parts; above the 5 MiB that S3 requires for a part."""

_READ = 1024 * 1024
"""Bytes fetched at once while an object is read piece by piece: each fetch is a request."""


class ObjectFolder(Folder):
    """A prefix in an object store: one put for a file, never a copy, and never a delete of an image.

    :param protocol: the URL's scheme.
    :param path: bucket and prefix.
    :param conn_id: the Airflow connection that ``fs`` was made from.
    :param options: keywords for each write; see :mod:`.stores`.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        protocol: str,
        path: str,
        conn_id: str | None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.fs = fs
        self.protocol = protocol
        self.store = store_of(protocol)
        self.path = path.rstrip("/")
        self.conn_id = conn_id
        self.options = dict(options or {})

    @property
    def is_public(self) -> bool:
        return is_public(self.store, self.fs)

    def check(self) -> None:
        # Other drivers report a bucket as missing also if it is empty and may not be described. For them, the
        # first write shows it.
        if self.store is not S3:
            return
        bucket = self.path.partition("/")[0]
        try:
            self.fs.info(bucket)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no bucket {bucket!r}") from None
        except PermissionError:
            # Many keys may write below a prefix but not read the bucket.
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
            return bytes(self.fs.cat_file(self._key(name), end=MAX_READ_BYTES + 1))
        except FileNotFoundError:
            return None
        except Exception:
            # Stores refuse to read a range of an empty object.
            with contextlib.suppress(Exception):
                if self.size(name) == 0:
                    return b""
            raise

    def open(self, name: str) -> BinaryIO:
        # A listing in fsspec's cache would have the size of an earlier object.
        self.fs.invalidate_cache(self.path)
        raw: Any = self.fs.open(self._key(name), "rb", block_size=_READ)
        # fsspec's own readline copies a block for every line.
        return io.BufferedReader(raw, _READ)

    def size(self, name: str) -> int | None:
        # A listing in fsspec's cache would hide what another worker wrote.
        self.fs.invalidate_cache(self.path)
        try:
            return int(self.fs.info(self._key(name))["size"])
        except FileNotFoundError:
            return None

    def is_folder(self, name: str) -> bool:
        return bool(self.fs.isdir(self._key(name)))

    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        self._write(name, source)

    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        try:
            self._write(name, source, new=True)
        except Exception as error:
            # After any other error, do not write without the condition.
            if is_taken(error):
                return False
            raise
        return True

    def _write(self, name: str, source: BinaryIO, *, new: bool = False) -> None:
        """Write an object.

        :param new: only create; the store refuses to overwrite.
        """
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        keywords = {**self._typed(name), **self.options}
        # Google's driver accepts the name of an encryption key only when it writes in parts. Azure's accepts
        # most options only for whole contents, and reads those piece by piece if they are files.
        in_parts = size > _BLOCK or "kms_key_name" in keywords
        if in_parts and self.store is not AZURE:
            self._write_in_parts(name, source, "xb" if new else "wb", keywords)
        else:
            content: Any = source if size > _BLOCK else source.read()
            mode = {"mode": "create"} if new else {}
            self.fs.pipe_file(self._key(name), content, **mode, **keywords)
        found = self.size(name)
        if found != size:
            raise OSError(f"{self.asset_uri(name)} holds {found} bytes after {size} were written")

    def _write_in_parts(self, name: str, source: BinaryIO, mode: str, keywords: Mapping[str, Any]) -> None:
        file: Any = self.fs.open(self._key(name), mode, block_size=_BLOCK, **keywords)
        try:
            shutil.copyfileobj(source, file, _BLOCK)
            file.close()
        except BaseException:
            # Otherwise the end of a "with", or garbage collection, would commit the part as if it were whole.
            file.closed = True
            with contextlib.suppress(Exception):
                file.discard()
            raise

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._key(name))

    def uri(self, name: str) -> str:
        user = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.protocol}://{user}{self._key(name)}"

    def asset_uri(self, name: str) -> str:
        return f"{self.protocol}://{self._key(name)}"

    def _typed(self, name: str) -> dict[str, str]:
        """Return the option with the file's type, so that a browser shows the file instead of saving it."""
        kind, _ = mimetypes.guess_type(name, strict=False)
        option = self.store and self.store.type_option
        return {option: kind} if option and kind else {}

    def _key(self, name: str) -> str:
        return f"{self.path}/{name}"
