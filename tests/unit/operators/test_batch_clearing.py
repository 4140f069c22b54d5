"""A batch that was cleared asks anew, also where Airflow's ``max_tries`` stays as it is; a retry does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import Fault

from .batch_scene import PROMPTS, Batch, Life
from .scene import STORE, Store

FINAL = Fault("fails", on="enqueue", prompt="number 2", message="Flagged by the safety system", times=None)
PASSING = Fault("fails", on="enqueue", prompt="number 3", message="Worker lost", times=None)

by_deferral = pytest.mark.parametrize("mode", ["deferred"])
MEMORIES = [*STORE, *(f"{name} that is discarded" for name in STORE), "file"]
by_memory = pytest.mark.parametrize("memory", MEMORIES)
# What is remembered of a clearing is told apart before the modes are: each once with the file will do.
by_memory_and_mode = pytest.mark.parametrize(
    ("memory", "mode"),
    [*((memory, "deferred") for memory in MEMORIES), ("file", "polled"), ("file", "synchronous")],
)


@pytest.fixture
def memory() -> str:
    """Where the task remembers its batch."""
    return "file"


@pytest.fixture
def batch(cast_batch: Callable[..., Batch], memory: str, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch with many tries left, so that Airflow need not give new ones to a cleared task."""
    made = cast_batch(max_in_flight=len(PROMPTS))
    made.retries = made.max_tries = 20
    if memory == "file":
        return made
    made.store = store = Store()
    if memory.endswith("discarded"):
        clear = made.clear_without_dag

        def discard(**arguments: Any) -> Any:
            store.values.clear()
            return clear(**arguments)

        monkeypatch.setattr(made, "clear_without_dag", discard)
    return made


def others_are_cleared(batch: Batch) -> None:
    """Let somebody clear other tasks of the Dag run."""
    batch.clear_number += 1


def lost_once(batch: Batch, then: Callable[[], Any] = lambda: None) -> None:
    """Let the next result be lost after all was done, on its way to XCom, and something happen then."""
    attempt: Callable[[], Any] = batch.attempt

    def lost() -> Any:
        attempt()
        batch.__dict__.pop("attempt")
        then()
        raise RuntimeError("the XCom backend is away")

    batch.__dict__["attempt"] = lost


def troubled(batch: Batch) -> None:
    """Let one row end for good, and one fail so that it is tried again, with the batch."""
    batch.hub.fail(FINAL, PASSING)
    batch.arguments |= {"on_error": "continue", "max_failures": 1}


# Rows that ended for good.


@by_deferral
@by_memory
@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_row_that_ended_for_good_is_asked_for_at_each_clearing_and_by_no_retry(batch, on_error):
    batch.hub.fail(FINAL)
    ends = "success" if on_error == "continue" else "failed"

    assert batch.play(on_error=on_error).state == ends
    asked = [batch.posts()]
    for _ in range(3):
        if on_error == "continue":
            lost_once(batch)
        assert batch.clear_without_dag().state == ends
        asked.append(batch.posts())

    assert asked == [6, 7, 8, 9]
    assert batch.max_tries == 20
    batch.hub.clear_faults()
    assert batch.clear_without_dag().result["generated"] == 1
    assert batch.posts() == 10


@by_memory
def test_retry_asks_for_no_row_that_ended_for_good_whoever_else_was_cleared(batch):
    troubled(batch)
    batch.between = lambda: others_are_cleared(batch)

    tried = [batch.once().state]
    for _ in range(3):
        others_are_cleared(batch)
        tried.append(batch.once().state)

    assert tried == ["up_for_retry"] * 4
    assert batch.posts() == 6 + 3


def test_batch_whose_last_try_did_not_end_its_tries_is_tried_again_when_cleared(batch):
    troubled(batch)
    batch.once()
    batch.hub.clear_faults()

    assert batch.clear_without_dag().result["failed"] == 1
    assert batch.posts() == 6 + 1
    assert batch.clear_without_dag().result["failed"] == 0
    assert batch.posts() == 6 + 2


@by_deferral
@by_memory
def test_batch_that_had_no_tries_left_was_over(batch):
    batch.max_tries = 0
    troubled(batch)
    batch.once()
    batch.hub.clear_faults()
    others_are_cleared(batch)

    assert batch.once().state == "success"
    assert batch.posts() == 6 + 2


@by_memory
def test_error_of_a_try_that_sent_nothing_ends_the_tries_too(batch):
    troubled(batch)
    batch.once()
    batch.hub.clear_faults()
    assert batch.once(prompts=str(batch.out / "no such file.jsonl")).state == "failed"

    assert batch.clear_without_dag(prompts=PROMPTS).state == "success"
    assert batch.posts() == 6 + 2


# overwrite=True.


@by_memory_and_mode
def test_overwrite_generates_anew_at_each_clearing_and_by_no_retry(batch):
    batch.play()
    asked = []
    for _ in range(3):
        lost_once(batch)
        assert batch.clear_without_dag(overwrite=True).state == "success"
        asked.append(set(batch.asked.values()))

    assert asked == [{2}, {3}, {4}]
    assert batch.left == []


@by_memory_and_mode
def test_try_that_died_is_none_that_is_over(batch, monkeypatch):
    batch.play(overwrite=True)
    life = Life(monkeypatch)
    life.ends_at(LocalFolder, "put", 3, after=True, when=lambda this, name, *_: is_sidecar(name))

    def between() -> None:
        life.begins_again()
        others_are_cleared(batch)

    batch.between = between

    assert batch.clear_without_dag(max_in_flight=1).state == "success"

    assert life.died
    assert set(batch.asked.values()) == {2}


def is_sidecar(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".") and name != "summary.json"


@by_deferral
def test_deferred_try_is_the_same_when_it_comes_back_whoever_else_was_cleared(batch):
    batch.play()
    lost_once(batch)

    def deferring() -> None:
        others_are_cleared(batch)
        batch.later()

    batch.deferring = deferring

    assert batch.clear_without_dag(overwrite=True).state == "success"

    assert set(batch.asked.values()) == {2}


@by_deferral
@pytest.mark.parametrize("memory", [*STORE, "file"])
def test_folder_that_is_begun_anew_is_begun_by_the_same_try(batch):
    batch.play()
    batch.max_tries = batch.try_number
    gone = iter([True])

    def lose(event: Any) -> Any:
        if next(gone, False):
            others_are_cleared(batch)
            shutil.rmtree(batch.out)
        return event

    batch.meanwhile = lose

    played = batch.clear_without_dag(overwrite=True, on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert batch.summary["clearing"] == f"{batch.identity[:16]}.1"


def test_clearing_is_remembered_where_another_batch_replaces_the_summary(batch):
    batch.play()

    def other() -> None:
        mine = (batch.run_id, batch.try_number, batch.max_tries, batch.clear_number)
        batch.next_run(prompts=["A blue ball"])
        batch.run_id, batch.try_number, batch.max_tries, batch.clear_number = mine
        batch.arguments["prompts"] = PROMPTS

    lost_once(batch, other)

    assert batch.clear_without_dag(overwrite=True).state == "success"
    assert {prompt: batch.asked[prompt] for prompt in PROMPTS} == dict.fromkeys(PROMPTS, 2)
