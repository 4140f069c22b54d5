"""A try of a batch that ends in the middle: what was paid for is found, and nothing is paid for twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.batch import limits
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks.effects import WorkerEffects

from .batch_scene import PROMPTS, Batch, Life, all_kept
from .scene import all_modes, by_call, by_queue


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    return cast_batch()


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(monkeypatch)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a broken hub again soon; how long it is left alone, test_limits.py tells."""
    monkeypatch.setattr(limits, "PAUSE", 0.05)


def is_write_of(ending: str):
    return lambda this, name, *_: name.endswith(ending)


def is_paid(this: Client, call, *_):
    return call.paid


STEPS = {
    "before an intent": (LocalFolder, "create", False, is_write_of(".job.json")),
    "after an intent": (LocalFolder, "create", True, is_write_of(".job.json")),
    "before a record is written": (LocalFolder, "put", False, is_write_of(".job.json")),
    "after a record is written": (LocalFolder, "put", True, is_write_of(".job.json")),
    "before an image": (LocalFolder, "create", False, is_write_of(".webp")),
    "between image and sidecar": (LocalFolder, "create", True, is_write_of(".webp")),
    "before a record is removed": (LocalFolder, "remove", False, is_write_of(".job.json")),
}
"""Where the third row's work ends, and with it everything."""


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        *(("deferred", step) for step in STEPS),
        ("polled", "after an intent"),
        ("polled", "after a record is written"),
        ("polled", "between image and sidecar"),
    ],
)
def test_try_that_died_in_the_middle_costs_nothing_twice(batch, life, step):
    kind, method, after, when = STEPS[step]
    life.ends_at(kind, method, 3, after=after, when=when)
    batch.between = life.begins_again

    played = batch.play()

    assert len(played.errors) == 1
    assert all_kept(batch, played)


@by_queue
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_try_that_died_at_a_request_costs_nothing_twice(batch, life, after):
    life.ends_at(AsyncClient, "_attempt", 3, after=after, when=is_paid)
    batch.between = life.begins_again

    # Exactly what it costs: what was not sent after all is not counted.
    played = batch.play(max_cost=0.06)

    assert len(played.errors) == 1
    assert all_kept(batch, played)


@pytest.mark.parametrize(
    ("mode", "name", "number"),
    [
        *(
            ("deferred", name, number)
            for name in ("manifest.jsonl", "index.html", "summary.json")
            for number in (1, 2)
        ),
        ("polled", "summary.json", 2),
        ("synchronous", "manifest.jsonl", 2),
    ],
)
def test_try_that_died_while_it_told_of_the_batch_is_told_again(batch, life, name, number):
    life.ends_at(LocalFolder, "put", number, when=is_write_of(name))
    batch.between = life.begins_again

    played = batch.play()

    assert len(played.errors) == 1
    assert all_kept(batch, played)


