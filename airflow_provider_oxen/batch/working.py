"""The work on one row: a task of its own, whose record and images lie in the batch's folder."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenError, OxenRefused
from airflow_provider_oxen.batch.gate import NotSent
from airflow_provider_oxen.batch.rowdrive import RowDriver
from airflow_provider_oxen.batch.shared import Shared
from airflow_provider_oxen.batch.spool import Job, identity_of
from airflow_provider_oxen.images.known import KnownFolder, Listing
from airflow_provider_oxen.images.preview import LARGE, SMALL, Size
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.images.verify import SUFFIXES
from airflow_provider_oxen.jobs.homes import FileHome, file_name
from airflow_provider_oxen.jobs.identity import Identity
from airflow_provider_oxen.jobs.record import Endpoint, Record
from airflow_provider_oxen.jobs.resolve import refused_change
from airflow_provider_oxen.jobs.task import OnChanged, OnUnknown, Task
from airflow_provider_oxen.operators.output import Output, asked
from airflow_provider_oxen.operators.work import ImageWork, is_open

__all__ = ["Done", "Found", "Terms", "Working"]


@dataclass(frozen=True)
class Terms:
    """What holds for all rows.

    :ivar identity: of the task instance.
    :ivar series: which clearing of which task instance this is.
    :ivar tries_left: whether Airflow would try again.
    :ivar previews: rows of the input, from its beginning, whose images get a small preview.
    :ivar shown: rows, from the beginning, whose preview is shown in Airflow too, and so is larger.
    """

    identity: Identity
    try_number: int
    series: str
    origin: str
    namespace: str | None
    endpoint: Endpoint
    overwrite: bool
    max_bytes: int
    on_unknown_outcome: OnUnknown
    on_changed_request: OnChanged
    lookup_grace: float
    poll_interval: float
    timeout: float | None
    tries_left: bool
    previews: int
    shown: int

    def preview_size(self, n: int) -> Size | None:
        """Return how large a preview a row's image gets; None for none.

        :param n: of the row, from 1.
        """
        return LARGE if n <= self.shown else SMALL if n <= self.previews else None


class Found(NamedTuple):
    """What is in a row's place before anything is spent.

    :ivar result: of the operator, where the row's images are kept.
    :ivar is_open: whether it has a job, which may have been paid for.
    :ivar sent: requests that this task has sent for it.
    """

    result: dict[str, Any] | None
    preview: str | None
    is_open: bool
    sent: int


class Done(NamedTuple):
    """What came of a row: a result, a job that is waited for elsewhere, or an error."""

    job: Job
    result: dict[str, Any] | None = None
    preview: str | None = None
    waiting: Record | None = None
    error: Exception | None = None


@dataclass
class Working:
    """Does the work on rows; its methods may be called by many threads.

    :param listing: of the folder, before the batch began.
    :param defers: whether jobs of the queue are left to be waited for elsewhere.
    """

    shared: Shared
    folder: Folder
    listing: Listing
    terms: Terms
    log: Any
    defers: bool
    _stopping: bool = field(default=False, init=False)
    _drivers: dict[int, RowDriver] = field(default_factory=dict, init=False)

    def stop(self) -> None:
        """Have all rows that are under way end soon."""
        self._stopping = True
        self.shared.watching.close()
        for driver in list(self._drivers.values()):
            driver.stopping = True

    def look(self, job: Job) -> Found | None:
        """Return what is in a row's place, or None where there is nothing. Nothing is spent or written.

        :raises OxenRefused: where something else is there.
        :raises OxenRecordError: where the record of its job cannot be used.
        """
        home, output, task, _ = self._parts(job)
        record = home.read()
        if record is None:
            kept = self._told(output, output.find())
            if kept and self.listing.records and kept.get("generation_id"):
                # A row that looks for its own must not take this one's.
                self.shared.claim(kept["generation_id"], job.stem)
            return Found(kept, output.preview, False, int(not kept["reused"])) if kept else None
        result = self._told(output, self._find(output, record))
        if record.generation_id:
            self.shared.claim(record.generation_id, job.stem)
        refused = refused_change(task, record) if is_open(record) else None
        if refused:
            raise refused
        sent = record.submissions if record.series == self.terms.series else 0
        return Found(None if is_open(record) else result, output.preview, is_open(record), sent)

    def _told(self, output: Output, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """Call by its name what this very task has generated in an earlier try."""
        return found and {**found, "reused": not output.is_own()}

    def _find(self, output: Output, record: Record) -> dict[str, Any] | None:
        try:
            return output.find(record.files)
        except OxenRefused:
            if not is_open(record):
                raise
            # What was paid for goes beside it.
            return None

    def do(self, job: Job) -> Done:
        """Bring a row to its end; never raises."""
        done = self._do(job)
        for _ in range(_TURNS):
            if not isinstance(done.error, _Appeared):
                return done
            # From now on nothing about this row is taken for granted.
            done = self._do(job, shared=True)
        told = "Not sent: other runs are at work on this row again and again."
        return Done(job, error=NotSent(told, passes=True))

    def _do(self, job: Job, *, shared: bool = False) -> Done:
        home, output, task, log = self._parts(job, shared=shared)
        driver = self._driver(job, output, home, log)
        work = ImageWork(task, output, home, driver, log, cancel_on_timeout=False)
        self._drivers[id(driver)] = driver
        try:
            driver.prepare = lambda: self.shared.preparing.prepare(task, job.request, log, checked=True)
            begun = self._begin(work, driver)
            if isinstance(begun, Record):
                if self.defers and begun.phase == "submitted" and begun.endpoint == "queue":
                    return Done(job, waiting=begun)
                begun = work.finish(begun)
            return Done(job, begun, output.preview)
        except Exception as error:
            return Done(job, error=error)
        finally:
            del self._drivers[id(driver)]

    def _begin(self, work: ImageWork, driver: RowDriver) -> dict[str, Any] | Record:
        while True:
            driver.came_back, driver.stopping = False, self._stopping
            try:
                return work.begin()
            except OxenError as error:
                if not driver.came_back:
                    raise
                if self.shared.gate.why:
                    told = f"Not sent: {self.shared.gate.why}. {error}"
                    raise NotSent(told, retry_after=error.retry_after, passes=error.retry_helps) from None
            finally:
                driver.let_go()

    def _parts(self, job: Job, *, shared: bool = False) -> tuple[_RowHome, Output, Task, _RowLog]:
        terms = self.terms
        key = identity_of(job.stem)
        begun = self.listing.has(file_name(job.stem, key))
        folder = KnownFolder(self.folder, self.listing, shared=begun or shared)
        output = Output(
            terms.identity,
            key,
            terms.try_number,
            job.fingerprint,
            folder,
            job.stem,
            terms.overwrite,
            terms.max_bytes,
            clearing=terms.series,
            preview_size=terms.preview_size(job.n),
            between=_BETWEEN,
            lineage=False,
        )
        home = _RowHome(folder, job.stem, key, output.mark, terms.series)
        task = Task(
            identity=key,
            fingerprint=job.fingerprint,
            origin=terms.origin,
            namespace=job.request.target_namespace or terms.namespace,
            endpoint=terms.endpoint,
            nonce=secrets.token_hex(16),
            try_number=terms.try_number,
            clearing=_OURS,
            overwrite=terms.overwrite,
            on_unknown_outcome=terms.on_unknown_outcome,
            on_changed_request=terms.on_changed_request,
            lookup_grace=terms.lookup_grace,
        )
        return home, output, task, _RowLog(self.log, {"row": job.name})

    def _driver(self, job: Job, output: Output, home: _RowHome, log: _RowLog) -> RowDriver:
        terms = self.terms
        driver = RowDriver(
            client=self.shared.clients.client,
            log=log,
            home=home,
            output=output,
            tell=lambda key, value: None,
            poll_interval=terms.poll_interval,
            timeout=terms.timeout,
            lookup_grace=terms.lookup_grace,
            cancel_on_kill=False,
            shared=self.shared,
            stem=job.stem,
            series=terms.series,
            files=home.files,
        )
        driver.defer = None
        return driver


_TURNS = 5
"""How often a row is begun anew that other runs have been at work on."""

_BETWEEN = "~"
"""Stands in the names of a row's further images, and in no id: "cube-2" may be another row's."""

_OTHERS, _OURS = -1, 0
"""Clearings, as the protocol sees them: those of this task instance's present clearing are ours, and what any
other has left is older."""


class _Appeared(Exception):
    """Another run has been at work on the row since this one looked."""


class _RowHome(FileHome):
    """A row's record in the folder, which every run and task that asks for the row shares.

    :param series: which clearing of which task instance this is.
    """

    def __init__(self, folder: KnownFolder, stem: str, identity: str, mark: str, series: str) -> None:
        super().__init__(folder, stem, identity, mark)
        self.series = series
        self._known = folder
        self._sidecar = f"{stem}.json"
        self._last: Record | None = None
        self.files = [f"{stem}{suffix}" for suffix in sorted(SUFFIXES)]

    def read(self) -> Record | None:
        self._last = record = super().read()
        if record is None or record.series == self.series:
            return record
        return record.to(record.phase, clearing=_OTHERS)

    def create(self, record: Record) -> None:
        """Write the intent, and make sure that it is not of a row that another run has just finished.

        Whoever keeps an image removes the record only after the sidecar is there: who could create a record
        and sees no sidecar is alone.

        :raises _Appeared: where it was finished; the intent is gone again.
        :raises OxenStoreUnavailable: where that cannot be told; so it is there, if the store lets it.
        """
        self._last = record
        super().create(self._signed(record))
        try:
            if not asked(self._known, lambda: self._known.has_appeared(self._sidecar)):
                return
        except OxenError:
            with contextlib.suppress(OxenError):
                self._take_back(record)
            raise
        self._take_back(record)
        raise _Appeared

    def _take_back(self, record: Record) -> None:
        there = self.read()
        if there is not None and there.nonce == record.nonce:
            self.delete()

    def write(self, record: Record) -> None:
        """Write the record; an intent only over what was there when the row was looked at.

        :raises _Appeared: where it is not.
        """
        if record.phase == "intent" and not _is_one(self._last, FileHome.read(self)):
            raise _Appeared
        self._last = record
        super().write(self._signed(record))

    def delete(self) -> None:
        self._last = None
        super().delete()

    def _signed(self, record: Record) -> Record:
        return record.to(record.phase, series=self.series, files=record.files or self.files)


def _is_one(known: Record | None, found: Record | None) -> bool:
    if known is None or found is None:
        return known is found
    return (known.nonce, known.phase) == (found.nonce, found.phase)


class _RowLog(LoggerAdapter[Logger]):
    """Names the row, and tells of thousands of them only what is out of the ordinary."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {})['row']}: {msg}", kwargs
