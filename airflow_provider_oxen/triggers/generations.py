"""Wait for a generation without a worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.triggers._base import OxenTrigger, loaded

if TYPE_CHECKING:
    from airflow_provider_oxen.jobs.effects import Status

__all__ = ["OxenGenerationTrigger"]

_KILL_SECONDS = 5.0
"""Seconds for connecting, and for the answer, when a job is cancelled; Airflow allows 30 s for everything."""


@dataclass(eq=False, repr=False)
class OxenGenerationTrigger(OxenTrigger):
    """Wait until a generation has ended, and say how in one event; see ``events.py``.

    The trigger only reads: it never submits, and its arguments hold neither the key nor a link. All triggers
    of one process that wait for one connection and namespace share each request.

    :param generation_id: id of the generation.
    :param oxen_conn_id: Airflow connection of the hub.
    :param namespace: namespace whose queue holds the generation. None: the connection's.
    :param poll_interval: seconds between two looks.
    :param deadline: unix seconds when waiting ends. None: never.
    :param patience: unix seconds until which the trigger waits for an id that the hub does not know.
    :param cancel_on_kill: cancel the generation when somebody ends the task in the user interface, marks it
        as success or failed, or clears it (Airflow 3.3 and newer tell a running trigger). Otherwise the
        generation goes on, and the task's next try finds it.
    :param deferred_at: unix seconds when the task was deferred; no event fires in the 5 s after it.
    """

    generation_id: str
    oxen_conn_id: str = "oxen_default"
    namespace: str | None = None
    poll_interval: float = 5.0
    deadline: float | None = None
    patience: float = 0.0
    cancel_on_kill: bool = False
    deferred_at: float | None = None

    async def wait(self) -> dict[str, Any]:
        """Wait until the generation has ended, and return the event."""
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.waiting.polling import Poll
        from airflow_provider_oxen.waiting.registry import wait

        end = await wait(
            OxenHook(self.oxen_conn_id),
            self.generation_id,
            namespace=self.namespace,
            interval=self.poll_interval,
            poll=Poll(deadline=self.deadline, not_found_until=self.patience),
        )
        return self.event(*end)

    def event(self, status: Status, message: str = "", retryable: bool | None = None) -> dict[str, Any]:
        """Return the event that says how the generation ended."""
        from airflow_provider_oxen.triggers.events import generation_event

        return generation_event(self.generation_id, status, message, retryable)

    async def on_kill(self) -> None:
        """Cancel the job if ``cancel_on_kill`` is set. Airflow calls this only if somebody ends the task."""
        if not self.cancel_on_kill:
            self.log.info(
                "Generation %s continues and may be paid for; the task's next try finds it.",
                self.generation_id,
            )
            return
        await loaded()
        from airflow_provider_oxen.api.errors import OxenInvalidRequest
        from airflow_provider_oxen.waiting.listener import reason

        try:
            await self._cancel()
        except OxenInvalidRequest as error:
            self.log.info("Generation %s was not cancelled: %s", self.generation_id, error.message)
        except Exception as error:
            self.log.warning(
                "Generation %s could not be cancelled: %s It may continue and be paid for.",
                self.generation_id,
                reason(error),
            )
        else:
            self.log.info("Generation %s was cancelled.", self.generation_id)

    async def _cancel(self) -> None:
        from dataclasses import replace

        from airflow_provider_oxen.api import queue
        from airflow_provider_oxen.api.client import AsyncClient
        from airflow_provider_oxen.api.tls import ssl_context
        from airflow_provider_oxen.hooks.oxen import OxenHook

        settings = await OxenHook(self.oxen_conn_id).asettings()
        await asyncio.to_thread(ssl_context, settings.verify)
        short = replace(settings, timeout=_KILL_SECONDS, connect_timeout=_KILL_SECONDS, max_retries=1)
        # A client of its own: the shared one belongs to the triggers that go on waiting.
        async with AsyncClient(short) as client:
            await client.send(queue.cancel(self.generation_id))
