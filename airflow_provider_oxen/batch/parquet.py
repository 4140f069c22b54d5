"""Prompts as Parquet: a column ``prompt``, perhaps ``id``, and others that name fields of the request."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest
from airflow_provider_oxen.batch.raw import Raw
from airflow_provider_oxen.batch.tables import column_problem

__all__ = ["read_parquet"]

_ROWS = 64
"""Rows in memory at once: enough that the time goes into them, few enough that long ones are no harm."""

_READ = 1024 * 1024
"""Bytes of a column in memory at once; pyarrow's own way is to fetch all that it will need beforehand."""


def read_parquet(file: BinaryIO) -> Iterator[Raw]:
    """Return the rows; a null sets nothing. Where the file cannot be read further, a row tells the problem.

    :raises OxenInvalidRequest: where pyarrow is missing.
    """
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise OxenInvalidRequest(
            f"prompts: a .parquet file needs pyarrow ({error}). Nothing was sent: pip install "
            "'airflow-provider-oxen[parquet]', or give a .jsonl file."
        ) from None
    done = 0
    try:
        opened = parquet.ParquetFile(file, buffer_size=_READ, pre_buffer=False)
        problem = column_problem(list(opened.schema_arrow.names))
        if problem:
            yield Raw(1, {}, problem)
            return
        for batch in opened.iter_batches(batch_size=_ROWS, use_threads=False):
            yield from _rows(batch, done + 1)
            done += batch.num_rows
    except OxenError:
        raise
    except Exception as error:
        # pyarrow has errors of many kinds, and OSError among them for what is no Parquet.
        yield Raw(done + 1, {}, f"is not Parquet that can be read: {' '.join(str(error).split())[:300]}")


def _rows(batch: Any, first: int) -> Iterator[Raw]:
    """Return a record batch's rows; one that has no Python values, such as text in no UTF-8, is a problem."""
    try:
        found = batch.to_pylist()
    except (ArithmeticError, ValueError):
        found = None
    for at in range(batch.num_rows):
        try:
            values = batch.slice(at, 1).to_pylist()[0] if found is None else found[at]
        except (ArithmeticError, ValueError) as error:
            yield Raw(first + at, {}, f"holds what cannot be read: {error}")
        else:
            yield Raw(first + at, {name: value for name, value in values.items() if value is not None})
