"""Read and check the whole input before a cent is spent, and report all problems at once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.api.keyless import holds_key
from airflow_provider_oxen.batch.rows import CheckedRow, check
from airflow_provider_oxen.batch.rowstore import RowStore, identity_of, stem_of
from airflow_provider_oxen.batch.source import Source
from airflow_provider_oxen.images import sidecar
from airflow_provider_oxen.images.folder import UnreadableFile
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.jobs.filestore import file_name

__all__ = ["SHOWN", "FormerRows", "Problems", "read_rows"]

_KEY_INSIDE = "it contains the API key of the Oxen connection: remove the key, since requests are recorded"

SHOWN = 50
"""Problems that an error lists; it gives the number of the others."""


@dataclass
class Problems:
    """Problems of rows, collected to be reported at once.

    :param where: the source of the rows, for people.
    """

    where: str
    first: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0
    kinds: set[type[OxenError]] = field(default_factory=set)

    def add(self, line: int, problem: str, kind: type[OxenError] = OxenInvalidRequest) -> None:
        """Add a problem of a line."""
        self.count += 1
        self.kinds.add(kind)
        if len(self.first) < SHOWN:
            self.first.append((line, problem.strip().rstrip(".")))

    def check(self, rows: int) -> None:
        """Raise the collected problems, if there are any.

        :param rows: number of all rows.
        :raises OxenRefused: naming lines and reasons.
        """
        if not self.count:
            return
        lines = "".join(f"\n  line {line}: {problem}" for line, problem in sorted(self.first))
        more = f"\n  and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        kind = next(iter(self.kinds)) if len(self.kinds) == 1 else OxenInvalidRequest
        raise kind(f"{self.count:,} of {rows:,} rows of {self.where} cannot be used.{lines}{more}")


def read_rows(
    source: Source, defaults: Mapping[str, Any], rows: RowStore, folder: Folder, key: str | None
) -> None:
    """Read and check the whole input.

    :param folder: the batch's folder, which may hold rows of earlier versions.
    :param key: the connection's key, which no row may contain.
    :raises OxenInvalidRequest: naming every line that cannot be used; or if there is no row.
    """
    problems, former, read = Problems(source.name), FormerRows(folder), 0
    for read, raw in enumerate(source.rows(), 1):  # noqa: B007 (how many there were is told below)
        try:
            if holds_key(raw.values, key):
                raise OxenInvalidRequest(_KEY_INSIDE)
            rows.add(former.choose(check(raw, defaults)))
        except OxenInvalidRequest as error:
            problems.add(raw.line, error.message)
    if not read:
        raise OxenInvalidRequest(f"prompts: {source.name} holds no prompt.")
    problems.check(read)


class FormerRows:
    """Rows that an earlier version, which read their input differently, paid for under another fingerprint.

    The batch's folder shows them. It is searched for few rows, usually for none.

    :param folder: the batch's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def choose(self, row: CheckedRow) -> CheckedRow:
        """Return the row as it was read before if the folder has its image or job; otherwise unchanged.

        :raises OxenStoreUnavailable: if the store does not answer.
        """
        former = row.former
        if former is None:
            return row
        stem = former.id or stem_of(former, 1)
        names = (sidecar.name_of(stem), file_name(stem, identity_of(stem)))
        return former if any(self._is_of(former, name) for name in names) else row

    def _is_of(self, row: CheckedRow, name: str) -> bool:
        if not self._listing.has(name):
            return False
        try:
            found = loads(with_store_errors(self._folder, lambda: self._read(name)))
        except ValueError:
            return False
        return isinstance(found, dict) and found.get("fingerprint") == row.fingerprint

    def _read(self, name: str) -> bytes:
        with contextlib.suppress(UnreadableFile):
            return self._folder.read(name) or b""
        return b""

    @cached_property
    def _listing(self) -> Listing:
        return with_store_errors(self._folder, lambda: Listing(self._folder.names()))
