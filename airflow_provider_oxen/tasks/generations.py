"""A generation on the hub: find it where it may have been paid for, read it and its cost, and cancel it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenGenerationNotFound,
    OxenInvalidRequest,
    OxenRouteNotFound,
    OxenServerError,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import is_candidate
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["Costs", "cancel", "candidates", "find_row"]

PAGES = 1_000
"""Most pages of the history, of 1000 rows each, that a look reads. With more than a million generations, or a
hub whose history never ends, a job cannot be proved to be missing."""

_COST_PATIENCE = 5.0
"""Seconds that an image waits for its cost: its link expires."""


async def candidates(
    hub: Runtime, namespace: str | None, bodies: Sequence[Mapping[str, Any]]
) -> list[Generation]:
    """Return the rows of the queue, and then of the whole history, that may be one of the bodies' jobs.

    In this order, because what leaves the queue meanwhile is in the history. Their times are converted to our
    clock, with which they are compared.
    """
    found: list[Generation] = []
    async with aclosing(_rows(hub, namespace)) as rows:
        async for row in rows:
            lag = hub.clock.lag
            if lag and row.enqueued_at is not None:
                row = row.model_copy(update={"enqueued_at": row.enqueued_at + lag})
            if any(is_candidate(body, row) for body in bodies):
                found.append(row)
    return found


async def _rows(hub: Runtime, namespace: str | None) -> AsyncGenerator[Generation]:
    for row in await hub.send(queue.list_queue(namespace)):
        yield row
    seen: set[str] = set()
    for number in range(1, PAGES + 1):
        page = await hub.send(queue.list_history(namespace, number))
        for row in page.generations:
            yield row
        known = len(seen)
        seen.update(row.generation_id for row in page.generations)
        # Some servers return the last page again and again.
        if len(seen) == known or (page.total_pages is not None and number >= page.total_pages):
            return
    raise OxenServerError(
        f"The hub's history is longer than the {PAGES:,} pages that are read: whether the job is in it is "
        "not known."
    )


async def find_row(hub: Runtime, generation_id: str) -> Generation | None:
    """Return the generation's row in the queue or, if it is not there, in the history."""
    for ask in (queue.get_generation, queue.get_history):
        try:
            return await hub.send(ask(generation_id))
        except OxenGenerationNotFound:
            continue
        except OxenRouteNotFound:
            if ask is queue.get_generation:
                raise
    return None


async def cancel(hub: Runtime, generation_id: str, log: Any) -> None:
    """Cancel the generation, if the hub allows it."""
    try:
        await hub.send(queue.cancel(generation_id))
    except (OxenInvalidRequest, OxenGenerationNotFound) as error:
        log.info("Generation %s had nothing to cancel: %s", generation_id, error.message)
    except OxenError as error:
        log.warning("Generation %s could not be cancelled: %s", generation_id, error.message)
    else:
        log.info("Cancelled generation %s.", generation_id)


class Costs:
    """What generations have cost, if the hub knows it at once: the images do not wait for it."""

    def __init__(self, runtime: Runtime, log: Any) -> None:
        self._runtime = runtime
        self._log = log

    async def cost(self, record: Record) -> float | None:
        """Return the USD charged for a record's generation; None if the hub does not say."""
        if record.generation_id is None:
            return None
        try:
            call = replace(queue.get_history(record.generation_id), patience=_COST_PATIENCE)
            return (await self._runtime.send_once(call)).charged
        except OxenError as error:
            self._log.debug(
                "The cost of generation %s is not known yet: %s", record.generation_id, error.message
            )
            return None
