"""Prompts as Parquet: a column ``prompt``, optionally ``id``, and columns for fields of the request."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from logging import getLogger
from typing import Any, BinaryIO

from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.batch.readers import column_problem
from airflow_provider_oxen.batch.rows import OWN, RawRow
from airflow_provider_oxen.jobs.plain import shortest

__all__ = ["read_parquet"]

log = getLogger(__name__)

_ROWS = 64
"""Rows in memory at once: enough to be fast, few enough for long rows."""

_READ = 1024 * 1024
"""Bytes of a column in memory at once; by default pyarrow would fetch everything in advance."""

_EXACT = 2**53
"""Up to this number, a float of 64 bits holds every integer."""

_ERROR = 300
"""Characters of a library's error in a message."""

Reader = Callable[[Any], Any]


def read_parquet(file: BinaryIO) -> Iterator[RawRow]:
    """Return the rows; a null sets nothing. If the file cannot be read further, the last row has the problem.

    A number in a column with 16 or 32 bits is read as it was written: 3.7 and not 3.700000047683716. An
    integer that pandas turned into a float because of a null beside it is an integer again, and pandas' index
    is no column.

    :raises OxenInvalidRequest: if pyarrow is missing.
    """
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise OxenInvalidRequest(
            f"prompts: a .parquet file needs pyarrow ({error}).",
            remedy="Install it (pip install 'pyarrow>=16'), or give a .jsonl file.",
        ) from None
    done = 0
    try:
        opened = parquet.ParquetFile(file, buffer_size=_READ, pre_buffer=False)
        schema = opened.schema_arrow
        if problem := column_problem(list(schema.names)):
            yield RawRow(1, {}, problem)
            return
        restore = _restorer(schema)
        for batch in opened.iter_batches(batch_size=_ROWS, use_threads=False):
            yield from map(restore, _rows(batch, done + 1))
            done += batch.num_rows
    except OxenError:
        raise
    except Exception as error:
        # pyarrow raises many kinds of errors, among them OSError for a file that is not Parquet.
        yield RawRow(done + 1, {}, f"is not Parquet that can be read: {redacted_line(str(error), _ERROR)}")


def _rows(batch: Any, first: int) -> Iterator[RawRow]:
    """Return a record batch's rows; a value that Python cannot hold, such as invalid UTF-8, is a problem."""
    try:
        found = batch.to_pylist()
    except (ArithmeticError, ValueError):
        found = None
    for at in range(batch.num_rows):
        try:
            values = batch.slice(at, 1).to_pylist()[0] if found is None else found[at]
        except (ArithmeticError, ValueError) as error:
            yield RawRow(first + at, {}, f"holds what cannot be read: {redacted_line(str(error), _ERROR)}")
        else:
            yield RawRow(first + at, {name: value for name, value in values.items() if value is not None})


def _restorer(schema: Any) -> Callable[[RawRow], RawRow]:
    """Return a function that restores a row's values as they were written, for a file with this schema."""
    pandas = _pandas(schema)
    index = {name for name in pandas.get("index_columns", ()) if isinstance(name, str)} - OWN
    if named := sorted(name for name in index if not name.startswith("__index_level_")):
        log.warning(
            "prompts: %s is pandas' index, and no parameter; reset_index() would make it one.",
            ", ".join(named),
        )
    whole = _whole if pandas else None
    found = {name: _reader(schema.field(name).type, whole) for name in schema.names}
    readers = {name: reader for name, reader in found.items() if reader is not None}

    def restore(raw: RawRow) -> RawRow:
        values = {
            name: readers[name](value) if name in readers else value
            for name, value in raw.values.items()
            if name not in index
        }
        return raw._replace(values=values, former=raw.values if values != raw.values else None)

    return restore


def _pandas(schema: Any) -> Mapping[str, Any]:
    """Return pandas' metadata of the columns; empty if another program wrote the file."""
    try:
        found = json.loads((schema.metadata or {})[b"pandas"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("index_columns"), list) else {}


def _reader(kind: Any, whole: Reader | None) -> Reader | None:
    """Return a function that restores the written value of an Arrow type; None if none is needed."""
    name = str(kind)
    if name in _NARROW:
        return partial(_narrow, *_NARROW[name])
    if name == "double":
        return whole
    if name.startswith("struct<"):
        fields = {field.name: _reader(field.type, whole) for field in kind}
        found = {field: reader for field, reader in fields.items() if reader is not None}
        return partial(_struct, found) if found else None
    inner = _reader(kind.value_type, whole) if hasattr(kind, "value_type") else None
    if inner is None:
        return None
    # A dictionary-encoded column has single values, not lists.
    return inner if hasattr(kind, "index_type") else partial(_list, inner)


_NARROW = {"halffloat": ("e", 3), "float": ("f", 6)}
"""Floats narrower than Python's: the letter for ``struct``, and the digits that they always hold."""


def _narrow(letter: str, digits: int, value: float) -> float:
    return shortest(value, digits, partial(_fits, letter, value))


def _fits(letter: str, wanted: float, value: float) -> bool:
    return bool(struct.unpack(letter, struct.pack(letter, value))[0] == wanted)


def _whole(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value


def _list(inner: Reader, values: list[Any]) -> list[Any]:
    return [None if value is None else inner(value) for value in values]


def _struct(fields: Mapping[str, Reader], values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: fields[name](value) if name in fields and value is not None else value
        for name, value in values.items()
    }
