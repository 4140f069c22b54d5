"""The requests of a poller: the list of unfinished jobs, pages of the history, and single rows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.bulk import BulkClient, TooLong, list_unfinished
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.settings import Settings

__all__ = ["Key", "RowAsker", "UnfinishedList", "history"]

log = logging.getLogger(__name__)

AT_ONCE = 10
"""Rows that are requested at the same time."""

PAGES = 100
"""Most pages of the history that one tick reads; older rows are requested one by one."""

LIST_AGAIN = 600.0
"""Seconds until a list that was too long is tried again."""


class Key(NamedTuple):
    """What jobs must have in common to share a poller."""

    conn_id: str
    namespace: str | None
    settings: Settings


class UnfinishedList:
    """The list of unfinished jobs in a namespace. A list that was too long is not read again for a while."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace
        self._from = 0.0

    async def read(self, client: BulkClient) -> frozenset[str]:
        """Return the ids of all unfinished jobs; an empty set if the list is too long to read."""
        if asyncio.get_running_loop().time() < self._from:
            return frozenset()
        try:
            return await client.send(list_unfinished(self._namespace))
        except TooLong:
            if not self._from:
                log.warning(
                    "The queue's list is longer than what is read of one answer (32 MB): the pages of the "
                    "history are read instead, and the list is tried again every %d minutes.",
                    LIST_AGAIN // 60,
                )
            self._from = asyncio.get_running_loop().time() + LIST_AGAIN
            return frozenset()


async def history(client: BulkClient, namespace: str | None) -> AsyncGenerator[Mapping[str, Generation]]:
    """Yield the history's pages as rows by id, newest first."""
    for page in range(1, PAGES + 1):
        answer = await client.send(queue.list_history(namespace, page))
        yield {row.generation_id: row for row in answer.generations}
        if page >= (answer.total_pages or 1):
            return


class RowAsker:
    """Requests rows in the background: a slow answer must not delay the next tick.

    :param ask: requests one row, and raises nothing.
    :ivar asked: ids whose rows are being requested, or are about to be.
    """

    def __init__(self, ask: Callable[[BulkClient, str], Awaitable[None]]) -> None:
        self.asked: set[str] = set()
        self._ask = ask
        self._unasked: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask_for(self, client: BulkClient, ids: Sequence[str]) -> None:
        """Request the rows, some at the same time."""
        self.asked.update(ids)
        self._unasked.extend(ids)
        for _ in range(min(AT_ONCE - len(self._tasks), len(self._unasked))):
            task = asyncio.create_task(self._work(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, client: BulkClient) -> None:
        while self._unasked:
            id = self._unasked.popleft()
            try:
                await self._ask(client, id)
            finally:
                self.asked.discard(id)

    async def close(self) -> None:
        """Stop all requests."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
