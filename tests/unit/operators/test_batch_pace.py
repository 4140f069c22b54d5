"""A hub that struggles slows the whole batch, and nothing is burnt through; what comes back is fast again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from airflow_provider_oxen.batch import limits
from airflow_provider_oxen.localhub import Fault

from .batch_scene import PROMPTS, Batch, all_kept
from .scene import by_call, by_queue


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    made = cast_batch()
    made.retries = made.max_tries = 0
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(limits, "PAUSE", 0.2)
    monkeypatch.setattr(limits, "BACK_OFF", 0.2)


def posts(batch: Batch) -> list[int]:
    """The statuses of the paid requests, in their order."""
    return [seen["status"] for seen in batch.hub.requests() if seen["method"] == "POST"]


@by_queue
def test_one_429_holds_back_all_prompts_for_as_long_as_the_hub_asks(batch):
    batch.hub.fail(Fault("status", on="enqueue", status=429, headers={"Retry-After": "1"}))
    began = time.monotonic()

    played = batch.play(max_in_flight=1)

    assert all_kept(batch, played)
    assert time.monotonic() - began >= 1
    assert posts(batch) == [429, *[200] * 6]
    assert "The hub asks for fewer requests: the batch waits 1 s" in batch.logged


def test_rate_limit_of_a_hub_is_kept_to(batch, hasty):
    batch.hub.settings.rate_limit, batch.hub.settings.rate_window = 2, 1.0

    played = batch.play(max_in_flight=6)

    assert all_kept(batch, played)
    assert posts(batch).count(200) == 6


@by_queue
def test_rows_that_are_told_to_wait_go_before_those_that_come_after_them(batch, hasty):
    batch.hub.fail(Fault("status", on="enqueue", status=429, headers={"Retry-After": "0"}, times=4))

    # A fifth row waits for a place at the hub while all four there are told to send again.
    played = batch.play(max_in_flight=4)

    assert all_kept(batch, played)
    assert posts(batch).count(429) == 4


def test_hub_that_asks_for_an_hour_gives_the_worker_back(batch):
    batch.hub.fail(Fault("status", on="enqueue", status=429, times=None, headers={"Retry-After": "3600"}))

    played = batch.play()

    assert played.state == "failed"
    [error] = played.errors
    assert error.retry_helps
    assert error.retry_after == 3600
    assert "the hub accepts nothing for 10 minutes or longer" in played.error
    assert batch.hub.ledger() == []
    assert {record["phase"] for record in batch.records} == {"not_sent"}


@by_call
def test_run_of_failures_pauses_and_probes_instead_of_burning_through_the_prompts(batch, monkeypatch):
    monkeypatch.setattr(limits, "PAUSE", 0.05)
    batch.hub.fail(
        Fault("status", on="generate", status=426, body={"error": {"type": "migration_required"}}, times=8)
    )

    began = time.monotonic()

    played = batch.play(max_in_flight=3)

    assert all_kept(batch, played)
    # The sum of the pauses, without those of two failures that were under way at the first.
    assert time.monotonic() - began >= 0.75
    # Three that were under way, and from then on one at a time.
    assert len(posts(batch)) == 14


@by_call
def test_lost_answers_of_a_broken_hub_cost_few_prompts(batch, monkeypatch):
    monkeypatch.setattr(limits, "PAUSE", 0.3)
    monkeypatch.setattr(limits, "PATIENCE", 0.5)
    batch.hub.fail(Fault("status", on="generate", status=500, times=None))
    prompts = [f"A red cube, number {number}" for number in range(40)]

    played = batch.play(prompts=prompts, max_in_flight=3, on_error="continue")

    assert played.state == "failed"
    assert len(posts(batch)) <= 6
    assert batch.summary["not_sent"] >= 34


@by_queue
def test_credits_that_run_out_stop_the_batch_at_once_and_leave_it_to_be_resumed(batch):
    batch.hub.settings.credits = 0.025

    played = batch.play(max_in_flight=1, on_error="continue")

    assert played.state == "failed"
    assert "Nothing more was sent: the account that is billed is out of credits" in played.error
    assert posts(batch).count(200) <= 3
    kept = len(batch.hub.ledger())
    assert kept == 2
    batch.hub.settings.credits = 1
    assert all_kept(batch, batch.clear())


def test_requests_go_out_as_slowly_as_is_wanted(batch):
    began = time.monotonic()

    played = batch.play(requests_per_minute=300, max_in_flight=6)

    assert all_kept(batch, played)
    assert time.monotonic() - began >= 1.0


def test_wrong_key_stops_the_batch_at_the_first_request(batch, connect):
    connect(batch.hub.url)
    batch.hub.settings.key = "another"

    played = batch.play(on_error="continue", max_in_flight=1)

    assert played.state == "failed"
    assert "the hub does not accept the API key" in played.error
    assert len(posts(batch)) == 1
    assert PROMPTS[0] not in played.error
