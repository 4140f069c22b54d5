"""What a try asks the hub about its generation, free of charge, and how it cancels it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenGenerationNotFound,
    OxenInvalidRequest,
    OxenRouteNotFound,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import may_matter
from airflow_provider_oxen.jobs.record import Record

__all__ = ["Asking", "all_rows"]

_COST_PATIENCE = 5.0
"""Seconds that the image waits for what it cost: its link expires."""


@dataclass
class Asking:
    """The questions. The hub's answers are passed on as they are; what they mean is decided elsewhere.

    :param log: of the task.
    """

    client: Client
    log: Any

    def _rows(self, record: Record) -> Iterator[Generation]:
        """Give the rows of the hub's lists that may be the record's job."""
        self.log.info("Looking for %s in the hub's queue and history.", record.job)
        rows = all_rows(self.client, record.namespace)
        return (row for row in rows if may_matter(record.body, row))

    def _row(self, generation_id: str) -> Generation | None:
        for ask in (queue.get_generation, queue.get_history):
            try:
                return self.client.send(ask(generation_id))
            except OxenGenerationNotFound:
                continue
            except OxenRouteNotFound:
                if ask is queue.get_generation:
                    raise
        return None

    def _cancel(self, client: Client, generation_id: str) -> None:
        try:
            client.send(queue.cancel(generation_id))
        except (OxenInvalidRequest, OxenGenerationNotFound) as error:
            self.log.info("Generation %s had nothing to cancel: %s", generation_id, error)
        except OxenError as error:
            self.log.warning("Generation %s could not be cancelled: %s", generation_id, error)
        else:
            self.log.info("Cancelled generation %s.", generation_id)

    def _hasty(self) -> AbstractContextManager[Client]:
        """Return a client that asks once."""
        return Client(replace(self.client.settings, max_retries=0))

    def _cost(self, record: Record) -> float | None:
        """Return what was charged, in USD, where the hub tells it at once: the images do not wait for it."""
        if record.generation_id is None:
            return None
        try:
            with self._hasty() as client:
                call = replace(queue.get_history(record.generation_id), patience=_COST_PATIENCE)
                return client.send(call).charged
        except OxenError as error:
            self.log.debug("What generation %s cost is not known yet: %s", record.generation_id, error)
            return None


def all_rows(client: Client, namespace: str | None) -> Iterator[Generation]:
    """Give the rows of the queue, and then of every page of the history.

    In this order: what leaves the queue meanwhile is in the history.
    """
    yield from client.send(queue.list_queue(namespace))
    seen: set[str] = set()
    for number in itertools.count(1):
        page = client.send(queue.list_history(namespace, number))
        yield from page.generations
        known = len(seen)
        seen.update(row.generation_id for row in page.generations)
        # Some servers give the last page for ever.
        if len(seen) == known or (page.total_pages is not None and number >= page.total_pages):
            return
