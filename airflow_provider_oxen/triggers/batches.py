"""Wait for a batch's generations without a worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.triggers._base import OxenTrigger

if TYPE_CHECKING:
    from airflow_provider_oxen.triggers.events import BatchStatus
    from airflow_provider_oxen.waiting.registry import Tally

__all__ = ["OxenBatchTrigger"]

_LOG_EVERY = 10.0
"""Shortest time in seconds between two log lines about the progress."""

_SHARE = 20
"""A log line is due when one part in this many (5 %) has ended since the last one."""

_SILENCE = 60.0
"""Seconds after which a log line is due if any generation has ended since the last one."""


_ADVICE = "Put storage_path where the triggerer can read it: in object storage, or on a shared disk."


@dataclass(eq=False, repr=False)
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

    record: str
    folder: str
    identity: str
    jobs: int
    storage_conn_id: str | None = None
    oxen_conn_id: str = "oxen_default"
    poll_interval: float = 5.0
    deadline: float | None = None
    patience: float = 0.0
    deferred_at: float | None = None

    async def wait(self) -> dict[str, Any]:
        """Wait until the generations have ended, and return the event."""
        from airflow_provider_oxen.api.errors import OxenError, OxenRecordError
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.triggers.batch_record import read_with_patience
        from airflow_provider_oxen.waiting.registry import wait_for_all

        try:
            ids = await read_with_patience(
                self.folder, self.storage_conn_id, self.record, self.identity, self.jobs
            )
        except OxenError as error:
            advice = "" if isinstance(error, OxenRecordError) else f" {_ADVICE}"
            return self.event(
                "unreachable",
                f"The triggerer does not know which generations to wait for. {error.message}{advice} The "
                "generations continue and may have been paid for: the task looks for them itself.",
            )
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
        if tally.unreachable and tally.unreachable == tally.jobs:
            return self.event("unreachable", tally.message)
        unread = ""
        if tally.unreachable:
            unread = (
                f"The status of {tally.unreachable:,} that count as ended could not be read: {tally.message}"
            )
        if tally.ended == tally.jobs:
            return self.event("ended", unread, tally.ended)
        late = f"{tally.ended:,} of {tally.jobs:,} generations had ended by the deadline."
        return self.event("timed_out", f"{late} {unread}".rstrip(), tally.ended)

    def event(self, status: BatchStatus, message: str = "", ended: int = 0) -> dict[str, Any]:
        """Return the event that says how waiting for the batch ended."""
        from airflow_provider_oxen.triggers.events import batch_event

        return batch_event(self.record, self.jobs, status, message, ended)

    async def on_kill(self) -> None:
        """Log what happens to the jobs. Airflow calls this only when somebody ends the task."""
        self.log.info(
            "%s generations of the batch continue and may be paid for; the task's next try finds them.",
            f"{self.jobs:,}",
        )


class _ProgressLog:
    """Logs the progress of a batch for people, and so not at each step."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._logged, self._at = 0, time.monotonic()

    def __call__(self, tally: Tally) -> None:
        now, more = time.monotonic(), tally.ended - self._logged
        if more * _SHARE >= tally.jobs or (more and now - self._at >= _SILENCE):
            self._logged, self._at = tally.ended, now
            self._log.info(
                "%s of %s generations of the batch have ended.", f"{tally.ended:,}", f"{tally.jobs:,}"
            )
