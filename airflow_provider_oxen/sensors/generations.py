"""Wait for a generation that was submitted elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import PokeReturnValue

from airflow_provider_oxen.sensors.deferring import DeferringSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.api.client import Client
    from airflow_provider_oxen.api.errors import OxenError
    from airflow_provider_oxen.api.models import Generation
    from airflow_provider_oxen.jobs.effects import End

__all__ = ["OxenGenerationSensor"]

_AGAIN = 2.0
"""Seconds between two looks when the hub does not know the generation yet, or shows a finished one without a
link: the hub may be about to write the row."""


class OxenGenerationSensor(DeferringSensor):
    """Wait until a generation in the hub's queue has succeeded. Spends nothing.

    The sensor returns plain JSON, without the facts that are not known::

        {"generation_id": "…", "status": "succeeded", "model": "…", "seed": 42,
         "completed_at": 1780000000.0, "cost": 0.014}

    It returns no link to the image: whoever holds a link can open the image, and the link expires. The task
    that needs the image gets a fresh link with
    :meth:`OxenHook.get_generation <airflow_provider_oxen.hooks.oxen.OxenHook.get_generation>`.

    If the generation failed, was cancelled, or is unknown to the hub, the task fails without a retry.

    :param generation_id: id of the generation. Templated.
    :param target_namespace: namespace whose queue holds the generation. None: the connection's. Templated.
    :param oxen_conn_id: Airflow connection of the hub. Templated.
    :param deferrable: look once, and then wait in the triggerer, without a worker. None: as
        ``[oxen] deferrable`` says, else ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("generation_id", "target_namespace", "oxen_conn_id")
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        generation_id: str,
        target_namespace: str | None = None,
        oxen_conn_id: str = "oxen_default",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, **kwargs)
        self.generation_id = generation_id
        self.target_namespace = target_namespace
        self.oxen_conn_id = oxen_conn_id

    def poke(self, context: Context) -> PokeReturnValue:
        """Return whether the generation has succeeded. If it goes on and ``deferrable`` is set, defer.

        :raises AirflowFailException: if it ended in any other way.
        """
        self.task_instance = context.get("ti")
        facts = self._look(time.time() + self.timeout, defer=self.deferrable)
        return PokeReturnValue(is_done=facts is not None, xcom_value=facts)

    def execute_complete(
        self, context: Context, event: Any = None, deadline: float | None = None
    ) -> dict[str, Any] | None:
        """Resume after the trigger: look at the generation again in the worker, and return its facts.

        :raises AirflowFailException: if the generation ended without success.
        """
        from airflow_provider_oxen.tasks.arguments import GenerationArguments
        from airflow_provider_oxen.triggers.events import read_event

        with self.without_useless_retry():
            end = read_event(event, GenerationArguments.of(self).generation_id)
        if end.status == "timed_out":
            raise self.timed_out()
        if end.status == "unreachable":
            self.log.warning("%s", end.message)
        return self._look(time.time() + self.timeout if deadline is None else deadline, defer=True)

    def _look(self, deadline: float, *, defer: bool) -> dict[str, Any] | None:
        from airflow_provider_oxen.api.deadline import for_look
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.tasks.arguments import GenerationArguments

        with self.without_useless_retry():
            asked = GenerationArguments.of(self)
            with OxenHook(asked.oxen_conn_id).get_conn() as client, for_look(deadline):
                row = self._succeeded(client, asked.generation_id)
                if row is not None:
                    return self._facts(client, row)
        if defer:
            from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

            trigger = OxenGenerationTrigger(
                asked.generation_id,
                asked.oxen_conn_id,
                asked.target_namespace,
                poll_interval=self.poke_interval,
                deadline=deadline,
                deferred_at=time.time(),
            )
            self.defer_to(trigger, deadline, asked.as_json())
        return None

    def _succeeded(self, client: Client, generation_id: str) -> Generation | None:
        """Return the row of a generation that has succeeded, or None if it goes on."""
        from airflow_provider_oxen.api import queue
        from airflow_provider_oxen.api.errors import OxenError, OxenGenerationNotFound
        from airflow_provider_oxen.api.statuses import in_words
        from airflow_provider_oxen.waiting.polling import Poll

        poll = Poll()
        while True:
            try:
                row = client.send(queue.get_generation(generation_id))
            except OxenGenerationNotFound as error:
                if poll.failed(error, time.time()):
                    raise
            except OxenError as error:
                if not error.retry_helps:
                    raise
                self.log.warning("%s Looking again later.", error.message)
                return None
            else:
                end = poll.seen(row, time.time())
                if end is not None and end.status == "succeeded":
                    return row
                if end is not None:
                    raise _failure(end, generation_id, client)
                if not poll.linkless:
                    self.log.info("Generation %s %s.", generation_id, in_words(row.status))
                    return None
            time.sleep(min(_AGAIN, self.poke_interval))

    def _facts(self, client: Client, row: Generation) -> dict[str, Any]:
        from airflow_provider_oxen.api import queue
        from airflow_provider_oxen.api.errors import OxenError
        from airflow_provider_oxen.api.redact import redacted_line

        try:
            # Only the history has the cost.
            cost = client.send(queue.get_history(row.generation_id)).charged
        except OxenError as error:
            self.log.warning("The cost of generation %s is not known: %s", row.generation_id, error.message)
            cost = None
        seed = row.echo().get("seed")
        facts = {
            "generation_id": row.generation_id,
            "status": row.status,
            "model": redacted_line(client.settings.redact(row.model or "")),
            "seed": seed if isinstance(seed, int) else None,
            "completed_at": row.completed_at,
            "cost": cost,
        }
        return {name: value for name, value in facts.items() if value is not None}


def _failure(end: End, generation_id: str, client: Client) -> OxenError:
    from airflow_provider_oxen.api.errors import OxenGenerationCancelled, OxenGenerationFailed
    from airflow_provider_oxen.api.redact import without_queries

    why = without_queries(client.settings.redact(end.message)) or "the hub gives no reason"
    if end.status == "cancelled":
        return OxenGenerationCancelled(f"Generation {generation_id} was cancelled: {why}.")
    coming = "Another request would fail in the same way." if end.final else "Another request may succeed."
    return OxenGenerationFailed(f"Generation {generation_id} failed: {why}. {coming}")
