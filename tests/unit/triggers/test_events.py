"""Events: what is told is understood, and what an unknown event is an error that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from airflow_provider_oxen.api.errors import OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import End, Status
from airflow_provider_oxen.triggers.events import (
    BatchEnd,
    BatchStatus,
    ModelEnd,
    ModelStatus,
    batch_event,
    ended_event,
    generation_event,
    model_event,
    read_batch_event,
    read_event,
    read_model_event,
)

GOOD = generation_event("8d1f", "succeeded")
GOOD_MODEL = model_event("klein", "ready")
GOOD_BATCH = batch_event(".batch-5e.jsonl", 7, "ended", ended=7)


def harmed(good: Mapping[str, Any], about: str) -> dict[str, Any]:
    return {
        "none": None,
        "text": "succeeded",
        "list": [good],
        "empty": {},
        "another_kind": {**good, "event": "airflow-provider-oxen/generation/2"},
        "no_kind": {key: value for key, value in good.items() if key != "event"},
        "another_subject": {**good, about: "9e2a"},
        "no_subject": {key: value for key, value in good.items() if key != about},
        "another_status": {**good, "status": "exploded"},
        "odd_status": {**good, "status": ["succeeded"]},
        "no_status": {key: value for key, value in good.items() if key != "status"},
        "odd_message": {**good, "message": {"text": "secret"}},
    }


BAD = harmed(GOOD, "generation_id")
BAD_MODEL = harmed(GOOD_MODEL, "model")
BAD_BATCH = harmed(GOOD_BATCH, "record")


@pytest.mark.parametrize("status", get_args(Status))
def test_every_end_of_a_generation_is_understood(status):
    end = End(status, "a reason")

    assert read_event(generation_event("8d1f", *end), "8d1f") == end


@pytest.mark.parametrize("retryable", [True, False, None])
def test_verdict_on_a_failure_travels(retryable):
    end = End("failed", "a reason", retryable)

    assert read_event(generation_event("8d1f", *end), "8d1f") == end


@pytest.mark.parametrize("told", ["false", 0, {}, None])
def test_odd_verdict_is_none(told):
    assert read_event({**GOOD, "retryable": told}, "8d1f") == End("succeeded")


@pytest.mark.parametrize("status", get_args(ModelStatus))
def test_every_end_of_a_model_is_understood(status):
    end = ModelEnd(status, "a reason")

    assert read_model_event(model_event("klein", *end), "klein") == end


@pytest.mark.parametrize("status", get_args(BatchStatus))
def test_every_end_of_a_batch_is_understood(status):
    end = BatchEnd(status, "a reason")

    assert read_batch_event(batch_event(".batch-5e.jsonl", 7, *end, ended=5), ".batch-5e.jsonl") == end


def test_event_of_a_batch_tells_how_many_ended_and_not_which():
    assert batch_event(".batch-5e.jsonl", 10_000, "timed_out", "late", ended=7_200) == {
        "event": "airflow-provider-oxen/batch/1",
        "record": ".batch-5e.jsonl",
        "status": "timed_out",
        "message": "late",
        "jobs": 10_000,
        "ended": 7_200,
    }


def test_event_without_a_message_is_understood():
    event = {key: value for key, value in GOOD.items() if key != "message"}

    assert read_event(event, "8d1f") == End("succeeded")


def test_what_a_later_version_adds_is_passed_over():
    assert read_event({**GOOD, "cost": "0.01"}, "8d1f") == End("succeeded")


@pytest.mark.parametrize("event", BAD.values(), ids=BAD)
def test_event_that_is_not_understood_says_what_may_have_been_paid_for(event):
    with pytest.raises(OxenPollError) as caught:
        read_event(event, "8d1f")

    message = str(caught.value)
    assert "an unknown event" in message
    assert message.startswith("An image may have been paid for. The next try looks for it. ")
    assert "secret" not in message
    assert caught.value.retry_helps


@pytest.mark.parametrize("event", BAD_MODEL.values(), ids=BAD_MODEL)
def test_model_event_that_is_not_understood_is_an_error(event):
    with pytest.raises(OxenPollError, match="an unknown event"):
        read_model_event(event, "klein")


@pytest.mark.parametrize("event", BAD_BATCH.values(), ids=BAD_BATCH)
def test_batch_event_that_is_not_understood_says_what_may_have_been_paid_for(event):
    with pytest.raises(OxenPollError) as caught:
        read_batch_event(event, ".batch-5e.jsonl")

    message = str(caught.value)
    assert "expected was one of airflow-provider-oxen/batch/1 about .batch-5e.jsonl" in message
    assert message.startswith("The batch's generations may have been paid for. The next try looks for them. ")
    assert "secret" not in message
    assert caught.value.retry_helps


def test_event_of_a_generation_is_none_of_a_batch():
    with pytest.raises(OxenPollError):
        read_batch_event(GOOD, "8d1f")


KEY = "events-key-that-must-not-leak"
register_key(KEY)
DIRTY = f"{KEY} https://store.example/a.png?X-Amz-Signature=5f1c2d3e"
CLEAN = "*** https://store.example/a.png"


def test_event_of_an_asset_tells_no_secret_in_any_of_its_fields():
    row = Generation.model_validate(
        {
            "generation_id": "g-1",
            "status": "failed",
            "model_name": DIRTY,
            "media_type": DIRTY,
            "target_namespace": DIRTY,
            "error": DIRTY,
        }
    )

    event = ended_event(row, None, Settings(api_key=KEY).redact)

    assert [event[name] for name in ("model", "media_type", "namespace", "message")] == [CLEAN] * 4
    assert ended_event(Generation(generation_id="g-1"), None, str)["model"] is None


def test_message_of_an_event_that_an_earlier_version_sent_is_redacted():
    Settings(api_key=KEY)
    sent = generation_event("g-1", "failed", DIRTY)

    assert read_event(sent, "g-1").message == CLEAN
