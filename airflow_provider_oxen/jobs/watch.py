"""One watch for all the jobs of a connection and namespace that triggers of this process wait for.

Ten thousand triggers that ask one by one are ten thousand requests a tick, and as many clients. Here a
tick is one request for the list of what is still to do, and one for each job that is no longer in it.

What an answer means for a job is decided by its :class:`~.polling.Poll`; this module only asks, and wakes.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.bulk import BulkClient, TooLong, list_unfinished
from airflow_provider_oxen.api.client import ssl_context
from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.polling import End, Poll

if TYPE_CHECKING:
    from airflow_provider_oxen.api.models import Generation

__all__ = ["SHORTEST", "Key", "Waiter", "Watch"]

log = logging.getLogger(__name__)

SHORTEST = 0.01
"""Seconds between two ticks at least, whatever interval was asked for."""

AT_ONCE = 10
"""Rows that are asked for side by side."""

MANY = 60
"""Jobs that leave the list at once beyond which pages of the history, of 1000 rows each, cost less."""

PAGES = 100
"""Pages of the history read in one tick at most; what is further back is asked for row by row."""

LIST_AGAIN = 600.0
"""Seconds after which a list that was too long is tried again."""

STEP = 100
"""Jobs that are judged, and perhaps woken, before other work of the loop gets its turn."""


class Key(NamedTuple):
    """What jobs must have in common to be watched together."""

    conn_id: str
    namespace: str | None
    settings: Settings


def _clock() -> float:
    return asyncio.get_running_loop().time()


class Waiter:
    """One who waits. Its future is its own, so that to cancel it harms no other."""

    __slots__ = ("future", "id", "interval", "poll")

    def __init__(self, id: str, interval: float, poll: Poll) -> None:
        self.id = id
        self.interval = interval
        self.poll = poll
        self.future: asyncio.Future[End] = asyncio.get_running_loop().create_future()


class Watch:
    """Looks after all waiting jobs of one connection and namespace, tick by tick, until nobody waits.

    :param watches: where it is found, and takes itself out at its end.
    """

    def __init__(self, watches: MutableMapping[Key, Watch], key: Key) -> None:
        self._watches = watches
        self._key = key
        self._waiting: dict[str, list[Waiter]] = {}
        self._intervals: Counter[float] = Counter()
        self._due = 0.0
        self._bell = asyncio.Event()
        self._unasked: deque[str] = deque()
        self._asked: set[str] = set()
        self._askers: set[asyncio.Task[None]] = set()
        self._list_from = 0.0
        # In no context: else all that it logs would stand in the log of the task that came first.
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"oxen-watch-{key.conn_id}", context=contextvars.Context()
        )

    def enter(self, id: str, interval: float, poll: Poll) -> Waiter:
        """Look after a generation from now on; its future tells how it ended."""
        waiter = Waiter(id, interval, poll)
        self._waiting.setdefault(id, []).append(waiter)
        self._intervals[interval] += 1
        if _clock() + interval < self._due:
            self._bell.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Forget one who waits no more."""
        waiters = self._waiting.get(waiter.id, [])
        if waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[waiter.id]
        self._intervals[waiter.interval] -= 1
        if not self._intervals[waiter.interval]:
            del self._intervals[waiter.interval]

    async def _run(self) -> None:
        settings = self._key.settings
        ended = End("unreachable", "The watch over the generations was cancelled.")
        try:
            # The first context of a process reads the CA bundle: off the loop.
            await asyncio.to_thread(ssl_context, settings.verify)
            client = BulkClient(settings)
            try:
                began = _clock()
                while await self._pause(began):
                    began = _clock()
                    await self._tick(client)
            finally:
                # At once: who comes from here on begins another watch.
                self._retire()
                for asker in self._askers:
                    asker.cancel()
                await asyncio.gather(*self._askers, return_exceptions=True)
                await client.aclose()
        except OxenError as error:
            ended = End("unreachable", str(error))
        except Exception as error:
            ended = _broken(error)
            log.error("%s", ended.message)
        finally:
            self._retire()
            await self._judge(self._all(), _always(ended))

    def _retire(self) -> None:
        if self._watches.get(self._key) is self:
            metrics.waiting(self._key.conn_id, 0)
            del self._watches[self._key]

    async def _pause(self, began: float) -> bool:
        """Wait for the next tick; return False when nobody has waited for a whole one.

        :param began: when the last tick began, by the loop's clock.
        """
        interval, deserted = SHORTEST, not self._waiting
        while True:
            interval = min(self._intervals, default=interval)
            # A hub that takes long for its answer gets a rest.
            self._due = max(began + interval, _clock() + interval / 2)
            self._bell.clear()
            timer = asyncio.get_running_loop().call_at(self._due, self._bell.set)
            try:
                await self._bell.wait()
            finally:
                timer.cancel()
            if _clock() < self._due - 0.001:
                continue  # Somebody came who does not wait so long.
            if self._waiting or deserted:
                return bool(self._waiting)
            deserted, began = True, self._due

    async def _tick(self, client: BulkClient) -> None:
        metrics.waiting(self._key.conn_id, sum(map(len, self._waiting.values())))
        try:
            unfinished = await self._list(client)
        except OxenError as error:
            log.warning("%s Looking again at the next tick.", error)
            await self._failed(self._all(), error)
            return
        missing = [id for id in self._waiting if id not in unfinished and id not in self._asked]
        if len(missing) > MANY:
            missing = await self._page_through(client, missing)
        self._ask_for(client, missing)
        now = time.time()
        running = [waiter for waiter in self._all() if waiter.id in unfinished]
        await self._judge(running, lambda waiter: waiter.poll.running(now))

    async def _list(self, client: BulkClient) -> frozenset[str]:
        """Return the ids of all that is still to do; none where the list is too long to be read."""
        if _clock() < self._list_from:
            return frozenset()
        try:
            return await client.send(list_unfinished(self._key.namespace))
        except TooLong:
            if not self._list_from:
                log.warning(
                    "The queue's list is longer than what is read of one answer (32 MB): the pages of the "
                    "history are read instead, and the list is tried again every %d minutes.",
                    LIST_AGAIN // 60,
                )
            self._list_from = _clock() + LIST_AGAIN
            return frozenset()

    async def _page_through(self, client: BulkClient, ids: list[str]) -> list[str]:
        """Look for many jobs in the history, newest first, and return those that were not found."""
        log.info("%d generations are not in the queue's list: reading the history's pages.", len(ids))
        missing = set(ids)
        try:
            for page in range(1, PAGES + 1):
                answer = await client.send(queue.list_history(self._key.namespace, page))
                rows = {row.generation_id: row for row in answer.generations if row.generation_id in missing}
                missing -= rows.keys()
                await self._seen(rows)
                if len(missing) <= MANY or page >= (answer.total_pages or 1):
                    break
        except OxenError as error:
            log.warning("%s Looking again at the next tick.", error)
            await self._failed([waiter for waiter in self._all() if waiter.id in missing], error)
            return []
        except TooLong as error:
            log.warning("A page of the history: %s Asking row by row.", error)
        return list(missing)

    async def _seen(self, rows: dict[str, Generation]) -> None:
        now = time.time()
        waiters = [waiter for id in rows for waiter in self._waiting.get(id, ())]
        await self._judge(waiters, lambda waiter: waiter.poll.seen(rows[waiter.id], now))

    async def _failed(self, waiters: Iterable[Waiter], error: OxenError) -> None:
        now = time.time()
        await self._judge(waiters, lambda waiter: waiter.poll.failed(error, now))

    def _ask_for(self, client: BulkClient, ids: Iterable[str]) -> None:
        """Have the rows asked for, without waiting: a slow answer must not hold up the next tick."""
        self._asked.update(ids)
        self._unasked.extend(ids)
        for _ in range(min(AT_ONCE - len(self._askers), len(self._unasked))):
            asker = asyncio.create_task(self._ask(client))
            self._askers.add(asker)
            asker.add_done_callback(self._askers.discard)

    async def _ask(self, client: BulkClient) -> None:
        while self._unasked:
            id = self._unasked.popleft()
            try:
                if id in self._waiting:
                    await self._look(client, id)
            except Exception as error:
                await self._judge(self._waiting.get(id, ()), _always(_broken(error)))
            finally:
                self._asked.discard(id)

    async def _look(self, client: BulkClient, id: str) -> None:
        try:
            row = await client.send(queue.get_generation(id))
        except OxenError as error:
            await self._failed(self._waiting.get(id, ()), error)
        else:
            await self._seen({id: row})

    def _all(self) -> list[Waiter]:
        return [waiter for waiters in self._waiting.values() for waiter in waiters]

    async def _judge(self, waiters: Iterable[Waiter], judge: Callable[[Waiter], End | None]) -> None:
        """Wake whose generation has ended, a few at a time: each has work to do then."""
        for number, waiter in enumerate(list(waiters), 1):
            end = judge(waiter)
            if end is not None and not waiter.future.done():
                message = without_queries(self._key.settings.hide(end.message))
                waiter.future.set_result(end._replace(message=message))
                # Not when it wakes: the next tick may come before, and would ask again.
                self.leave(waiter)
            if number % STEP == 0:
                await asyncio.sleep(0)


def _always(end: End) -> Callable[[Waiter], End]:
    return lambda waiter: end


def _broken(error: Exception) -> End:
    # Not with its traceback: who knows what an error that nobody foresaw quotes.
    what = f"{type(error).__name__}: {without_queries(str(error))}"
    return End("unreachable", f"The watch over the generations broke: {what}")
