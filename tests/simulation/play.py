"""Plays the protocol: tasks that live on it through their tries, and all their histories.

A history is the list of what happened at each step, where the first choice is always that all went well.
:func:`histories` plays every one with up to so many troubles.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenOutputExists,
    OxenPollError,
    OxenRecordError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.jobs import lookups
from airflow_provider_oxen.jobs.complete import complete
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.jobs.intent import nothing_sent
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve

from .choices import WELL, Choices
from .hands import FREEZE, At, Death, Deferred, Hands, Turn
from .scenario import Attempt, Scenario
from .world import Home, Hub, Output, World

__all__ = ["History", "Life", "Try", "histories"]


class Try(Hands):
    """What the product's operator does in one try."""

    async def run(self) -> str:
        """Return the id of the job whose image the task ends with."""
        record = await self.read()
        if record is None and self.home.keeps and not self.task.unsure:
            record = await self.first(nothing_sent(self.task, self.world.now))
        is_open = record is not None and record.phase not in ("kept", "ended", "not_sent")
        if (found := self.finished(is_open)) and (not is_open or self.is_ours()):
            if record and is_open and record.fingerprint == self.task.fingerprint:
                await self.close(record.to("kept", items=[]))
            self.life.tell("finds a finished output")
            return found
        kept = None
        if record is None and self.life.output.sidecar and self.is_ours() and self.task.overwrite:
            kept = self.life.output.sidecar[1]
            if kept.try_number == self.task.try_number - 1:
                # The sidecar is a mark, too: no other try was between.
                record = await self.first(nothing_sent(self.task, self.world.now, kept))
        record = await resolve(self, self.task, record, self.world.now, kept)
        if record.phase == "kept":
            record = record.to("submitted" if record.generation_id else "answered")
        try:
            return await self.complete(record)
        except Deferred as deferred:
            return await self.resume(deferred.record, deferred.end)

    async def first(self, record: Record) -> Record:
        """Say that nothing was sent yet, and see that it is said."""
        await self.create(record)
        found = await self.read()
        if found is None:
            raise OxenStoreUnavailable("What was written is not there.")
        return found

    async def resume(self, deferred: Record, end: End) -> str:
        """Go on, in another process, with a job that somebody else has waited for."""
        self.resumed += 1
        if self.resumed > 5:
            raise RecursionError("It defers for ever.")
        try:
            record = await self.read() or deferred
        except OxenStoreUnavailable:
            raise OxenPollError("What the task waited for may have been paid for.") from None
        if record.nonce != deferred.nonce:
            raise OxenRecordError("The record became another try's.")
        if record.phase in ("ended", "cancelling"):
            return await self.run()
        return await self.complete(
            deferred if record.phase in ("not_sent", "intent", "kept") else record, end
        )

    async def complete(self, record: Record, end: End | None = None) -> str:
        result = await complete(self, self.task, record, end=end)
        return str(result["job"])

    def finished(self, is_open: bool) -> str | None:
        """Return the job whose image is in the task's place, where it answers this very request."""
        if self.life.output.sidecar is None:
            return None
        job, sidecar = self.life.output.sidecar
        own = self.is_ours() and (sidecar.try_number or 0) >= self.attempt.clearing
        if self.task.overwrite and not own:
            return None
        if sidecar.fingerprint != self.task.fingerprint and is_open:
            # What may be paid for goes beside it.
            return None
        if sidecar.fingerprint != self.task.fingerprint:
            raise OxenOutputExists("The place holds the image of another request.")
        return job

    def is_ours(self) -> bool:
        sidecar = self.life.output.sidecar
        return sidecar is not None and sidecar[1].identity == self.life.name


