"""A record that somebody has altered leads to no second payment, and does not pass unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.jobs.stores import KEY as RECORD

from .batch_scene import PROMPTS, Batch, Life, all_kept
from .scene import STORE, Scene, dies, paid_once, stopped

everywhere = pytest.mark.parametrize("home", [*STORE, *(["both"] if STORE else []), "file"])
polled = pytest.mark.parametrize("mode", ["polled"])
called = pytest.mark.parametrize("mode", ["synchronous"])

Change = Callable[[dict[str, Any]], None]


def alter(scene: Scene, change: Change) -> int:
    """Alter what a task remembers of requests that may have been sent, wherever; return how often."""
    changed = 0
    for path in scene.out.glob(".*.job.json"):
        record = json.loads(path.read_text())
        if record["phase"] == "intent":
            change(record)
            path.write_text(json.dumps(record))
            changed += 1
    if scene.store and not isinstance(scene, Batch):
        record = scene.store.get(RECORD)
        assert record["phase"] == "intent"
        change(record)
        scene.store.values[RECORD] = json.dumps(record)
        changed += 1
    assert changed, "nothing may have been sent"
    return changed


def body(**parameters: Any) -> Change:
    def change(record: dict[str, Any]) -> None:
        record["body"] |= parameters

    return change


def another_seed(record: dict[str, Any]) -> None:
    record["body"]["seed"] += 1


def drawn_seed(record: dict[str, Any]) -> None:
    another_seed(record)
    del record["counter"]


def no_seed(record: dict[str, Any]) -> None:
    del record["body"]["seed"]


def queued(record: dict[str, Any]) -> None:
    record["endpoint"] = "queue"


@pytest.fixture
def placed(scene: Scene) -> Scene:
    """The scene; where the home is "both", with a store beside the files."""
    if scene.home == "both":
        from .scene import Store

        scene.store = Store()
        scene.arguments["storage_path"] = f"{scene.out}/cube"
    return scene


@everywhere
@polled
@pytest.mark.parametrize("change", [another_seed, drawn_seed, no_seed])
def test_job_whose_seed_was_altered_on_record_is_found(placed, change, monkeypatch):
    dies(monkeypatch, "send", after=True)
    placed.between = lambda: alter(placed, change)

    played = placed.play()

    assert paid_once(placed, played)
    assert played.result["seed"] == placed.hub.ledger()[0]["seed"]


@everywhere
@polled
@pytest.mark.parametrize(
    "change", [body(guidance_scale=9), body(num_inference_steps=50)], ids=["new", "other"]
)
def test_altered_parameter_spends_nothing_and_is_told(placed, change, monkeypatch):
    placed.arguments["num_inference_steps"] = 4
    dies(monkeypatch, "send", after=True)
    placed.between = lambda: alter(placed, change)

    assert "somebody changed it" in stopped(placed, placed.play(), sent=1)


@everywhere
@polled
def test_altered_seed_of_a_request_that_was_never_sent_is_told(placed, monkeypatch):
    dies(monkeypatch, "send")
    placed.between = lambda: alter(placed, another_seed)

    assert "somebody changed the record" in stopped(placed, placed.play(), sent=0)


@everywhere
@called
@pytest.mark.parametrize("change", [another_seed, queued])
def test_altered_record_of_a_synchronous_call_is_not_sent_again(placed, change, monkeypatch):
    dies(monkeypatch, "send", after=True)
    placed.between = lambda: alter(placed, change)

    assert "may have been paid for" in stopped(placed, placed.play(), sent=1)


@everywhere
@polled
def test_honest_record_of_a_request_that_the_schema_coerced_is_gone_on_with(placed, monkeypatch):
    """Rendered to text, and sent as a number."""
    placed.arguments |= {"model": "ideogram-v4", "model_params": {"num_images": " 1 "}}
    dies(monkeypatch, "send", after=True)

    assert paid_once(placed, placed.play())
    assert placed.hub.ledger()[0]["request"]["num_images"] == 1


@polled
def test_record_that_is_altered_while_the_task_waits_is_not_gone_on_with(placed, monkeypatch):
    placed.arguments["deferrable"] = True
    placed.hub.settings.latency = 600

    def meanwhile(event: Any) -> Any:
        record = placed.record
        assert record is not None
        placed.remember({**record, "body": {**record["body"], "prompt": "Another"}})
        return event

    placed.meanwhile = meanwhile
    placed.deferring = placed.later

    assert "somebody changed it" in stopped(placed, placed.play(), sent=1)


def is_paid(this: Client, call: Any, *_: Any) -> bool:
    return bool(call.paid)


@polled
@pytest.mark.parametrize("change", [another_seed, drawn_seed, no_seed])
def test_row_whose_seed_was_altered_on_record_is_found(cast_batch, change, monkeypatch):
    batch = cast_batch()
    life = Life(monkeypatch)
    life.ends_at(AsyncClient, "_attempt", 3, after=True, when=is_paid)

    def between() -> None:
        life.begins_again()
        alter(batch, change)

    batch.between = between

    assert all_kept(batch, batch.play())


@polled
def test_row_whose_parameter_was_altered_spends_nothing_and_is_told(cast_batch, monkeypatch):
    batch: Batch = cast_batch()
    life = Life(monkeypatch)
    life.ends_at(AsyncClient, "_attempt", 3, after=True, when=is_paid)
    altered: list[int] = []

    def between() -> None:
        life.begins_again()
        altered.append(alter(batch, body(quality="max")))

    batch.between = between

    played = batch.play(on_error="continue")

    assert played.state == "success", played.error
    told = [line for line in batch.manifest if "somebody changed it" in line.get("error", "")]
    assert len(told) == altered[0] > 0
    assert max(batch.asked.values()) == 1
    assert len(batch.asked) >= len(PROMPTS) - altered[0]
