"""Spent is spent: manifest, summary, contact sheet, XCom, metrics and log agree with the hub to the cent."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import Fault

from .batch_scene import Batch, Life
from .scene import KEY, by_queue

FATES: dict[str, Fault | None] = {
    "comes": None,
    "comes, too": None,
    "fails": Fault("fails", on="enqueue", prompt="fails", times=None),
    "is refused": Fault("status", on="enqueue", prompt="is refused", status=422, times=None),
    "is no image": Fault("not_an_image", on="enqueue", prompt="is no image", times=None),
    "is cut": Fault("truncated", on="enqueue", prompt="is cut", times=None),
    "has no link": Fault("without_url", on="enqueue", prompt="has no link", times=None),
    "is cancelled": Fault("is_cancelled", on="enqueue", prompt="is cancelled", times=None),
    "hangs": Fault("hangs", on="enqueue", prompt="hangs", times=None),
}
"""Prompts, and what becomes of each."""

PAID = {"is no image", "is cut", "has no link"}
"""Those that gave no image, and that the hub bills all the same."""


class Counted:
    """Airflow's metrics."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def incr(self, name: str, count: int, tags: Any = None) -> None:
        self.counts[name] = self.counts.get(name, 0) + count

    def timing(self, *_: Any, **__: Any) -> None:
        """Count nothing."""

    def gauge(self, *_: Any, **__: Any) -> None:
        """Count nothing."""

    @property
    def cost(self) -> float:
        return self.counts.get("oxen.cost.microdollars", 0) / 1_000_000


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", made, raising=False)
    return made


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    return cast_batch(on_error="continue", timeout=2)


def billed(batch: Batch) -> float:
    """What the hub says that it has charged in all."""
    answer = httpx.get(
        f"{batch.hub.url}/api/ai/generations",
        params={"page_size": 1000},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return float(answer.json()["total_cost"])


def told(batch: Batch, result: Any) -> float:
    """What the batch has cost, which all that it has left must agree upon."""
    lines = [line for line in batch.manifest if line["status"] != "reused"]
    total = float(sum(Decimal(str(line.get("cost", 0))) for line in lines))
    assert batch.summary["cost"] == total
    assert f"<dt>Cost</dt><dd>${total:.2f}" in (batch.out / "index.html").read_text()
    if result is not None:
        assert result["cost"] == total
    return total


def fated(batch: Batch) -> list[str]:
    for fault in FATES.values():
        if fault is not None:
            batch.hub.fail(fault)
    return list(FATES)


@by_queue
@pytest.mark.parametrize("bills", ["success", "enqueue"])
def test_books_agree_whatever_became_of_the_prompts(batch, counted, bills):
    batch.hub.settings.queue_bills = bills
    batch.retries = batch.max_tries = 0

    played = batch.play(prompts=fated(batch))

    assert played.state == "success", played.error
    total = told(batch, played.result)
    assert total == counted.cost == billed(batch) == (0.08 if bills == "enqueue" else 0.05)
    assert f"${total:.2f} so far" in batch.logged or bills == "success"
    paid = PAID | ({"fails", "is cancelled", "hangs"} if bills == "enqueue" else set())
    failures = {failure["line"]: failure for failure in played.result["failures"]}
    for number, line in enumerate(batch.manifest, 1):
        if line["prompt"] in paid:
            assert {line[name] for name in ("seed", "generation_id", "cost")} <= set(
                failures[number].values()
            ), line
            assert line["cost"] == 0.01
    sheet = (batch.out / "index.html").read_text()
    for line in batch.manifest:
        if line["prompt"] in paid:
            assert line["generation_id"] in sheet
    assert "cost" not in batch.manifest[3]
    assert "generation_id" not in batch.manifest[3]


@by_queue
def test_prompt_that_was_paid_for_twice_is_told_with_both(batch, counted):
    """A failed job may be billed; the next try asks anew."""
    batch.hub.settings.queue_bills = "enqueue"
    batch.hub.fail(Fault("fails", on="enqueue", prompt="number 3"))

    played = batch.play(max_failures=0)

    assert played.state == "success", played.error
    assert len(played.errors) == 1
    assert "spent so far" in str(played.errors[0])
    assert told(batch, played.result) == counted.cost == billed(batch) == 0.07
    assert batch.manifest[2]["cost"] == 0.02


@by_queue
def test_process_that_died_is_made_good_in_the_books(batch, counted, monkeypatch):
    life = Life(monkeypatch)
    life.ends_at(LocalFolder, "put", 3, after=True, when=lambda this, name, *_: name.endswith(".webp"))
    batch.between = life.begins_again

    played = batch.play()

    assert played.state == "success", played.error
    assert told(batch, played.result) == billed(batch) == 0.06


@by_queue
def test_what_was_there_costs_nothing_again(batch, counted):
    batch.play(prompts=["one", "two"])

    played = batch.next_run(prompts=["one", "two", "three"])

    assert played.result["cost"] == told(batch, played.result) == 0.01
    assert counted.cost == billed(batch) == 0.03


@pytest.mark.parametrize("mode", ["synchronous"])
def test_call_that_was_paid_for_and_gave_no_image_is_of_unknown_cost(batch, counted):
    batch.hub.fail(Fault("not_an_image", on="generate", prompt="number 2", times=None))
    batch.retries = batch.max_tries = 0

    played = batch.play()

    assert (played.result["generated"], played.result["failed"] + played.result["unknown"]) == (5, 1)
    assert played.result["cost_unknown"] == 6


@pytest.mark.parametrize("mode", ["deferred"])
def test_sums_go_on_after_a_deferral(batch, counted):
    batch.hub.fail(Fault("status", on="enqueue", prompt="number 1", status=422, times=None))

    played = batch.play()

    assert played.state == "success"
    assert "$0.00 so far" not in str(batch.logged)
    assert str(batch.logged).count("$0.05 so far") >= 2
    assert counted.counts["oxen.images.failed"] == 1
    assert counted.counts["oxen.images.generated"] == 5


@by_queue
def test_many_small_prices_do_not_drift(batch, counted):
    entry = next(entry for entry in batch.hub.settings.catalogue if entry["id"] == "z-image-turbo")
    entry["pricing"] = {"method": "per_image", "cost_per_image": 0.1}

    played = batch.play(prompts=[f"Ball {number}" for number in range(3)], max_cost=0.3)

    assert played.state == "success", played.error
    assert told(batch, played.result) == counted.cost == billed(batch) == 0.3
