"""Wait for a batch's generations without a worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.triggers._base import OxenTrigger

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from airflow_provider_oxen.triggers.events import BatchEnd
    from airflow_provider_oxen.waiting.registry import Tally

__all__ = ["OxenBatchTrigger"]

PAUSES = (1.0, 5.0)
"""Seconds before each further try to read a record: a store may fail briefly, and a shared disk may lag."""

_READING = 300.0
"""Seconds that reading a record may take with all tries. A record of a million rows takes about five from a
disk."""

_READERS = 4
"""Records that are read at the same time."""

_LOG_EVERY = 10.0
"""Shortest time in seconds between two log lines about the progress."""

_SHARE = 20
"""A log line is due when one part in this many (5 %) has ended since the last one."""

_SILENCE = 60.0
"""Seconds after which a log line is due if any generation has ended since the last one."""


_ADVICE = "Put storage_path where the triggerer can read it: in object storage, or on a shared disk."


class OxenBatchTrigger(OxenTrigger):
    """Wait until the generations of a batch have ended, and say so in one event; see ``events.py``.

    The trigger reads from the batch's record which generations to wait for, so its arguments are as small for
    ten thousand as for one. The event does not say how each generation ended: the task asks for their rows
    anyway. The trigger only reads, and shares each look with all other triggers of the process that wait for
    the same connection and namespace.

    :param record: file name of the batch's record.
    :param folder: the folder of the record, as ``open_folder`` in ``images/storage.py`` takes it. The
        triggerer must be able to read it.
    :param identity: the batch's identity, 64 hexadecimal digits.
    :param jobs: how many generations to wait for.
    :param storage_conn_id: Airflow connection of the folder's store.
    :param oxen_conn_id: Airflow connection of the hub.
    :param poll_interval: seconds between two looks.
    :param deadline: unix seconds when waiting ends. None: never.
    :param patience: unix seconds until which the trigger waits for an id that the hub does not know.
    :param deferred_at: unix seconds when the task was deferred; no event fires in the 5 s after it.
    """

    def __init__(
        self,
        record: str,
        folder: str,
        identity: str,
        jobs: int,
        storage_conn_id: str | None = None,
        oxen_conn_id: str = "oxen_default",
        poll_interval: float = 5.0,
        deadline: float | None = None,
        patience: float = 0.0,
        deferred_at: float | None = None,
    ) -> None:
        super().__init__(deferred_at)
        self.record = record
        self.folder = folder
        self.identity = identity
        self.jobs = jobs
        self.storage_conn_id = storage_conn_id
        self.oxen_conn_id = oxen_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.patience = patience

    async def wait(self) -> dict[str, Any]:
        """Wait until the generations have ended, and return the event."""
        from airflow_provider_oxen.triggers.events import batch_event

        end, ended = await self._wait()
        return batch_event(self.record, end, self.jobs, ended)

    def failed(self, message: str) -> dict[str, Any]:
        """Return the event of a wait that could not ask the hub."""
        from airflow_provider_oxen.triggers.events import BatchEnd, batch_event

        return batch_event(self.record, BatchEnd("unreachable", message), self.jobs, 0)

    async def _wait(self) -> tuple[BatchEnd, int]:
        from airflow_provider_oxen.api.errors import OxenError, OxenRecordError
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.triggers.events import BatchEnd
        from airflow_provider_oxen.waiting.registry import wait_for_all

        try:
            ids = await self._ids()
        except OxenError as error:
            advice = "" if isinstance(error, OxenRecordError) else f" {_ADVICE}"
            return BatchEnd(
                "unreachable",
                f"The triggerer does not know which generations to wait for. {error.message}{advice} The "
                "generations continue and may have been paid for: the task looks for them itself.",
            ), 0
        self.log.info("Waiting for %s generations of the batch.", f"{self.jobs:,}")
        tally = await wait_for_all(
            OxenHook(self.oxen_conn_id),
            ids,
            interval=self.poll_interval,
            deadline=self.deadline,
            not_found_until=self.patience,
            report=_ProgressLog(self.log),
            every=_LOG_EVERY,
        )
        return _batch_end(tally)

    async def _ids(self) -> dict[str | None, list[str]]:
        """Return the ids to wait for, by namespace, as the record has them.

        :raises OxenError: if the record cannot be read after several tries.
        """
        from airflow_provider_oxen.api.errors import OxenRecordError, OxenStoreUnavailable

        try:
            async with asyncio.timeout(_READING):
                for pause in PAUSES:
                    try:
                        return await self._read()
                    except (OxenRecordError, OxenStoreUnavailable) as error:
                        # A shared disk may show an older file for a while.
                        self.log.warning("%s Reading it again in %g s.", error, pause)
                        await asyncio.sleep(pause)
                return await self._read()
        except TimeoutError:
            raise OxenStoreUnavailable(
                f"The record of the batch, {self.record}, could not be read in {_READING:g} seconds."
            ) from None

    async def _read(self) -> dict[str | None, list[str]]:
        from asgiref.sync import sync_to_async

        from airflow_provider_oxen.api.errors import OxenRecordError
        from airflow_provider_oxen.triggers.batch_record import read_waiting

        # The store asks Airflow for its connection. In a thread that is not asgiref's, Airflow 3.0 and 3.1
        # would ask on another event loop than the triggerer's, and get no answer.
        read = sync_to_async(read_waiting, thread_sensitive=False, executor=_readers(os.getpid()))
        ids = await read(self.folder, self.storage_conn_id, self.record, self.identity)
        found = sum(map(len, ids.values()))
        if found != self.jobs:
            raise OxenRecordError(
                f"The record of the batch, {self.record}, lists {found:,} generations to wait for, but the "
                f"task submitted {self.jobs:,}."
            )
        return ids

    async def on_kill(self) -> None:
        """Log what happens to the jobs. Airflow calls this only when somebody ends the task."""
        self.log.info(
            "%s generations of the batch continue and may be paid for; the task's next try finds them.",
            f"{self.jobs:,}",
        )


@cache
def _readers(pid: int) -> ThreadPoolExecutor:
    """Return threads of our own, so that a store that hangs blocks nothing else in the process."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_READERS, "oxen-batch-record")


class _ProgressLog:
    """Logs the progress of a batch for people, and so not at each step."""

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._logged, self._at = 0, clock()

    def __call__(self, tally: Tally) -> None:
        now, more = self._clock(), tally.ended - self._logged
        if more * _SHARE >= tally.jobs or (more and now - self._at >= _SILENCE):
            self._logged, self._at = tally.ended, now
            self._log.info(
                "%s of %s generations of the batch have ended.", f"{tally.ended:,}", f"{tally.jobs:,}"
            )


def _batch_end(tally: Tally) -> tuple[BatchEnd, int]:
    from airflow_provider_oxen.triggers.events import BatchEnd

    if tally.unreachable and tally.unreachable == tally.jobs:
        return BatchEnd("unreachable", tally.message), 0
    unread = ""
    if tally.unreachable:
        unread = f"The status of {tally.unreachable:,} that count as ended could not be read: {tally.message}"
    if tally.ended == tally.jobs:
        return BatchEnd("ended", unread), tally.ended
    late = f"{tally.ended:,} of {tally.jobs:,} generations had ended by the deadline."
    return BatchEnd("timed_out", f"{late} {unread}".rstrip()), tally.ended
