"""What a batch says of itself in numbers when it ends before it has summed up: never a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.plugins.facts import Facts, read_facts
from airflow_provider_oxen.tasks import facts as module
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.facts import FACTS

from .batch_scene import PROMPTS, Batch
from .scene import Struck, all_modes, by_call

by_deferral = pytest.mark.parametrize("mode", ["deferred"])


@pytest.fixture
def batch(cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setattr(module, "has_views", lambda: True)
    made = cast_batch()
    made.retries = made.max_tries = 0
    return made


def told(batch: Batch) -> Facts:
    """Return what the Images view reads: what was pushed last."""
    facts = read_facts([value for key, value in batch.xcoms if key == FACTS][-1])
    assert facts
    return facts


def sums(facts: Facts) -> dict[str, Any]:
    return {
        name: value
        for name in ("generated", "reused", "failed", "unknown", "not_sent", "cost", "cost_unknown")
        if (value := getattr(facts, name))
    }


def damage(batch: Batch) -> Callable[[Any], Any]:
    def damage(event: Any) -> Any:
        next(batch.out.glob(".batch-*")).write_text("{}\n")
        return event

    return damage


@by_deferral
def test_failure_after_a_deferral_counts_its_rows_as_the_deferral_left_them(batch):
    batch.play(prompts=PROMPTS[:2])
    batch.hub.fail(Fault("status", status=422, on="enqueue", prompt="number 6", times=None))
    batch.meanwhile = damage(batch)

    played = batch.next_run(prompts=PROMPTS, on_error="continue")

    assert "is damaged" in played.error
    facts = told(batch)
    assert facts.total == 6
    assert sums(facts) == {"reused": 2, "failed": 1, "unknown": 3}
    assert [failure.prompt for failure in facts.failures if failure.status == "failed"] == [PROMPTS[5]]
    assert (facts.paid, facts.index) == ("Perhaps paid", f"{batch.out}/index.html")
    assert "is damaged" in (facts.error or "")


@by_deferral
def test_failure_after_a_deferral_of_which_nothing_is_told_counts_nothing(batch, monkeypatch):
    batch.meanwhile = damage(batch)
    # As a custom XCom backend may.
    monkeypatch.setattr(type(batch), "_pull", lambda *_, **__: 1 / 0)

    batch.play()

    facts = told(batch)
    assert (facts.uncounted, sums(facts), facts.paid) == (True, {}, "Perhaps paid")


def test_first_try_that_fails_before_it_knows_its_rows_counts_nothing(batch):
    batch.play(prompts="/there/is/no/such.jsonl")

    facts = told(batch)
    assert (facts.uncounted, sums(facts), facts.paid) == (True, {}, "Nothing spent")


def test_another_try_that_fails_before_it_knows_its_rows_says_that_money_may_be_spent(batch):
    batch.play(prompts=PROMPTS[:2])
    batch.clear(prompts="/there/is/no/such.jsonl")

    facts = told(batch)
    assert (facts.uncounted, sums(facts), facts.paid) == (True, {}, "Perhaps paid")


@all_modes
def test_sums_that_cannot_be_written_down_are_told(batch, monkeypatch):
    real = LocalFolder.put
    # The first is written before anything is sent.
    last = 3 if batch.mode == "deferred" else 2
    seen: list[str] = []

    def failing(self: Any, name: str, *arguments: Any, **more: Any) -> None:
        seen.append(name)
        if name == "manifest.jsonl" and seen.count(name) == last:
            raise OSError("no space")
        real(self, name, *arguments, **more)

    monkeypatch.setattr(LocalFolder, "put", failing)

    played = batch.play()

    assert "cannot be written" in played.error
    facts = told(batch)
    # The synchronous endpoint names no price.
    costs = {"cost_unknown": 6} if batch.mode == "synchronous" else {"cost": pytest.approx(batch.hub.spent())}
    assert sums(facts) == {"generated": 6, **costs}
    assert "cannot be written" in (facts.error or "")


def test_batch_that_costs_too_much_has_sent_nothing(batch):
    played = batch.play(max_cost=0.001)

    assert played.state == "failed"
    facts = told(batch)
    assert (sums(facts), facts.paid) == ({"failed": 6, "not_sent": 6}, "Nothing spent")


@by_call
def test_time_that_is_over_counts_what_is_known_by_then(batch, monkeypatch):
    real = Progress.tick

    def tick(self: Any) -> None:
        real(self)
        if self.tally.ended == 2:
            raise Struck("AirflowTaskTimeout")

    monkeypatch.setattr(Progress, "tick", tick)

    batch.play(max_in_flight=1)

    facts = told(batch)
    assert facts.generated >= 2
    assert facts.generated + facts.unknown == facts.total == 6
    # What it has written down by then says the same.
    assert sums(facts).items() <= batch.summary.items()


@by_call
def test_worker_that_dies_leaves_rows_that_are_unknown(batch, monkeypatch):
    def die(*_: Any) -> None:
        # Nothing more is told.
        monkeypatch.setattr(type(batch), "_push", lambda *_: None)
        raise Struck("SIGKILL")

    monkeypatch.setattr(WorkerEffects, "send", die)

    batch.play()

    assert sums(told(batch)) == {"unknown": 6}


@all_modes
def test_batch_that_is_told_to_stop_counts_its_rows(batch, monkeypatch):
    real = WorkerEffects.send

    def stopping(self: Any, record: Any) -> Any:
        batch.operator.on_kill()
        return real(self, record)

    monkeypatch.setattr(WorkerEffects, "send", stopping)

    played = batch.play()

    assert "the task was stopped" in played.error
    facts = told(batch)
    assert (facts.uncounted, facts.total) == (False, 6)
    assert facts.generated + facts.failed + facts.unknown == 6
    assert facts.failed == facts.not_sent
