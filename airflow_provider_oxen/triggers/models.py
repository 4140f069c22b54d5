"""Wait for a model without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_oxen.triggers.loading import loaded

if TYPE_CHECKING:
    from airflow_provider_oxen.triggers.events import ModelEnd

__all__ = ["OxenModelTrigger"]

_SHORTEST = 0.01
"""Seconds between two looks at least."""


class OxenModelTrigger(BaseTrigger):
    """Wait until a model can be used, or never can be, and tell so in one event; see ``events.py``.

    What counts as either is decided as :class:`~airflow_provider_oxen.sensors.models.OxenModelSensor` does
    when it pokes; what passes is waited out.

    :param model: id of a model of the hub's catalogue.
    :param parameters: must fit the model's request schema; others that it requires may be missing.
    :param fail_fast: whether a model that the hub does not know never will be there.
    :param oxen_conn_id: Airflow connection of the hub.
    :param poke_interval: seconds between two looks.
    :param deadline: unix seconds at which waiting ends. None: never.
    """

    def __init__(
        self,
        model: str,
        parameters: Mapping[str, Any] | None = None,
        fail_fast: bool = False,
        oxen_conn_id: str = "oxen_default",
        poke_interval: float = 60.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.parameters = dict(parameters or {})
        self.fail_fast = fail_fast
        self.oxen_conn_id = oxen_conn_id
        self.poke_interval = poke_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, which are plain JSON."""
        return (
            "airflow_provider_oxen.triggers.models.OxenModelTrigger",
            {
                "model": self.model,
                "parameters": self.parameters,
                "fail_fast": self.fail_fast,
                "oxen_conn_id": self.oxen_conn_id,
                "poke_interval": self.poke_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell what became of the model: one event, whatever happens."""
        await loaded()
        from airflow_provider_oxen.triggers.events import ModelEnd, model_event, reason

        try:
            end = await self._wait()
        except Exception as error:
            end = ModelEnd("unreachable", reason(error))
        yield TriggerEvent(model_event(self.model, end))  # type: ignore[no-untyped-call]

    async def _wait(self) -> ModelEnd:
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.sensors.readiness import ask_async
        from airflow_provider_oxen.triggers.events import ModelEnd

        told: set[tuple[int, str]] = set()
        async with await OxenHook(self.oxen_conn_id).get_async_conn() as client:
            while True:
                # The sensor has looked just before.
                await asyncio.sleep(self._pause())
                found = await ask_async(client, self.model, self.parameters, fail_fast=self.fail_fast)
                if found.state == "ready":
                    return ModelEnd("ready")
                if found.error is not None:
                    return ModelEnd("never", str(found.error))
                for level, message in set(found.told) - told:
                    self.log.log(level, "%s", message)
                told = set(found.told)
                if self.deadline is not None and time.time() >= self.deadline:
                    return ModelEnd("timed_out")

    def _pause(self) -> float:
        left = float("inf") if self.deadline is None else self.deadline - time.time()
        return max(_SHORTEST, min(self.poke_interval, left))
