"""Wait for a model without a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.triggers._base import OxenTrigger

if TYPE_CHECKING:
    from airflow_provider_oxen.api.client import AsyncClient
    from airflow_provider_oxen.catalogue.readiness import Readiness
    from airflow_provider_oxen.triggers.events import ModelStatus

__all__ = ["OxenModelTrigger"]

_SHORTEST = 0.01
"""Shortest time in seconds between two looks."""


@dataclass(eq=False, repr=False)
class OxenModelTrigger(OxenTrigger):
    """Wait until a model can be used, or can never be used, and say so in one event; see ``events.py``.

    The trigger decides as :class:`~airflow_provider_oxen.sensors.models.OxenModelSensor` does when it pokes.
    It waits through errors that may pass.

    :param model: id of a model in the hub's catalogue.
    :param parameters: parameters that must fit the model's request schema; other required ones may be
        missing.
    :param fail_fast: give up at once if the hub does not know the model.
    :param oxen_conn_id: Airflow connection of the hub.
    :param poke_interval: seconds between two looks.
    :param deadline: unix seconds when waiting ends. None: never.
    :param deferred_at: unix seconds when the sensor was deferred; no event fires in the 5 s after it.
    """

    model: str
    parameters: Mapping[str, Any] | None = None
    fail_fast: bool = False
    oxen_conn_id: str = "oxen_default"
    poke_interval: float = 60.0
    deadline: float | None = None
    deferred_at: float | None = None

    async def wait(self) -> dict[str, Any]:
        """Wait until the model can be used, or can never be used, and return the event."""
        from airflow_provider_oxen.hooks.oxen import OxenHook

        logged: set[tuple[int, str]] = set()
        async with await OxenHook(self.oxen_conn_id).get_async_conn() as client:
            while True:
                # The sensor has looked just before.
                await asyncio.sleep(self._pause())
                found = await self._look(client)
                if found.state == "ready":
                    return self.event("ready")
                if found.error is not None:
                    return self.event("never", str(found.error))
                for level, message in set(found.messages) - logged:
                    self.log.log(level, "%s", message)
                logged = set(found.messages)
                if self.deadline is not None and time.time() >= self.deadline:
                    return self.event("timed_out")

    def event(self, status: ModelStatus, message: str = "") -> dict[str, Any]:
        """Return the event that says whether the model can be used."""
        from airflow_provider_oxen.triggers.events import model_event

        return model_event(self.model, status, message)

    async def _look(self, client: AsyncClient) -> Readiness:
        from httpx import TimeoutException

        from airflow_provider_oxen.api.deadline import for_look
        from airflow_provider_oxen.catalogue.readiness import Readiness, look

        try:
            async with for_look(self.deadline):
                return await look(
                    client, self.model, self.parameters or {}, fail_fast=self.fail_fast, suggest=False
                )
        except TimeoutException:
            said = "The hub took too long for its answers. Looking again later."
            return Readiness("not_yet", ((logging.WARNING, said),))

    def _pause(self) -> float:
        left = float("inf") if self.deadline is None else self.deadline - time.time()
        return max(_SHORTEST, min(self.poke_interval, left))
