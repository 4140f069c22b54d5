"""The source of a batch's prompts: a list, or a file that is read row by row and never held whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.batch.parquet import read_parquet
from airflow_provider_oxen.batch.readers import NotJSON, parse, read_csv, read_jsonl, read_text
from airflow_provider_oxen.batch.rows import RawRow, from_value
from airflow_provider_oxen.images.names import locate
from airflow_provider_oxen.images.paths import as_text
from airflow_provider_oxen.images.storage import Folder, LocalFolder, open_folder
from airflow_provider_oxen.jobs.plain import shown

__all__ = ["Source", "open_source"]

_READERS: dict[str, Callable[[BinaryIO], Iterator[RawRow]]] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
}

_LONGEST_PATH = 4096
"""Longest path in characters that Linux accepts. A longer text is a prompt, and is not shown whole."""

_READ = 256 * 1024
"""Bytes that are read at once from the folder's file."""

_ALLOWED = (
    "prompts must be a list, of texts or of mappings with 'prompt', or a file's path: absolute, or a URL "
    "such as s3://bucket/prompts.jsonl, that ends in " + ", ".join(_READERS)
)

_ALONE = "Put a single prompt into a list."


class Source(NamedTuple):
    """The prompts of a batch, which can be read again and again.

    :ivar name: for messages; a path in it is without its connection.
    :ivar rows: opens, reads row by row, and closes; raises :class:`.OxenInvalidRequest` if there is no file,
        or it may not be read, and :class:`.OxenStoreUnavailable` if the store fails.
    """

    name: str
    rows: Callable[[], Iterator[RawRow]]


def open_source(prompts: Any, conn_id: str | None) -> Source:
    """Return the source that an operator's argument names, after rendering. Nothing is read yet.

    :param prompts: a list, also a lazy one; or a text: a list as JSON, or a file's path.
    :param conn_id: the Airflow connection of the file's store.
    :raises OxenInvalidRequest: if it is something else, or its store cannot be opened.
    """
    prompts = as_text("prompts", prompts)
    if isinstance(prompts, str):
        text = prompts.strip()
        return _from_list(_rendered(text)) if text.startswith("[") else _from_file(text, conn_id)
    if isinstance(prompts, Sequence) and not isinstance(prompts, bytes | bytearray | memoryview):
        return _from_list(prompts)
    raise OxenInvalidRequest(f"{_ALLOWED}; not {shown(prompts)}. {_ALONE}")


def _rendered(text: str) -> Any:
    try:
        return parse(text)
    except NotJSON as error:
        raise OxenInvalidRequest(
            f"prompts was rendered to {shown(text)}, which {error}: render a list with '| tojson'."
        ) from None


def _from_list(items: Sequence[Any]) -> Source:
    def read() -> Iterator[RawRow]:
        for position, item in enumerate(items, 1):
            yield from_value(position, item, "a text or a mapping")

    return Source("the list", read)


def _from_file(path: str, conn_id: str | None) -> Source:
    suffix = PurePosixPath(path.rpartition("/")[2]).suffix.lower()
    if len(path) > _LONGEST_PATH or suffix not in _READERS:
        raise OxenInvalidRequest(f"{_ALLOWED}; not {without_queries(shown(path))}. {_ALONE}")
    try:
        parent, name = locate(path, "prompts")
    except OxenInvalidRequest as error:
        raise OxenInvalidRequest(f"{without_queries(error.message)} {_ALONE}") from None
    try:
        folder = open_folder(parent, conn_id, conn_name="prompts_conn_id")
    except (OxenInvalidRequest, OxenStoreUnavailable) as error:
        # Its message is written for the operator's other path.
        words = without_queries(error.message).removeprefix("storage_path ")
        raise type(error)(f"prompts: the folder {words}") from None
    where = str(folder.path / name) if isinstance(folder, LocalFolder) else folder.asset_uri(name)
    return Source(where, partial(_read, folder, name, where, _READERS[suffix]))


def _read(
    folder: Folder, name: str, where: str, reader: Callable[[BinaryIO], Iterator[RawRow]]
) -> Iterator[RawRow]:
    with _store_errors(where):
        file = folder.open(name)
    with file, io.BufferedReader(_File(file, where), _READ) as buffered:
        yield from reader(buffered)


class _File(io.RawIOBase):
    """A folder's file whose errors belong to the store, and are not taken for errors in the content."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file: Any = file
        self._where = where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _store_errors(self._where):
            return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


@contextmanager
def _store_errors(where: str) -> Iterator[None]:
    try:
        yield
    except OxenError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise OxenInvalidRequest(f"prompts: there is no file {where}.") from None
    except (PermissionError, IsADirectoryError) as error:
        raise OxenInvalidRequest(
            f"prompts: {where} cannot be read: {without_queries(str(error))}.",
            remedy="Give a file that this worker may read.",
        ) from None
    except Exception as error:
        raise OxenStoreUnavailable(
            f"prompts: the store of {where} could not be read: {describe_error(error)}."
        ) from None
