"""A trigger tells one event, whatever happens, and no end before Airflow has dealt with the deferral."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_oxen.triggers import _base, batch_record
from airflow_provider_oxen.triggers._base import OxenTrigger
from airflow_provider_oxen.triggers.batches import OxenBatchTrigger
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger
from airflow_provider_oxen.triggers.models import OxenModelTrigger

from .conftest import events

NOW = 1_780_000_000.0


class Clocks:
    """The machine's clocks, which go on while somebody sleeps.

    :ivar slept: how long.
    """

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass(eq=False, repr=False)
class Waiting(OxenTrigger):
    """Waits for so many seconds, and fails where it is told to."""

    clocks: Clocks
    seconds: float
    deferred_at: float | None
    problem: str = ""

    async def wait(self) -> dict[str, Any]:
        self.clocks.steady += self.seconds
        if self.problem:
            raise ValueError(self.problem)
        return {"event": "it ended"}

    def event(self, status: str, message: str) -> dict[str, Any]:
        return {"event": message}


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(time, "time", lambda: clocks.wall)
    monkeypatch.setattr(time, "monotonic", lambda: clocks.steady)
    monkeypatch.setattr(_base, "SECONDS", 5.0)
    monkeypatch.setattr(asyncio, "sleep", clocks.sleep)
    return clocks


@pytest.mark.parametrize(
    ("deferred_at", "seconds", "left"),
    [
        (NOW, 0, 5),
        (NOW - 2, 0, 3),
        (NOW - 2, 1, 2),
        (NOW - 60, 0, 0),
        (NOW + 3600, 0, 5),
        (NOW - 3600, 0, 0),
        (None, 0, 0),
        ("no number", 0, 0),
    ],
    ids=[
        "at once",
        "later",
        "waited meanwhile",
        "long ago",
        "clock set back",
        "clock ahead",
        "earlier version",
        "damaged",
    ],
)
async def test_an_end_is_held_back_for_five_seconds_from_the_deferral_and_never_longer(
    clocks, deferred_at, seconds, left
):
    assert await events(Waiting(clocks, seconds, deferred_at)) == [{"event": "it ended"}]
    assert clocks.slept == ([left] if left else [])


async def test_a_wait_that_breaks_is_told_in_an_event_without_a_signature(clocks):
    [event] = await events(Waiting(clocks, 0, NOW, problem="https://f.example/a?sig=b"))

    assert event == {"event": "ValueError: https://f.example/a"}
    assert clocks.slept == [5]


@pytest.mark.parametrize(
    "trigger",
    [
        OxenGenerationTrigger("8d1f", deferred_at=NOW),
        OxenModelTrigger("klein", poke_interval=0.01, deferred_at=NOW),
        OxenBatchTrigger("batch.json", "no path", "0" * 64, 1, deferred_at=NOW),
    ],
    ids=["generation", "model", "batch"],
)
async def test_no_trigger_for_a_paid_wait_tells_an_end_at_once(trigger: Any, monkeypatch):
    held: list[float] = []
    monkeypatch.setattr(batch_record, "PAUSES", ())

    def seconds_left(deferred_at: float) -> float:
        held.append(deferred_at)
        return 0.0

    monkeypatch.setattr(_base, "_seconds_left", seconds_left)

    # There is no connection: it ends as soon as it can.
    [event] = await events(trigger)

    assert event["status"] == "unreachable"
    assert held == [NOW]
