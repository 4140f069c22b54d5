"""One try at one image: find what is kept or under way, otherwise ask for it, and then keep it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from airflow_provider_oxen.api.errors import (
    OxenOutputExists,
    OxenPollError,
    OxenRefused,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.redact import without_query
from airflow_provider_oxen.jobs.complete import complete
from airflow_provider_oxen.jobs.effects import Effects, End
from airflow_provider_oxen.jobs.intent import nothing_sent
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve
from airflow_provider_oxen.jobs.stores import RecordStore
from airflow_provider_oxen.jobs.task import Task, nonce_of
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["Existing", "ImageAttempt", "describe_result", "is_open"]


class Existing(NamedTuple):
    """What exists before anything is spent.

    :ivar found: the result that is kept in the output's place.
    :ivar replaced: the job whose image is to be replaced, if no record has it.
    """

    found: dict[str, Any] | None
    record: Record | None
    replaced: Record | None = None


@dataclass
class ImageAttempt:
    """One try, in two halves: :meth:`begin` spends, :meth:`finish` waits and keeps."""

    task: Task
    output: Output
    store: RecordStore
    do: Effects
    runtime: Runtime
    log: Any

    async def begin(self, looked: Existing | None = None) -> dict[str, Any] | Record:
        """Find a kept image or a job under way, or submit one.

        :param looked: the result of :meth:`look`; None calls it.
        :return: the result if nothing is left to do, otherwise the job's record.
        :raises OxenError: see the protocol.
        """
        if looked is None:
            looked = await self.runtime.blocking(self.look)
        found, record, kept = looked
        if found is not None:
            return await self._reused(found, record)
        job = await resolve(self.do, self.task, record, time.time(), kept)
        if job.phase != "kept":
            return job
        self.log.info("This task has generated its image already, and fetches it again. Nothing is spent.")
        # For a job in the queue, the row gives the link again; do not carry one through a deferral.
        again = job.to("submitted", items=[]) if job.generation_id else job.to("answered")
        return {**await self.finish(again), "reused": True}

    def look(self) -> Existing:
        """Find out what exists; this blocks."""
        record = self.store.read()
        if record is None and not self.task.unsure and self.task.begins:
            record = self._first(None)
        elif record is not None and record.phase == "not_sent" and not record.fingerprint:
            # This was written before the arguments were read, perhaps in one place only. If the other place
            # cannot take it, a check reports that in a moment, before anything is spent.
            with contextlib.suppress(OxenStoreUnavailable):
                self.output.check()
                self.store.create(record)
                record = self.store.read()
        found = self.find(record)
        # Another task's output must not make this one forget what it may have paid for.
        if found is not None and (not is_open(record) or self.output.is_of(record)):
            return Existing(found, record)
        return Existing(None, *(self._left() if record is None else (record, None)))

    async def _reused(self, found: dict[str, Any], record: Record | None) -> dict[str, Any]:
        if is_open(record) and record.fingerprint == self.task.fingerprint:
            # An earlier try was stopped right after it had written the last sidecar.
            await self.do.close(record.to("kept", items=[]))
        elif (
            record
            and record.phase == "not_sent"
            and (not record.fingerprint or record.nonce == nonce_of(self.task, 0))
        ):
            unsent = record
            await self.runtime.blocking(lambda: self.store.close(unsent.to("kept")))
        self.log.info("Reused %s: it holds the answer to this very request. Nothing was spent.", self.output)
        return found

    def _first(self, kept: Record | None) -> Record | None:
        """Record that nothing was sent yet, before anything can fail, so that a later try knows."""
        if not self.task.has_store:
            return None
        self.output.check()
        self.store.create(nothing_sent(self.task, time.time(), kept))
        record = self.store.read()
        if record is None:
            raise OxenStoreUnavailable(
                "The record of this task's job was written, but is not there: its store loses what it is "
                "given."
            )
        return record

    def _left(self) -> tuple[Record | None, Record | None]:
        """Return the record of this task's job if only the output's sidecar has it.

        :return: the record; and, if another job may have come after it, the record whose image is replaced.
        """
        left = self.output.left()
        if left is None or left.phase != "kept":
            return left, None
        if not self.task.overwrite:
            return None, None
        # The try numbers show whether another try came between this one and the one that kept the image.
        next_one = left.try_number is not None and self.task.try_number == left.try_number + 1
        if self.task.unsure and not next_one:
            return None, left
        return self._first(left) if self.task.begins else nothing_sent(self.task, time.time(), left), None

    async def finish(self, record: Record, end: End | None = None) -> dict[str, Any]:
        """Wait for a job, keep its images and return the result.

        :param end: how the job ended, if other code has waited for it.
        :raises OxenError: see the protocol.
        """
        result: dict[str, Any] = await complete(self.do, self.task, record, end=end)
        self.log.info("%s", describe_result(result))
        return result

    def find(self, record: Record | None) -> dict[str, Any] | None:
        """Look at the output's place. What is there must not make the task lose a paid image."""
        try:
            return self.output.find(record.files if record else ())
        except OxenRefused as error:
            if record is None or not (is_open(record) or self._is_gone(record, error)):
                raise
            if isinstance(error, OxenOutputExists):
                if is_open(record):
                    self.log.warning("%s The image of %s goes beside it.", error.message, record.job)
                return None
            raise OxenPollError(
                error.message,
                money=f"This task has {record.job}, which may have been paid for.",
                retry="A later try continues with it.",
                retry_helps=error.retry_helps,
            ) from None

    def _is_gone(self, record: Record, error: OxenRefused) -> bool:
        """Return whether this job's kept image has disappeared, and the hub can give it again."""
        again = record.phase == "kept" and record.generation_id is not None
        return again and isinstance(error, OxenOutputExists) and self.output.is_of(record)


def is_open(record: Record | None) -> TypeGuard[Record]:
    """Return whether the job may be under way, or its image not yet kept."""
    return record is not None and record.phase not in ("kept", "ended", "not_sent")


def describe_result(result: Mapping[str, Any]) -> str:
    """Return where a result is and what it cost, for the log; of a link only the part that is not signed."""
    cost = result.get("cost")
    bill = "The hub gave no cost." if cost is None else f"It cost ${cost:g}."
    images = ", ".join(map(_describe, result["images"]))
    if any("path" in image for image in result["images"]):
        return f"Kept {images}. {bill}"
    if any("url" in image for image in result["images"]):
        return f"Not downloaded: XCom has only a link, which expires ({images}). {bill}"
    return f"Kept in XCom: {images}. {bill}"


def _describe(image: Mapping[str, Any]) -> str:
    if "url" in image:
        return without_query(image["url"])
    where = f"{image['path']}, " if "path" in image else ""
    return f"{where}{image['media_type']} {image['width']}x{image['height']}, {image['bytes']:,} bytes"
