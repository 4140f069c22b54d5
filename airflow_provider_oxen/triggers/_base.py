"""What all triggers that a task defers to have in common."""

from __future__ import annotations

import asyncio
import inspect
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_oxen.api.values import LATEST

__all__ = ["SECONDS", "OxenTrigger", "loaded"]

SECONDS = 5.0
"""From the deferral until an end is told at the earliest: several rounds of a busy scheduler."""

_MODULES = (
    "airflow.providers.common.compat.connection",
    "airflow_provider_oxen.catalogue.readiness",
    "airflow_provider_oxen.hooks.connection",
    "airflow_provider_oxen.hooks.oxen",
    "airflow_provider_oxen.triggers.batch_record",
    "airflow_provider_oxen.triggers.events",
    "airflow_provider_oxen.waiting.follower",
    "airflow_provider_oxen.waiting.registry",
    "asgiref.sync",
    "jsonschema",
)

_done = False


async def loaded() -> None:
    """Import what the triggers use off the event loop.

    The first import takes some tenths of a second, in which no other trigger of the process would get on.
    """
    global _done
    if not _done:
        for name in _MODULES:
            await asyncio.to_thread(import_module, name)
        _done = True


class OxenTrigger(BaseTrigger):
    """Waits, and tells how that ended: one event, whatever happens.

    The event is held back until Airflow's scheduler has dealt with the deferral. A task whose trigger fires
    at once is scheduled again while the scheduler still has the news before it that its process has ended.
    The scheduler then takes the task for one that was killed, and fails the try: without retries the task
    has failed, after it has paid.

    :param deferred_at: unix seconds of the deferral, by the worker's clock, which may be another than this
        one. None, as in triggers of earlier versions: nothing is held back.
    """

    def __init__(self, deferred_at: float | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.deferred_at = deferred_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, which are plain JSON."""
        kind = type(self)
        return (
            f"{kind.__module__}.{kind.__qualname__}",
            {name: getattr(self, name) for name in inspect.signature(kind).parameters},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how it ended."""
        until = time.monotonic() + _seconds_left(self.deferred_at)
        await loaded()
        try:
            event = await self.wait()
        except Exception as error:
            from airflow_provider_oxen.waiting.listener import reason

            event = self.failed(reason(error))
        left = until - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        yield TriggerEvent(event)

    @abstractmethod
    async def wait(self) -> dict[str, Any]:
        """Wait, and return the payload of the event."""

    @abstractmethod
    def failed(self, message: str) -> dict[str, Any]:
        """Return the payload that tells that nobody could be asked."""


def _seconds_left(deferred_at: float | None) -> float:
    # What Airflow's database holds is no reason to end without an event.
    if not (isinstance(deferred_at, int | float) and 0 < deferred_at < LATEST):
        return 0.0
    return min(SECONDS, float(deferred_at) + SECONDS - time.time())
