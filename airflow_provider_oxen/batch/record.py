"""The record of a deferred batch: its rows, in a file beside the output, which Airflow's deferral names.

Each deferral writes its own file, named by try and nonce, so that a try that Airflow has given up, but that
goes on, overwrites nobody's. The deferral holds the file's name and SHA-256. Others may alter the file, so
each line is checked as far as anything depends on it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from logging import getLogger
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from airflow_provider_oxen.api.errors import OxenRecordError, OxenStorageError, OxenStoreUnavailable
from airflow_provider_oxen.api.jsontext import MAX_BYTES, loads
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.api.values import LATEST
from airflow_provider_oxen.batch.deferral import WAITED_FOR
from airflow_provider_oxen.batch.outcome import BatchOutcome, read_outcome
from airflow_provider_oxen.batch.rowstore import DONE, RowStore
from airflow_provider_oxen.images.names import is_plain
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.jobs.plain import shown
from airflow_provider_oxen.triggers.batch_record import FORMAT

__all__ = ["BatchRecord", "check_row"]

log = getLogger(__name__)


@dataclass
class BatchRecord:
    """Writes, reads and removes the record of one task's batch.

    :param identity: key of the task instance.
    :param mark: for the names of unfinished files.
    :ivar noted: names of the records that :meth:`noting` has met.
    """

    folder: Folder
    rows: RowStore
    identity: str
    try_number: int
    mark: str
    noted: set[str] = field(default_factory=set, init=False)

    def save(self, outcome: BatchOutcome) -> tuple[str, str]:
        """Write what is known about the rows, for the time while the task is deferred.

        :return: the file's name and SHA-256, which the deferral must hold.
        :raises OxenStorageError: if the store does not accept it.
        """
        sums = {"rows": self.rows.total, "ending": asdict(outcome)}
        header = {"format": FORMAT, "identity": self.identity, **sums}
        name = f"{self._prefix}.{self.try_number}-{secrets.token_hex(4)}.jsonl"
        with tempfile.TemporaryFile(prefix="oxen-") as file:
            for facts in itertools.chain([header], self.rows.dump()):
                file.write(json.dumps(facts, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
            sha256 = _sha256(file)
            try:
                self.folder.put(name, file, self.mark)
            except Exception as error:
                raise OxenStorageError(
                    f"The record of the batch, {self.folder.asset_uri(name)}, could not be written: "
                    f"{describe_error(error)}.",
                    money="The generations that were asked for may have been paid for.",
                    retry="The next try continues with them.",
                    retry_helps=True,
                ) from None
        return name, sha256

    def load(self, name: str, sha256: str | None, counts: Counter[str]) -> BatchOutcome | None:
        """Read a record into the row store; return the batch's outcome so far, None if there is no record.

        :param sha256: the hash that the file must have; None if an earlier version did not keep it.
        :param counts: receives the rows that have ended, by their status.
        :raises OxenStoreUnavailable: if the store does not answer.
        :raises OxenRecordError: if it is damaged, altered, or another task's.
        """
        where = self.folder.asset_uri(name)
        with tempfile.TemporaryFile(prefix="oxen-") as copy:
            try:
                with self.folder.open(name) as file:
                    shutil.copyfileobj(file, copy)
            except FileNotFoundError:
                return None
            except Exception as error:
                raise OxenStoreUnavailable(
                    f"The record of the batch, {where}, could not be read: {describe_error(error)}.",
                    money=WAITED_FOR,
                    retry="The next try continues with them.",
                ) from None
            if sha256 not in (None, _sha256(copy)):
                raise _damaged(where, "it is not the file that was written: its sha256 is another")
            copy.seek(0)
            return self._read(copy, where, counts, proven=sha256 is not None)

    def _read(self, file: Any, where: str, counts: Counter[str], *, proven: bool) -> BatchOutcome:
        try:
            lines = iter(partial(file.readline, MAX_BYTES), b"")
            header = loads(next(lines, b""))
            if (header["format"], header["identity"]) != (FORMAT, self.identity):
                raise ValueError("it is another's")
            outcome = read_outcome(header["ending"])
            for line in lines:
                facts = check_row(loads(line))
                if not (proven or is_plain(facts["stem"])):
                    raise ValueError(f"{shown(facts['stem'], 100)} is the name of no file")
                self.rows.load(facts)
                if "entry" in facts:
                    counts[facts["entry"]["status"]] += 1
            if self.rows.total != header["rows"]:
                expected = shown(header["rows"], 100)
                raise ValueError(f"it has {self.rows.total} rows, and its first line says {expected}")
        except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, sqlite3.Error) as error:
            # Do not show a library's text: it may quote the record.
            why = str(error) if type(error) is ValueError else type(error).__name__
            raise _damaged(where, why) from None
        return outcome

    def noting(self, names: Iterable[str]) -> Iterator[str]:
        """Pass on the folder's names, and note which are records of this task's batch, of any try."""
        for name in names:
            if name.startswith(f"{self._prefix}.") and name.endswith(".jsonl"):
                self.noted.add(name)
            yield name

    def forget(self) -> None:
        """Remove the noted records; one that cannot be removed stays and does no harm."""
        for name in sorted(self.noted):
            try:
                self.folder.remove(name)
            except Exception as error:
                log.info("%s stays: %s", self.folder.asset_uri(name), without_queries(str(error)))

    @property
    def _prefix(self) -> str:
        return f".batch-{self.identity[:16]}"


def _sha256(file: Any) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(where: str, why: str) -> OxenRecordError:
    return OxenRecordError(
        f"The record of the batch, {where}, is damaged ({why}).",
        money=WAITED_FOR,
        remedy="Clear the task to continue with them.",
    )


_Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Moment = Annotated[float, Field(ge=0, lt=LATEST)]


class _Image(TypedDict, total=False):
    # As pydantic documents it; the type of a TypedDict has no place for it.
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    path: str
    media_type: str
    width: _Whole
    height: _Whole
    size: _Whole
    sha256: str


class _Entry(_Image):
    line: _Whole
    id: str
    status: Literal["generated", "reused", "failed", "unknown"]
    prompt: NotRequired[str]
    model: NotRequired[str]
    seed: NotRequired[_Whole]
    generation_id: NotRequired[str]
    error: NotRequired[str]
    images: NotRequired[list[_Image]]


class _Row(TypedDict):
    line: _Whole
    id: NotRequired[str]
    stem: str
    fingerprint: str
    state: Literal[0, 1, 2, 3]
    preview: NotRequired[str]
    request: GenerateRequest
    entry: NotRequired[_Entry]
    generation: NotRequired[str]
    namespace: NotRequired[str | None]
    seed: NotRequired[_Whole | None]
    price: NotRequired[_Moment | None]
    submitted_at: NotRequired[_Moment | None]


_row = TypeAdapter(_Row)


def check_row(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a row's facts if they are what this package writes.

    :raises ValueError: if they are not.
    """
    _row.validate_python(facts, strict=False)
    if (facts["state"] == DONE) is not ("entry" in facts):
        raise ValueError("a row has ended without a line of the manifest, or has one before")
    return facts