@dataclass
class Life:
    """One task instance and its tries."""

    name: str
    scenario: Scenario
    world: World
    choices: Choices
    home: Home
    output: Output
    attempts: list[Attempt] = field(default_factory=list)
    frozen: list[tuple[Attempt, Turn[str]]] = field(default_factory=list)

    async def live(self) -> None:
        number = 0
        for plan in self.scenario.clearings:
            first = number + 1
            for _ in range(plan.tries):
                number += 1
                attempt = Attempt(first, number, self.world.nonce(), plan=plan)
                self.attempts.append(attempt)
                if self.scenario.vanishes and number > 1:
                    self.vanish()
                if self.scenario.alters and number > 1:
                    self.alter()
                try:
                    attempt.image = await self.alive(attempt, Try(self, attempt).run())
                    self.tell(f"ends with the image of {attempt.image}")
                    break
                except Death:
                    self.tell("dies")
                except OxenError as error:
                    attempt.error = error
                    self.tell(f"{type(error).__name__}, spent {error.spent}, retry {error.retry_helps}")
                    if not error.retry_helps:
                        break
                except Exception as error:
                    attempt.error = error
                    self.tell(repr(error))
                await At(self.world.now + self.scenario.retry_delay)
            await At(self.world.now + self.scenario.retry_delay)
            if len(self.scenario.clearings) > 1:
                self.tell("cleared")
        self.wakes(now=True)

    async def alive(self, attempt: Attempt, turn: Turn[str]) -> str:
        """Let a try go on until it ends, or its process is stopped."""
        while True:
            try:
                when = turn.send(None)
            except StopIteration as end:
                return str(end.value)
            if when == FREEZE:
                attempt.frozen = True
                self.frozen.append((attempt, turn))
                raise Death
            await At(when)

    def wakes(self, *, now: bool = False) -> None:
        """Let a stopped process go on to its end, some time or at last."""
        if not self.frozen or (not now and self.choices.take((WELL, "wakes")) == WELL):
            return
        [(attempt, turn)], self.frozen = self.frozen, []
        self.tell(f"try {attempt.number} wakes up")
        here = self.world.now
        try:
            while True:
                self.world.now = max(self.world.now, turn.send(None))
        except (StopIteration, Death, Deferred):
            pass
        except Exception as error:
            self.tell(f"the woken one ends with {type(error).__name__}: {error}")
        self.world.now = here

    def vanish(self) -> None:
        """Let places of the record be emptied, as clearing a task does."""
        places = [place for place, record in self.home.places.items() if record]
        if not places:
            return
        gone = self.choices.take((WELL, *places, *(("all",) if len(places) > 1 else ())))
        for place in places:
            if gone in (place, "all"):
                self.home.places[place] = None
                for job in self.world.hub.jobs:
                    job.recorded &= self.home.read() is not None
                self.tell(f"the {place} is emptied")

    def alter(self) -> None:
        """Let somebody alter the record of what may have been sent."""
        record = self.home.read()
        if record is None or record.phase != "intent":
            return
        other = {**record.body, "seed": 1, "target_directory": f"airflow/{self.name}/other"}
        own = {name: value for name, value in record.body.items() if name in ("model", "prompt")}
        changes: dict[str, dict[str, Any]] = {
            "another job's mark": {
                "body": {name: value for name, value in other.items() if name in record.body}
            },
            "another job's mark, and no counter": {
                "body": {name: value for name, value in other.items() if name in record.body},
                "counter": None,
            },
            "no mark": {"body": own},
            "another parameter": {"body": {**record.body, "quality": "max"}},
            "another endpoint": {"endpoint": "queue"},
        }
        what = self.choices.take((WELL, *changes))
        if what != WELL:
            self.tell(f"somebody writes {what}")
            for place, there in self.home.places.items():
                self.home.places[place] = there and there.model_copy(update=changes[what])

    def tell(self, what: str) -> None:
        number = self.attempts[-1].number if self.attempts else 0
        self.world.story.append(f"{self.world.now - 1_000_000:6.1f} {self.name} try {number}: {what}")


@dataclass
class History:
    """One way in which all may have come about."""

    scenario: Scenario
    world: World
    lives: list[Life]

    @property
    def story(self) -> str:
        return "\n".join([str(self.scenario), *self.world.story])


AHEAD = 3
"""Derived seeds that are looked for here: the product looks for more, and each is a step."""


def histories(scenario: Scenario, troubles: int) -> Iterator[History]:
    """Play every history with up to so many troubles."""
    told: list[int] | None = []
    with patch.object(lookups, "_AHEAD", AHEAD):
        while told is not None:
            choices = Choices(told, troubles)
            yield _play(scenario, choices)
            told = choices.after()


def _play(scenario: Scenario, choices: Choices) -> History:
    world = World(Hub(shows_calls=scenario.shows_calls, echoes=scenario.echoes))
    output = Output()
    lives = [
        Life(
            f"task-{'ab'[number]}",
            scenario,
            world,
            choices,
            Home(scenario.home),
            output if scenario.shared else Output(),
        )
        for number in range(scenario.twins)
    ]
    if scenario.order == "after":
        for life in lives:
            _turns(world, [life.live()])
    else:
        _turns(world, [life.live() for life in lives])
    return History(scenario, world, lives)


def _turns(world: World, playing: list[Turn[None]]) -> None:
    """Let all who can go on take a step in turn; where none can, let time pass."""
    due = [(world.now, turn) for turn in playing]
    while due:
        place = next((n for n, (time, _) in enumerate(due) if time <= world.now), None)
        if place is None:
            world.now = min(time for time, _ in due)
            continue
        _, turn = due.pop(place)
        with contextlib.suppress(StopIteration):
            due.append((turn.send(None), turn))
