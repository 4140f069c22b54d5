"""A process that is stopped, and goes on beside the try that Airflow has started after it, pays nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks import recording
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.recording import JobRecorder
from airflow_provider_oxen.tasks.running import LONGEST, Clocks, Running

from .scene import KEY, SMALL, Scene, all_homes, all_modes, by_queue, paid_once, with_record

LIMITED: dict[str, Any] = {"status": 429, "headers": {"Retry-After": "30"}}


@pytest.fixture
def successor(scene: Scene, cast: Any) -> Scene:
    """The next try of the very same task, in another process."""
    other: Scene = cast()
    other.store, other.try_number = scene.store, 1
    return other


def limited(scene: Scene) -> None:
    scene.hub.fail(*(Fault("status", on=route, **LIMITED) for route in ("enqueue", "generate")))


@with_record
@all_modes
def test_try_that_is_stopped_in_a_wait_for_429_does_not_send_beside_its_successor(
    scene, successor, connect, monkeypatch
):
    connect(scene.hub.url, max_retries=3)
    limited(scene)
    pause = WorkerEffects.pause
    phases: list[str] = []

    async def frozen(self: WorkerEffects, seconds: float) -> float:
        if seconds >= 30:
            phases.append(scene.record["phase"])
            monkeypatch.setattr(WorkerEffects, "pause", pause)
            assert successor.once().state == "success"
        return await pause(self, 0.01)

    monkeypatch.setattr(WorkerEffects, "pause", frozen)

    tried = scene.once()

    assert phases == ["not_sent"]
    assert "has written the record of this task's job meanwhile" in tried.error
    assert isinstance(tried.errors[0], OxenOvertaken)
    assert scene.paid == 1
    assert scene.sent == 2, "one was refused"


@with_record
@all_modes
def test_try_that_is_stopped_before_its_last_look_does_not_send(scene, successor, monkeypatch):
    look = JobRecorder.check_last

    def frozen(self: JobRecorder, record: Any) -> None:
        monkeypatch.setattr(JobRecorder, "check_last", look)
        successor.arguments |= {"on_unknown_outcome": "resubmit", **SMALL}
        successor.arguments["on_changed_request"] = "submit"
        assert successor.once().state == "success"
        look(self, record)

    monkeypatch.setattr(JobRecorder, "check_last", frozen)

    tried = scene.once(**SMALL)

    assert isinstance(tried.errors[0], OxenOvertaken)
    assert (scene.paid, scene.sent) == (1, 1)


@all_homes
@all_modes
def test_try_that_airflow_no_longer_runs_sends_nothing(scene, monkeypatch):
    def over(self: Running, **_: Any) -> None:
        raise OxenOvertaken("Airflow no longer runs this try: its state is failed.")

    monkeypatch.setattr(Running, "check", over)

    tried = scene.once()

    assert "its state is failed" in tried.error
    assert scene.sent == 0


@with_record
@by_queue
def test_refused_try_that_airflow_no_longer_runs_leaves_the_record_as_it_is(scene, monkeypatch):
    limited(scene)
    asked: list[int] = []

    def over(self: Running, **_: Any) -> None:
        asked.append(1)
        if len(asked) > 1:
            raise OxenOvertaken("Airflow no longer runs this try.")

    monkeypatch.setattr(Running, "check", over)

    tried = scene.once()

    assert isinstance(tried.errors[0], OxenOvertaken)
    assert scene.record["phase"] == "intent"


@with_record
@by_queue
def test_refused_try_that_cannot_ask_airflow_leaves_it_to_the_next_to_look(scene, monkeypatch):
    limited(scene)
    asked: list[int] = []

    def away(self: Running, **_: Any) -> None:
        asked.append(1)
        if len(asked) == 2:
            raise OxenStoreUnavailable("Airflow could not be asked.")

    monkeypatch.setattr(Running, "check", away)

    assert "OxenRateLimited" in scene.once().error
    assert scene.record["phase"] == "intent"
    assert "Airflow could not be asked. The next try checks whether it was." in scene.logged
    assert paid_once(scene, scene.once(), sent=2)


@all_homes
@by_queue
def test_clock_that_has_jumped_makes_it_look_again(scene, monkeypatch):
    now = [0.0]

    def clocks() -> Clocks:
        now[0] += LONGEST + 1 if now[0] < 2 * LONGEST else 0.1
        return Clocks(now[0], now[0])

    monkeypatch.setattr(recording, "clocks", clocks)

    assert paid_once(scene, scene.play())
    assert "This process was paused, or the clock was changed: checking again before sending." in scene.logged


@with_record
@by_queue
def test_clock_that_jumps_all_the_time_stops_before_anything_is_sent(scene, monkeypatch):
    now = [0.0]

    def clocks() -> Clocks:
        now[0] += LONGEST + 1
        return Clocks(now[0], now[0])

    monkeypatch.setattr(recording, "clocks", clocks)

    tried = scene.once()

    assert "this machine is overloaded, or its clock jumps." in tried.error
    assert scene.sent == 0
    assert scene.record["phase"] == "not_sent"


@with_record
@all_modes
def test_rate_limit_is_waited_for_here_and_counts_as_no_submission(scene, connect, monkeypatch):
    connect(scene.hub.url, max_retries=3)
    scene.hub.fail(*(Fault("status", on=route, status=429, times=2) for route in ("enqueue", "generate")))
    pause = WorkerEffects.pause
    waits: list[float] = []

    async def quick(self: WorkerEffects, seconds: float) -> float:
        waits.append(seconds)
        return await pause(self, 0.01)

    monkeypatch.setattr(WorkerEffects, "pause", quick)

    # Enough for one.
    assert paid_once(scene, scene.play(max_cost=0.01), sent=3)
    assert waits[:2] == sorted(waits[:2])


@with_record
@by_queue
def test_death_in_a_wait_for_429_is_no_submission(scene, connect, monkeypatch):
    connect(scene.hub.url, max_retries=3)
    limited(scene)
    pause = WorkerEffects.pause

    async def killed(self: WorkerEffects, seconds: float) -> float:
        monkeypatch.setattr(WorkerEffects, "pause", pause)
        raise KeyboardInterrupt

    monkeypatch.setattr(WorkerEffects, "pause", killed)
    with pytest.raises(KeyboardInterrupt):
        scene.attempt()

    played = scene.play(max_cost=0.01)

    assert paid_once(scene, played, sent=2)
    assert KEY not in json.dumps(scene.record or {})
