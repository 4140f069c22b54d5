"""What the work on a row consists of: its record store, output, task and effects."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.conflicts import THIS_CLEARING, RowRecordStore
from airflow_provider_oxen.batch.costs import RowCosts
from airflow_provider_oxen.batch.facts import BatchTry, RowLog
from airflow_provider_oxen.batch.rowstore import OPEN, Row, identity_of
from airflow_provider_oxen.batch.sheet import LARGE_PREVIEWS, PREVIEWS
from airflow_provider_oxen.images.known import KnownFolder, Listing
from airflow_provider_oxen.images.media import SUFFIXES
from airflow_provider_oxen.images.preview import LARGE, SMALL
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.jobs.effects import Prepared, Remade
from airflow_provider_oxen.jobs.filestore import file_name
from airflow_provider_oxen.jobs.task import Task
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["RowSetup"]

T = TypeVar("T")

_SEPARATOR = "~"
"""Separates stem and number of a row's further images. It is in no id: "cube-2" may be another row's."""


@dataclass
class RowSetup:
    """Makes the parts of each row's work from what all rows of a batch have in common.

    :param listing: the folder's listing, from before the batch began.
    :param unsure: whether a row of which nothing is found may still have been sent.
    """

    arguments: BatchArguments
    this_try: BatchTry
    folder: Folder
    listing: Listing
    builder: RequestBuilder
    log: Any
    unsure: bool = False

    def has_record(self, row: Row) -> bool:
        """Return whether the folder had a record of the row's job when it was listed."""
        return self.listing.has(file_name(row.stem, identity_of(row.stem)))

    def has_files(self, row: Row) -> bool:
        """Return whether the folder had anything of the row when it was listed: usually nothing."""
        names = (f"{row.stem}.json", *(f"{row.stem}{suffix}" for suffix in SUFFIXES))
        return self.has_record(row) or any(map(self.listing.has, names))

    def parts(self, row: Row, *, shared: bool = False) -> tuple[RowRecordStore, Output, Task, RowLog]:
        """Return a row's record store, output and task, and the log that names it.

        :param shared: whether another run may be working on the row.
        """
        arguments, this_try, key = self.arguments, self.this_try, identity_of(row.stem)
        settings = self.builder.client.settings
        begun = self.listing.has(file_name(row.stem, key))
        folder = KnownFolder(self.folder, self.listing, shared=begun or shared)
        size = LARGE if row.n <= LARGE_PREVIEWS else SMALL if row.n <= PREVIEWS else None
        output = Output(
            this_try.identity,
            key,
            this_try.try_number,
            row.fingerprint,
            folder,
            row.stem,
            arguments.overwrite,
            arguments.max_bytes,
            clear_key=this_try.clear_key,
            preview_size=size,
            index_separator=_SEPARATOR,
            lineage=False,
        )
        store = RowRecordStore(folder, row.stem, key, output.writer_id, this_try.clear_key)
        task = Task(
            identity=key,
            fingerprint=row.fingerprint,
            origin=settings.base_url,
            namespace=row.request.target_namespace or settings.target_namespace,
            endpoint=arguments.endpoint,
            nonce=secrets.token_hex(16),
            try_number=this_try.try_number,
            clear_count=THIS_CLEARING,
            begins=False,
            asked=row.request.body(),
            place=f"{self.folder.asset_uri('')}{key}",
            overwrite=arguments.overwrite,
            on_unknown_outcome=arguments.on_unknown_outcome,
            on_changed_request=arguments.on_changed_request,
            lookup_grace=arguments.lookup_grace,
            unsure=self.unsure or row.state == OPEN,
        )
        return store, output, task, RowLog(self.log, {"row": f"line {row.line} ({row.stem})"})

    def effects(
        self,
        runtime: Runtime,
        row: Row,
        task: Task,
        store: RowRecordStore,
        output: Output,
        costs: RowCosts,
        log: RowLog,
    ) -> WorkerEffects:
        """Return what a row's task can do, before pace, company, claims and costs are added."""
        builder = self.builder

        async def unless_known(work: Callable[[], T]) -> T:
            # Of a model that is known, nobody is asked.
            return work() if builder.knows(row.request.model) else await runtime.blocking(work)

        def built(counter: int) -> Awaitable[Prepared]:
            return unless_known(lambda: builder.prepare(task, row.request, log, counter, checked=True))

        def rebuilt(counter: int) -> Awaitable[Remade]:
            return unless_known(lambda: builder.remake(task, row.request, counter))

        return WorkerEffects(
            runtime=runtime,
            log=log,
            store=store,
            output=output,
            costs=costs,
            builds=built,
            rebuilds=rebuilt,
            arguments=self.arguments,
            closes_kept=True,
            running=self.this_try.running,
        )