@pytest.mark.parametrize("mode", ["deferred"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_try_that_died_at_the_record_of_its_deferral_defers_again(batch, life, after):
    life.ends_at(LocalFolder, "put", after=after, when=lambda this, name, *_: name.startswith(".batch-"))
    batch.between = life.begins_again

    played = batch.play()

    assert len(played.errors) == 1
    assert all_kept(batch, played)


@by_call
def test_synchronous_call_that_was_under_way_is_unknown_and_not_sent_again(batch, life):
    life.ends_at(AsyncClient, "_attempt", 2, after=True, when=is_paid)
    batch.between = life.begins_again
    batch.arguments["max_in_flight"] = 1

    played = batch.play(on_error="continue")

    assert played.state == "success"
    assert played.result["unknown"] == 1
    assert played.result["not_sent"] == 0
    [failure] = played.result["failures"]
    assert failure["line"] == 2
    assert "may have been paid for" in failure["error"]
    assert set(batch.asked.values()) == {1}
    assert len(batch.asked) == 6

    played = batch.clear(on_unknown_outcome="resubmit")
    assert played.state == "success"
    assert batch.asked[PROMPTS[1]] == 2
    assert batch.left == []


@by_call
def test_synchronous_call_that_the_history_shows_is_found(batch, life):
    batch.hub.settings.history_shows_generate = True
    life.ends_at(AsyncClient, "_attempt", 2, after=True, when=is_paid)
    batch.between = life.begins_again
    batch.arguments["max_in_flight"] = 1

    assert all_kept(batch, batch.play())


@by_call
def test_first_unknown_row_stops_the_batch_and_says_how_to_go_on(batch, life):
    batch.hub.fail(Fault("drop_after", on="generate"))
    batch.retries = batch.max_tries = 0

    played = batch.play(max_in_flight=1)

    assert played.state == "failed"
    assert "on_unknown_outcome" in played.error
    assert batch.posts() == 1


@by_queue
def test_answers_that_were_lost_are_looked_up_together(batch):
    batch.hub.fail(Fault("drop_after", on="enqueue", times=3))

    assert all_kept(batch, batch.play())
    lists = [seen for seen in batch.hub.requests() if seen["path"] == "/api/ai/generations"]
    assert len(lists) <= 3


@by_queue
def test_requests_that_never_came_are_sent_again(batch):
    batch.hub.fail(Fault("drop_before", on="enqueue", times=3))

    assert all_kept(batch, batch.play())
    assert batch.posts() == 9


@by_queue
def test_rows_that_nothing_tells_apart_do_not_share_a_generation(batch):
    # The model takes no seed: which of the two was lost, nobody can tell.
    batch.hub.fail(Fault("drop_after", on="enqueue"))
    batch.retries = batch.max_tries = 0

    played = batch.play(
        prompts=["A red cube"] * 3, model="gpt-image-2", on_unknown_outcome="adopt", max_in_flight=1
    )

    assert played.state == "success", played.error
    assert len({line["generation_id"] for line in batch.manifest}) == 3
    assert len(batch.hub.ledger()) == 3


@pytest.mark.parametrize("mode", ["deferred"])
def test_deferral_tells_nothing_but_names(batch):
    seen = []

    def look() -> None:
        [name] = [name for name in batch.left if name.startswith(".batch-")]
        header, *rows = map(json.loads, (batch.out / name).read_text().splitlines())
        seen.append((header["rows"], sum("generation" in row for row in rows)))
        assert {line["status"] for line in batch.manifest} == {"unknown"}
        assert batch.summary["finished"] is False
        batch.later()

    batch.deferring = look

    assert all_kept(batch, batch.play())
    assert seen == [(6, 6)]


@pytest.mark.parametrize("mode", ["deferred"])
def test_triggerer_that_could_not_look_leaves_it_to_the_worker(batch):
    batch.meanwhile = lambda event: {**event, "status": "unreachable", "message": "no route to the store"}

    assert all_kept(batch, batch.play())
    assert "no route to the store" in batch.logged


@pytest.mark.parametrize("mode", ["deferred"])
def test_record_that_is_damaged_stops_without_spending(batch):
    def damage(event):
        next(batch.out.glob(".batch-*")).write_text('{"format": "another"}\n')
        return event

    batch.meanwhile = damage
    batch.retries = batch.max_tries = 0

    played = batch.play()

    assert played.state == "failed"
    assert "is damaged" in played.error
    assert "may have been paid for" in played.error
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@pytest.mark.parametrize("mode", ["deferred"])
def test_input_that_changed_meanwhile_is_the_one_that_was_asked_for(batch):
    def change(event):
        batch.arguments["prompts"] = ["Something else"]
        return event

    batch.meanwhile = change

    assert all_kept(batch, batch.play())


@pytest.mark.parametrize("mode", ["deferred"])
def test_jobs_that_take_too_long_are_left_to_the_next_try(batch):
    batch.slow()
    batch.retries = batch.max_tries = 0

    played = batch.play(timeout=0.3)

    assert "6 of 6 prompts gave no image (6 unknown)" in played.error
    assert {line["status"] for line in batch.manifest} == {"unknown"}
    batch.quick()
    assert all_kept(batch, batch.clear(timeout=60))


@by_queue
def test_job_that_fails_is_asked_for_again_by_the_next_try(batch):
    batch.hub.fail(Fault("fails", on="enqueue", prompt="number 3"))

    played = batch.play(on_error="continue", max_failures=0)

    assert len(played.errors) == 1
    assert "(1 failed" in str(played.errors[0])
    assert played.state == "success"
    assert all_kept(batch, played)


@by_queue
def test_row_is_taken_over_by_another_run(batch, life):
    batch.retries = batch.max_tries = 0
    life.ends_at(LocalFolder, "put", 2, after=True, when=is_write_of(".job.json"))
    batch.play()
    life.begins_again()

    assert all_kept(batch, batch.next_run())


@all_modes
def test_task_that_is_told_to_stop_ends_soon_and_the_next_goes_on(batch):
    batch.retries = batch.max_tries = 0
    real = WorkerEffects.send
    stopped: list[Any] = []

    def stopping(self, record):
        if not stopped:
            stopped.append(1)
            batch.operator.on_kill()
        return real(self, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerEffects, "send", stopping)
        played = batch.play()

    assert played.state == "failed"
    assert "the task was stopped" in played.error
    assert all_kept(batch, batch.clear())
