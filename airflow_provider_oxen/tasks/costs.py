"""What generations have cost, including those that were paid for and gave no image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.errors import OxenError, OxenGenerationCancelled, OxenGenerationFailed
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import RecordStore
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["Costs", "counting"]

_COST_PATIENCE = 5.0
"""Seconds that an image waits for its cost: its link expires."""


class Costs:
    """What generations have cost, if the hub knows it at once: the images do not wait for it.

    :param log: log of the task.
    """

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


class CountedEffects(Protocol):
    """The part of :class:`.effects.WorkerEffects` that shows what a try has paid for."""

    store: RecordStore
    costs: Costs
    stopping: bool

    @property
    def record(self) -> Record | None: ...


@contextlib.contextmanager
def counting(do: CountedEffects) -> Iterator[None]:
    """Count a lost image, and what the hub has charged for it anyway.

    :param do: the effects of the try.
    """
    with metrics.one_image():
        try:
            yield
        except OxenError as error:
            _count(do, error)
            raise


def _count(do: CountedEffects, error: OxenError) -> None:
    ended = isinstance(error, OxenGenerationFailed | OxenGenerationCancelled)
    if do.stopping or not (ended or error.spent == "yes"):
        return
    record = do.record
    if record is None:
        with contextlib.suppress(OxenError):
            record = do.store.read()
    if record is None:
        return
    cost = unsuspended(do.costs.cost(record))
    seed = record.body.get("seed")
    facts = {
        "generation": record.generation_id,
        "seed": None if seed is None else str(seed),
        "cost": None if cost is None else f"${cost:g}",
    }
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    if told and (cost is not None or error.spent == "yes"):
        error.advise(f"Paid for: {told}.")
    if cost is None or cost <= record.counted:
        return
    metrics.paid(record.body.get("model"), record.endpoint, cost - record.counted)
    # The next try may fetch the image; then it must not count the cost again.
    with contextlib.suppress(OxenError):
        do.store.write(record.to(record.phase, counted=cost))
