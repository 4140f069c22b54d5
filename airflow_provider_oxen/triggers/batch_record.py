"""Read from a batch's record which generations a deferred batch waits for: their ids, and nothing else.

The record is the list of the batch's rows beside its output. The worker writes it, and reads it again. The
triggerer, which may be on another machine, only needs the ids.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, BinaryIO

from asgiref.sync import sync_to_async

from airflow_provider_oxen.api.errors import OxenError, OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.api.jsontext import MAX_BYTES, loads
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.images.storage import open_folder

__all__ = ["FORMAT", "read_waiting", "read_with_patience"]

log = logging.getLogger(__name__)


FORMAT = "airflow-provider-oxen/batch/1"
"""The format named in a record's first line; a changed format gets a new number."""

PAUSES = (1.0, 5.0)
"""Seconds before each further try to read a record: a store may fail briefly, and a shared disk may lag."""

_READING = 300.0
"""Seconds that reading a record may take with all tries. A record of a million rows takes about five from a
disk."""

_READERS = 4
"""Records that are read at the same time."""


async def read_with_patience(
    path: str, conn_id: str | None, name: str, identity: str, jobs: int
) -> dict[str | None, list[str]]:
    """Call :func:`read_waiting` off the event loop, several times if need be.

    :raises OxenError: if the record cannot be read.
    """
    # The store asks Airflow for its connection. In a thread that is not asgiref's, Airflow 3.0 and 3.1 would
    # ask on another event loop than the triggerer's, and get no answer.
    read = sync_to_async(read_waiting, thread_sensitive=False, executor=_readers(os.getpid()))
    try:
        async with asyncio.timeout(_READING):
            for pause in PAUSES:
                try:
                    return await read(path, conn_id, name, identity, jobs)
                except (OxenRecordError, OxenStoreUnavailable) as error:
                    # A shared disk may show an older file for a while.
                    log.warning("%s Reading it again in %g s.", error, pause)
                    await asyncio.sleep(pause)
            return await read(path, conn_id, name, identity, jobs)
    except TimeoutError:
        raise OxenStoreUnavailable(
            f"The record of the batch, {name}, could not be read in {_READING:g} seconds."
        ) from None


@cache
def _readers(pid: int) -> ThreadPoolExecutor:
    """Return threads of our own, so that a store that hangs blocks nothing else in the process."""
    return ThreadPoolExecutor(_READERS, "oxen-batch-record")


def read_waiting(
    path: str, conn_id: str | None, name: str, identity: str, jobs: int
) -> dict[str | None, list[str]]:
    """Return the ids of the generations that a batch waits for, by namespace, in the order of its rows.

    The key None stands for the namespace of the hub's connection. This function blocks, and asks Airflow for
    the store's connection.

    :param path: the folder, as :func:`~.storage.open_folder` takes it.
    :param conn_id: the store's Airflow connection.
    :param name: the record's file name.
    :param identity: the batch's identity; the record of another batch is refused.
    :param jobs: how many ids there must be.
    :raises OxenInvalidRequest: if the store's driver or connection is missing.
    :raises OxenStoreUnavailable: if the record is not there, or cannot be read.
    :raises OxenRecordError: if the record is damaged, or belongs to another batch.
    """
    where = name
    try:
        folder = open_folder(path, conn_id)
        where = folder.asset_uri(name)
        with folder.open(name) as file:
            ids = _ids(file, where, identity)
    except OxenError:
        raise
    except FileNotFoundError:
        raise OxenStoreUnavailable(f"The record of the batch, {where}, is not there.") from None
    except Exception as error:
        # Each store's driver has its own error classes.
        raise OxenStoreUnavailable(
            f"The record of the batch, {where}, could not be read: {describe_error(error)}."
        ) from None
    found = sum(map(len, ids.values()))
    if found != jobs:
        raise OxenRecordError(
            f"The record of the batch, {name}, lists {found:,} generations to wait for, but the task "
            f"submitted {jobs:,}."
        )
    return ids


def _ids(file: BinaryIO, where: str, identity: str) -> dict[str | None, list[str]]:
    lines = iter(partial(file.readline, MAX_BYTES), b"")
    rows = _announced(_read(next(lines, b""), where, 1), where, identity)
    found: dict[str | None, list[str]] = {}
    number = 1
    for number, line in enumerate(lines, 2):
        row = _read(line, where, number)
        id, namespace = row.get("generation"), row.get("namespace")
        if not (isinstance(id, str | None) and isinstance(namespace, str | None)):
            raise _damaged(where, f"line {number} tells no id of a generation, or no namespace, that is text")
        if id is not None:
            found.setdefault(namespace, []).append(id)
    if number - 1 != rows:
        raise _damaged(where, f"its first line tells of {rows} rows, and {number - 1} follow")
    return found


def _announced(header: dict[str, Any], where: str, identity: str) -> int:
    if header.get("format") != FORMAT:
        raise _damaged(where, f"its first line does not tell the format {FORMAT}")
    if header.get("identity") != identity:
        raise OxenRecordError(f"The record {where} belongs to another batch: its first line says so.")
    rows = header.get("rows")
    if not isinstance(rows, int):
        raise _damaged(where, "its first line does not tell the number of rows")
    return rows


def _read(line: bytes, where: str, number: int) -> dict[str, Any]:
    try:
        row = loads(line)
    except ValueError:
        raise _damaged(where, f"line {number} is not JSON") from None
    if not isinstance(row, dict):
        raise _damaged(where, f"line {number} is not a JSON object")
    return row


def _damaged(where: str, why: str) -> OxenRecordError:
    return OxenRecordError(f"The record of the batch, {where}, is damaged: {why}.")
