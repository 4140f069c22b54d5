"""One poller for all jobs of a connection and namespace that an event loop waits for.

Ten thousand triggers that poll one by one would send ten thousand requests a tick, with as many clients.
Here, a tick is one request for the list of unfinished jobs, and one for each job that has left it. While the
hub's stream of events can be trusted, the list is read once a minute, and a job's row when the stream reports
its end.

:class:`~.polling.Poll` decides what an answer means for a job. This module only sends requests, and wakes.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import aclosing

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.bulk import BulkClient, TooLong
from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.api.statuses import ENDED
from airflow_provider_oxen.api.tls import ssl_context
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.waiting.asking import Key, RowAsker, UnfinishedList, history
from airflow_provider_oxen.waiting.listener import EventListener, raise_if_cancelled
from airflow_provider_oxen.waiting.polling import Poll
from airflow_provider_oxen.waiting.trust import StreamTrust
from airflow_provider_oxen.waiting.waiters import Waiter, Waiters

__all__ = ["SHORTEST", "QueuePoller"]

log = logging.getLogger(__name__)

SHORTEST = 0.01
"""Shortest time in seconds between two ticks, whatever interval was asked for."""

PAGES_FROM = 60
"""When more jobs than this leave the list at once, pages of the history (1000 rows each) are cheaper."""

LINGER = 60.0
"""Longest time in seconds that a poller goes on when nobody waits; it keeps a stream open."""

RARELY = 60.0
"""Seconds between two lists while the stream is trusted, for what it does not report, such as
cancellations."""

GATHER, GATHER_FEW = 0.1, 0.01
"""Seconds in which further events join the first, since many jobs end together; and where so few are waited
for that their rows are asked for one by one in any case."""

PREMATURE = 3
"""How many ticks ask again for a row that shows no end although an event reported it."""


def _clock() -> float:
    return asyncio.get_running_loop().time()


class QueuePoller:
    """Looks after all waiting jobs of one connection and namespace, tick by tick, until nobody waits.

    It subscribes to the stream of events while it runs.

    :param pollers: the registry of pollers; the poller removes itself at its end.
    """

    def __init__(self, pollers: MutableMapping[Key, QueuePoller], key: Key, listener: EventListener) -> None:
        self._pollers = pollers
        self._key = key
        self._listener = listener
        self._trust = StreamTrust()
        self._is_trusted = False
        self.waiters = Waiters(key.settings, self._look_soon, self._forget)
        # Times of the last tick and of the last list that could be read, by the loop's clock.
        self._began = self._ended = _clock()
        self._listed = -math.inf
        self._due = 0.0
        # Rows to request: at once, and at the next tick.
        self._urgent: set[str] = set()
        self._urgent_at = math.inf
        self._unsettled: set[str] = set()
        self._premature: Counter[str] = Counter()
        self._bell = asyncio.Event()
        self._rows = RowAsker(self._ask)
        self._unfinished = UnfinishedList(key.namespace)
        # Use an empty context: otherwise its log lines would go to the log of the first task.
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"oxen-poller-{key.conn_id}", context=contextvars.Context()
        )

    def enter(self, id: str, interval: float, poll: Poll) -> Waiter:
        """Look after a generation from now on; the waiter's future gets its end."""
        # Its end may have been reported before.
        self._unsettled.add(id)
        if _clock() + interval < self._due:
            self._bell.set()
        return self.waiters.add(id, interval, poll)

    def _forget(self, id: str) -> None:
        self._unsettled.discard(id)
        self._trust.forget(id)
        self._premature.pop(id, None)

    def on_open(self) -> None:
        """A newly opened stream has to earn its trust again."""
        self._trust.opened()

    def on_lost(self, *, is_answering: bool) -> None:
        """Go on with the list alone."""
        self._trust.lost()

    def on_end(self, generation: Generation) -> None:
        """An event reports the end of a job: look at its row soon."""
        id = generation.generation_id
        if self._trust.reported(id, is_waited_for=id in self.waiters.by_id):
            self._look_soon(id, GATHER if len(self.waiters.by_id) > 2 * PAGES_FROM else GATHER_FEW)

    def _look_soon(self, id: str, seconds: float = 0.0) -> None:
        self._urgent.add(id)
        at = _clock() + seconds
        if at < self._urgent_at:
            self._urgent_at = at
            self._bell.set()

    async def _run(self) -> None:
        settings = self._key.settings
        ended = End("unreachable", "Waiting for the generations was cancelled.")
        try:
            # The first TLS context of a process reads the CA bundle: do it off the loop.
            await asyncio.to_thread(ssl_context, settings.verify)
            client = BulkClient(settings)
            self._listener.subscribe(self, depends=False)
            try:
                while await self._pause():
                    await self._tick(client)
                    raise_if_cancelled()
            finally:
                # Do this first: whoever comes from here on starts another poller.
                self._retire()
                await self._rows.close()
                await self._listener.unsubscribe(self)
                await client.aclose()
        except OxenError as error:
            ended = End("unreachable", error.message)
        except Exception as error:
            ended = _broken(error)
            log.error("%s", ended.message)
        finally:
            self._retire()
            await self.waiters.judge(self.waiters.all(), _always(ended))

    def _retire(self) -> None:
        if self._pollers.get(self._key) is self:
            metrics.waiting(self._key.conn_id, 0)
            del self._pollers[self._key]

    async def _pause(self) -> bool:
        """Wait until something is due; return False when nobody has waited for a whole tick."""
        interval, deserted = SHORTEST, not self.waiters.by_id
        while True:
            interval = self.waiters.shortest_interval(min(interval, LINGER))
            # Give a slow hub a rest.
            self._due = max(self._began + interval, self._ended + interval / 2)
            self._bell.clear()
            at = min(self._due, self._urgent_at) if self.waiters.by_id else self._due
            timer = asyncio.get_running_loop().call_at(at, self._bell.set)
            try:
                await self._bell.wait()
            finally:
                timer.cancel()
            if self._is_reached(self._urgent_at) and self.waiters.by_id:
                return True
            if not self._is_reached(self._due):
                continue  # A waiter with a shorter interval has joined.
            if self.waiters.by_id or deserted:
                return bool(self.waiters.by_id)
            deserted, self._began = True, self._due

    def _is_reached(self, moment: float) -> bool:
        return _clock() >= moment - 0.001

    async def _tick(self, client: BulkClient) -> None:
        """Request what is due: the rows of some jobs and, if it is time, the list and what left it."""
        ids, self._urgent, self._urgent_at = self._urgent, set(), math.inf
        if self._is_reached(self._due):
            self._began = _clock()
            metrics.waiting(self._key.conn_id, len(self.waiters.all()))
            unsettled, self._unsettled = self._unsettled, set()
            ids |= unsettled
            if self._is_list_due():
                ids = await self._read_list(client, ids)
            self._ended = _clock()
        missing = [id for id in ids if id in self.waiters.by_id and id not in self._rows.asked]
        if len(missing) > PAGES_FROM:
            missing = await self._page_through(client, missing)
        self._rows.ask_for(client, missing)

    def _is_list_due(self) -> bool:
        is_trusted = self._trust.holds(_clock())
        if is_trusted != self._is_trusted:
            self._is_trusted = is_trusted
            if is_trusted:
                log.info("The hub's event stream works: its list is read only every %g s.", RARELY)
            else:
                log.info("The hub's event stream is not reliable now: its list is read at each poll again.")
        return not is_trusted or self._is_reached(self._listed + RARELY)

    async def _read_list(self, client: BulkClient, ids: set[str]) -> set[str]:
        """Judge the jobs in the list; return the ids of those whose rows are to be requested.

        :param ids: the jobs whose rows would be requested without the list.
        """
        opening = self._trust.opening
        try:
            unfinished = await self._unfinished.read(client)
        except OxenError as error:
            log.warning("%s Trying again at the next poll.", error.message)
            self._unsettled |= ids & self.waiters.by_id.keys()
            await self._failed(self.waiters.all(), error)
            return set()
        self._listed = self._began
        now = time.time()
        running = [waiter for waiter in self.waiters.all() if waiter.id in unfinished]
        self._trust.listed({waiter.id for waiter in running}, opening)
        await self.waiters.judge(running, lambda waiter: waiter.poll.running(now))
        # The stream may be ahead of the list: also request the rows that it reported.
        return (self.waiters.by_id.keys() - unfinished) | {id for id in ids if self._trust.is_reported(id)}

    async def _page_through(self, client: BulkClient, ids: list[str]) -> list[str]:
        """Look for many jobs in the history, newest first; return those that were not found."""
        log.info("%d generations are not in the queue's list: reading the history's pages.", len(ids))
        missing = set(ids)
        try:
            async with aclosing(history(client, self._key.namespace)) as pages:
                async for page in pages:
                    rows = {id: row for id, row in page.items() if id in missing}
                    missing -= rows.keys()
                    await self._seen(rows)
                    if len(missing) <= PAGES_FROM:
                        break
        except OxenError as error:
            log.warning("%s Trying again at the next poll.", error.message)
            await self._missed(missing, error)
            return []
        except TooLong as error:
            log.warning("A page of the history could not be read: %s Asking for each generation.", error)
        return list(missing)

    async def _seen(self, rows: dict[str, Generation]) -> None:
        now = time.time()
        for id, row in rows.items():
            if row.status in ENDED:
                self._trust.ended(id, row.status, _clock())
        await self.waiters.judge(self.waiters.of(rows), lambda waiter: waiter.poll.seen(rows[waiter.id], now))
        for id in rows.keys() & self.waiters.by_id.keys():
            if rows[id].status in ENDED:
                # It still waits: its link is not there yet.
                self._unsettled.add(id)
            elif self._trust.is_reported(id) and self._premature[id] < PREMATURE:
                self._premature[id] += 1
                self._unsettled.add(id)

    async def _missed(self, ids: Iterable[str], error: OxenError) -> None:
        """Request rows again that could not be read."""
        known = [id for id in ids if id in self.waiters.by_id]
        self._unsettled.update(known)
        await self._failed(self.waiters.of(known), error)

    async def _failed(self, waiters: Iterable[Waiter], error: OxenError) -> None:
        now = time.time()
        await self.waiters.judge(waiters, lambda waiter: waiter.poll.failed(error, now))

    async def _ask(self, client: BulkClient, id: str) -> None:
        try:
            if id in self.waiters.by_id:
                await self._seen({id: await client.send(queue.get_generation(id))})
        except OxenError as error:
            await self._missed([id], error)
        except Exception as error:
            await self.waiters.judge(self.waiters.of([id]), _always(_broken(error)))


def _always(end: End) -> Callable[[Waiter], End]:
    return lambda waiter: end


def _broken(error: Exception) -> End:
    # Do not show the traceback: an unforeseen error may quote anything.
    return End("unreachable", f"Waiting for the generations failed: {describe_error(error)}")
