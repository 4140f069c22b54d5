"""Follow what ends on the hub: from a wakeup to the generations to report."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Set
from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_oxen.api.errors import OxenGenerationNotFound
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.statuses import ENDED
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.listener import reason
from airflow_provider_oxen.waiting.wakeups import Wakeup

__all__ = ["Filter", "GenerationFollower"]

log = logging.getLogger(__name__)

LATE = (1.0, 5.0, 30.0)
"""Seconds after which a row is requested again if the stream has reported its end and the history does not
show it."""

PAGES = 100
"""Most pages of the history, of 1000 rows each, that one look reads."""

TIMEOUT = 240.0
"""Seconds that one look may take; Airflow 3.3 gives up on a trigger that takes 300."""

_LONGEST_PAUSE = 60.0
"""Longest time in seconds until the next look after failed ones."""


class Filter(NamedTuple):
    """Which generations to follow.

    :ivar namespace: whose generations; None: the connection's namespace and, if it has none, whatever the key
        receives.
    :ivar models: of these models; empty: of any.
    :ivar statuses: that ended with one of these.
    """

    namespace: str | None
    models: frozenset[str]
    statuses: frozenset[str]

    def has(self, row: Generation) -> bool:
        """Return whether a row of that namespace passes the filter."""
        return row.status in self.statuses and (not self.models or row.model in self.models)


@dataclass
class _Reported:
    """An end that the stream has reported and the history does not show yet.

    :ivar event: what the stream knows about it.
    :ivar looks: how often the history did not show it.
    """

    event: Generation
    looks: int = 0


class GenerationFollower:
    """Turns wakeups into generations that have ended, each once in this object's life.

    :param wanted: what to follow.
    :param cursor: the position to go on from.
    :ivar is_behind: whether something may have ended that was not looked up; then the cursor must not be
        stored.
    :ivar namespace: the namespace of the last look.
    """

    def __init__(self, wanted: Filter, cursor: Cursor) -> None:
        self.cursor = cursor
        self.is_behind = True
        self.namespace: str | None = None
        self._wanted = wanted
        self._reported: dict[str, _Reported] = {}
        self._failures = 0

    async def follow(self, wakeup: Wakeup) -> list[Generation]:
        """Return what has ended since the last wakeup, in the order of the ends; raises no error.

        What could not be looked up is looked up at a later wakeup.
        """
        self.is_behind |= wakeup.connected
        for event in wakeup.ended:
            is_wanted = event.status in self._wanted.statuses
            if is_wanted and not self.cursor.knows(event.generation_id):
                self._reported.setdefault(event.generation_id, _Reported(event))
        if not (self._reported or self.is_behind):
            return []
        found: dict[str, Generation] = {}
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._look(wakeup, found)
        except TimeoutError:
            self._retry(wakeup, f"The history was not read within {TIMEOUT:g} s.")
        except Exception as error:
            self._retry(wakeup, reason(error))
        else:
            self._failures = 0
            self._wait_for_the_rest(wakeup, found)
        for id in found:
            self._reported.pop(id, None)
        self.cursor.lag = wakeup.listener.lag
        taken = self.cursor.take(found.values(), time.time(), hold=self.is_behind)
        new = [row for row in taken if self._wanted.has(row)]
        for row in new:
            self.cursor.mark_reported(row)
        return new

    async def _look(self, wakeup: Wakeup, found: dict[str, Generation]) -> None:
        """Look up what has ended.

        :raises OxenError: if the history could not be read; ``found`` keeps what was found before.
        """
        self.namespace = self._wanted.namespace or await wakeup.listener.namespace()
        are_all_known = await self._settle(wakeup, found)
        if self.is_behind:
            await self._catch_up(wakeup, found)
        elif not are_all_known:
            await self._catch_up(wakeup, found, only=self._reported.keys() - found.keys())

    async def _settle(self, wakeup: Wakeup, found: dict[str, Generation]) -> bool:
        """Request the rows of the ends that the stream has reported; return whether that was enough."""
        are_all_known = True
        ids = list(self._reported)
        rows = await asyncio.gather(*map(wakeup.row, ids), return_exceptions=True)
        for id, row in zip(ids, rows, strict=True):
            if isinstance(row, Generation):
                whose = row.echo().get("target_namespace")
                if row.status not in ENDED:
                    continue
                if self.namespace in (None, whose):
                    found[id] = row
                elif whose is not None:
                    del self._reported[id]
                else:
                    # It may belong to the key's own namespace: only that namespace's list shows it.
                    are_all_known = False
            elif not isinstance(row, OxenGenerationNotFound):
                are_all_known = False
        return are_all_known

    async def _catch_up(
        self, wakeup: Wakeup, found: dict[str, Generation], only: Set[str] = frozenset()
    ) -> None:
        """Read the history, newest first, as far back as something may have ended since.

        :param only: stop when these ids are found; empty: read everything.
        """
        unfinished: list[Generation] = []
        for number in range(1, PAGES + 1):
            page = await wakeup.page(self.namespace, number)
            self.cursor.lag = wakeup.listener.lag
            for row in page.generations:
                if row.status not in ENDED:
                    unfinished.append(row)
                elif row.generation_id in self._reported or self.cursor.is_new(row):
                    found[row.generation_id] = row
            asked = [row.enqueued_at for row in page.generations if row.enqueued_at is not None]
            is_deep = bool(asked) and max(asked) + self.cursor.lag < self.cursor.floor
            if is_deep or not page.generations or number >= (page.total_pages or 1):
                break
            if only and only <= found.keys():
                return
        else:
            log.warning("Only the newest %d pages of the history were read for what has ended.", PAGES)
        self.cursor.note_unfinished(unfinished)
        self.is_behind = False

    def _wait_for_the_rest(self, wakeup: Wakeup, found: dict[str, Generation]) -> None:
        """Deal with the ends that the stream has reported and the history does not show."""
        for id in self._reported.keys() - found.keys():
            reported = self._reported[id]
            reported.looks += 1
            if reported.looks <= len(LATE):
                wakeup.again(LATE[reported.looks - 1])
            elif self.namespace is None:
                # What the stream knows is better than nothing.
                found[id] = reported.event
            else:
                del self._reported[id]
                log.debug("Generation %s is not in the history of %s.", id, self.namespace)

    def _retry(self, wakeup: Wakeup, problem: str) -> None:
        self.is_behind = True
        self._failures += 1
        pause = min(_LONGEST_PAUSE, 2.0**self._failures)
        log.warning("%s Looking again for what has ended in %g s.", problem, pause)
        wakeup.again(pause)
