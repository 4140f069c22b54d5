"""What the triggers that a task defers to share."""

from __future__ import annotations

import asyncio
import inspect
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_oxen.api.values import LATEST

__all__ = ["SECONDS", "OxenTrigger", "loaded", "serialized"]

SECONDS = 5.0
"""The shortest time from a deferral to its event: enough for several rounds of a busy scheduler."""

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
    """Import the modules that the triggers use, off the event loop.

    The first import takes some tenths of a second, during which no other trigger of the process could run.
    """
    global _done
    if not _done:
        for name in _MODULES:
            await asyncio.to_thread(import_module, name)
        _done = True


def serialized(trigger: BaseTrigger) -> tuple[str, dict[str, Any]]:
    """Return a trigger's class and its arguments: plain JSON, and each an attribute."""
    kind = type(trigger)
    return (
        f"{kind.__module__}.{kind.__qualname__}",
        {name: getattr(trigger, name) for name in inspect.signature(kind).parameters},
    )


class OxenTrigger(BaseTrigger):
    """Waits, and fires exactly one event that says how the wait ended, whatever happens.

    The event is held back until Airflow's scheduler has dealt with the deferral. If a trigger fires at once,
    the task is scheduled again before the scheduler has read that its previous process has ended. The
    scheduler then believes that the task was killed and fails the try: a task without retries fails after it
    has paid.

    Each trigger is a dataclass, whose fields are its arguments.

    :ivar deferred_at: unix seconds of the deferral by the worker's clock, which may differ from the
        triggerer's. None, as in triggers of earlier versions: no event is held back.
    """

    deferred_at: float | None

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    serialize = serialized

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the event that says how the wait ended."""
        until = time.monotonic() + _seconds_left(self.deferred_at)
        await loaded()
        try:
            event = await self.wait()
        except Exception as error:
            from airflow_provider_oxen.waiting.listener import reason

            event = self.event("unreachable", reason(error))
        left = until - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        yield TriggerEvent(event)

    @abstractmethod
    async def wait(self) -> dict[str, Any]:
        """Wait, and return the payload of the event."""

    @abstractmethod
    def event(self, status: Literal["unreachable"], message: str) -> dict[str, Any]:
        """Return the payload of an event; ``unreachable`` is the wait that could not ask the hub."""


def _seconds_left(deferred_at: float | None) -> float:
    # The value comes from Airflow's database: an odd one must not stop the event.
    if not (isinstance(deferred_at, int | float) and 0 < deferred_at < LATEST):
        return 0.0
    return min(SECONDS, float(deferred_at) + SECONDS - time.time())
