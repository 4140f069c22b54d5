"""Plays the protocol: tasks that live on it through their tries, and all their histories.

A history is the list of what happened at each step, where the first choice is always that all went well.
:func:`histories` plays every one with up to so many troubles.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenOutputExists,
    OxenPollError,
    OxenRecordError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.jobs import steps
from airflow_provider_oxen.jobs.complete import complete
from airflow_provider_oxen.jobs.polling import End
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve

from .choices import Choices
from .hands import Death, Deferred, Hands, Turn
from .scenario import Attempt, Scenario
from .world import Home, Hub, Output, World

__all__ = ["History", "Life", "Try", "histories"]


class Try(Hands):
    """What the product's operator does in one try."""

    def run(self) -> Turn:
        """Return the id of the job whose image the task ends with."""
        record = yield from self.do(steps.Read())
        is_open = record is not None and record.phase not in ("kept", "ended")
        if (found := self.finished(is_open)) and (not is_open or self.is_ours()):
            if is_open and record.fingerprint == self.task.fingerprint:
                yield from self.do(steps.Close(record.to("kept", items=[])))
            self.life.tell("finds a finished output")
            return found
        record = yield from self.drive(resolve(self.task, record, self.world.now))
        if record.phase == "kept":
            record = record.to("submitted" if record.generation_id else "answered")
        try:
            return (yield from self.complete(record))
        except Deferred as deferred:
            return (yield from self.resume(deferred.record, deferred.end))

    def resume(self, deferred: Record, end: End) -> Turn:
        """Go on, in another process, with a job that somebody else has waited for."""
        self.resumed += 1
        if self.resumed > 5:
            raise RecursionError("It defers for ever.")
        try:
            record = (yield from self.do(steps.Read())) or deferred
        except OxenStoreUnavailable:
            raise OxenPollError("What the task waited for may have been paid for.") from None
        if record.nonce != deferred.nonce:
            raise OxenRecordError("The record became another try's.")
        if record.phase in ("ended", "cancelling"):
            return (yield from self.run())
        return (yield from self.complete(deferred if record.phase in ("intent", "kept") else record, end))

    def complete(self, record: Record, end: End | None = None) -> Turn:
        return self.drive(complete(self.task, record, end=end, cancel_on_timeout=self.scenario.cancels))

    def finished(self, is_open: bool) -> str | None:
        """Return the job whose image is in the task's place, where it answers this very request."""
        if self.life.output.sidecar is None:
            return None
        job, fingerprint, identity, number = self.life.output.sidecar
        own = identity == self.life.name and number >= self.attempt.clearing
        if self.task.overwrite and not own:
            return None
        if fingerprint != self.task.fingerprint and is_open:
            # What may be paid for goes beside it.
            return None
        if fingerprint != self.task.fingerprint:
            raise OxenOutputExists("The place holds the image of another request.")
        return job

    def is_ours(self) -> bool:
        sidecar = self.life.output.sidecar
        return sidecar is not None and sidecar[2] == self.life.name

    def drive(self, protocol: Generator[steps.Step, Any, Any]) -> Turn:
        try:
            step = next(protocol)
            while True:
                try:
                    outcome = yield from self.do(step)
                except OxenError as error:
                    step = protocol.throw(error)
                else:
                    step = protocol.send(outcome)
        except StopIteration as end:
            return end.value


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

    def live(self) -> Turn:
        number = 0
        for plan in self.scenario.clearings:
            first = number + 1
            for _ in range(plan.tries):
                number += 1
                attempt = Attempt(first, number, self.world.nonce(), plan=plan)
                self.attempts.append(attempt)
                try:
                    attempt.image = yield from Try(self, attempt).run()
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
                yield self.world.now + self.scenario.retry_delay
            yield self.world.now + self.scenario.retry_delay
            if len(self.scenario.clearings) > 1:
                self.tell("cleared")

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


def histories(scenario: Scenario, troubles: int) -> Iterator[History]:
    """Play every history with up to so many troubles."""
    told: list[int] | None = []
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


def _turns(world: World, playing: list[Turn]) -> None:
    """Let all who can go on take a step in turn; where none can, let time pass."""
    due = [(world.now, turn) for turn in playing]
    while due:
        place = next((n for n, (time, _) in enumerate(due) if time <= world.now), None)
        if place is None:
            world.now = min(time for time, _ in due)
            continue
        _, turn = due.pop(place)
        with contextlib.suppress(StopIteration):
            due.append((next(turn), turn))
