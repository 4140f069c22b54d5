"""Events: what is told is understood, and what is not understood is an error that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from airflow_provider_oxen.api.errors import OxenPollError, OxenServerError
from airflow_provider_oxen.jobs.polling import End, Status
from airflow_provider_oxen.triggers.events import (
    BatchEnd,
    BatchStatus,
    ModelEnd,
    ModelStatus,
    batch_event,
    generation_event,
    model_event,
    read_batch_event,
    read_event,
    read_model_event,
    reason,
)

GOOD = generation_event("8d1f", End("succeeded"))
GOOD_MODEL = model_event("klein", ModelEnd("ready"))
GOOD_BATCH = batch_event(".batch-5e.jsonl", BatchEnd("ended"), 7, 7)


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

    assert read_event(generation_event("8d1f", end), "8d1f") == end


@pytest.mark.parametrize("status", get_args(ModelStatus))
def test_every_end_of_a_model_is_understood(status):
    end = ModelEnd(status, "a reason")

    assert read_model_event(model_event("klein", end), "klein") == end


@pytest.mark.parametrize("status", get_args(BatchStatus))
def test_every_end_of_a_batch_is_understood(status):
    end = BatchEnd(status, "a reason")

    assert read_batch_event(batch_event(".batch-5e.jsonl", end, 7, 5), ".batch-5e.jsonl") == end


def test_event_of_a_batch_tells_how_many_ended_and_not_which():
    assert batch_event(".batch-5e.jsonl", BatchEnd("timed_out", "late"), 10_000, 7_200) == {
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
def test_event_that_is_not_understood_says_that_the_job_is_not_lost(event):
    with pytest.raises(OxenPollError) as caught:
        read_event(event, "8d1f")

    message = str(caught.value)
    assert "is not understood" in message
    assert "Nothing was spent by this" in message
    assert "known and not lost: the next try looks at it again" in message
    assert "secret" not in message
    assert caught.value.retry_helps


@pytest.mark.parametrize("event", BAD_MODEL.values(), ids=BAD_MODEL)
def test_model_event_that_is_not_understood_is_an_error(event):
    with pytest.raises(OxenPollError, match="is not understood"):
        read_model_event(event, "klein")


@pytest.mark.parametrize("event", BAD_BATCH.values(), ids=BAD_BATCH)
def test_batch_event_that_is_not_understood_says_that_no_job_is_lost(event):
    with pytest.raises(OxenPollError) as caught:
        read_batch_event(event, ".batch-5e.jsonl")

    message = str(caught.value)
    assert "expected was one of airflow-provider-oxen/batch/1 about .batch-5e.jsonl" in message
    assert "Nothing was spent by this" in message
    assert "known and not lost: the next try looks at them again" in message
    assert "secret" not in message
    assert caught.value.retry_helps


def test_event_of_a_generation_is_none_of_a_batch():
    with pytest.raises(OxenPollError):
        read_batch_event(GOOD, "8d1f")


def test_reason_of_our_errors_is_what_they_say():
    assert reason(OxenServerError("no", status=500)) == "no (HTTP 500)"


def test_reason_of_other_errors_holds_no_signature():
    assert reason(ValueError("https://f.example/a?sig=b")) == "ValueError: https://f.example/a"
