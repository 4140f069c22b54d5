"""What the rows of a batch share on their event loop: claims, the first look, and the waiting."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.batch.lookup import SharedLookup
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.waiting.polling import Poll
from airflow_provider_oxen.waiting.registry import KnownConnection, wait

__all__ = ["Rows"]


@dataclass
class Rows:
    """What the rows of a batch share on their loop.

    :param lookup: reads the hub's lists.
    :param interval: seconds between two looks at the hub's queue.
    :ivar patient: whether a row waits for an image that is not there yet; otherwise the next try does.
    """

    connection: KnownConnection
    lookup: SharedLookup
    interval: float
    patient: bool = True
    _looked: float | None = field(default=None, init=False)
    _claims: dict[str, str] = field(default_factory=dict, init=False)
    _waiting: set[asyncio.Task[End]] = field(default_factory=set, init=False)
    _stopping: bool = field(default=False, init=False)

    def claim(self, generation_id: str, stem: str) -> bool:
        """Claim a generation for a row; return whether it is this row's. One job gives one row its image."""
        return self._claims.setdefault(generation_id, stem) == stem

    def is_anothers(self, row: Generation, stem: str) -> bool:
        """Return whether a row of the hub's lists is known to be another row's job."""
        return self._claims.get(row.generation_id, stem) != stem

    def begin_look(self) -> None:
        """Record that a row begins to look for what an earlier try may have sent."""
        self._looked = self._looked or time.monotonic()

    def since_look(self) -> float:
        """Return the seconds since the first such look of this try."""
        return 0.0 if self._looked is None else time.monotonic() - self._looked

    async def wait(self, generation_id: str, namespace: str | None, poll: Poll) -> End:
        """Wait until a generation has ended: one list request a tick, however many rows wait.

        :raises OxenPollError: if the task is told to stop meanwhile.
        """
        if self._stopping:
            raise _stopped()
        told = wait(self.connection, generation_id, namespace=namespace, interval=self.interval, poll=poll)
        waiting = asyncio.get_running_loop().create_task(told)
        self._waiting.add(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._stopping:
                raise _stopped() from None
            raise
        finally:
            self._waiting.discard(waiting)

    def stop(self) -> None:
        """End all waiting."""
        self._stopping = True
        for waiting in self._waiting:
            waiting.cancel()


def _stopped() -> OxenPollError:
    return OxenPollError("The task was stopped while the generation was running.")
