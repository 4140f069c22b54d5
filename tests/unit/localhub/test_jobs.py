from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.jobs import Charge, Job, PlannedOutcome
from airflow_provider_oxen.localhub.pictures import Picture

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)
UPSTREAM = "Getting model response error: 500 - upstream"


def job(**arguments) -> Job:
    body = {"model": "z-image-turbo", "prompt": "A red cube"}
    return Job(body, Charge(1000.0, 0.01, "acme", PICTURE, body, "queue"), 1000.0, **arguments)


@pytest.mark.parametrize(
    ("problem", "kind", "outcome"),
    [
        (None, None, PlannedOutcome()),
        ("422", None, PlannedOutcome("failed", "422")),
        (None, "truncated", PlannedOutcome()),
        (None, "fails", PlannedOutcome("failed", UPSTREAM)),
        ("422", "fails", PlannedOutcome("failed", UPSTREAM)),
        ("422", "hangs", PlannedOutcome(None)),
        (None, "is_cancelled", PlannedOutcome("cancelled")),
        (None, "without_url", PlannedOutcome(with_url=False)),
        (None, "odd_status", PlannedOutcome(meanwhile=UPSTREAM)),
        ("422", "odd_status", PlannedOutcome("failed", "422", meanwhile=UPSTREAM)),
    ],
)
def test_outcome_is_made_of_what_the_model_says_and_of_the_fault(problem, kind, outcome):
    assert PlannedOutcome.of(problem, kind and Fault(kind, on="enqueue")) == outcome


def test_job_is_told_to_tests_as_it_is():
    ordered = job()
    ordered.start(1001.5)
    assert len(ordered.id) == 36
    assert ordered.as_dict() == {
        "generation_id": ordered.id,
        "model": "z-image-turbo",
        "namespace": "acme",
        "status": "processing",
        "enqueued_at": 1000.0,
        "started_at": 1001.5,
        "completed_at": None,
        "error_message": None,
        "cost": None,
        "request": {"model": "z-image-turbo", "prompt": "A red cube"},
    }


def test_image_may_be_there_after_a_time_or_after_some_looks():
    late, often, ready = (job().charge for _ in range(3))
    late.spoil(Fault("not_yet", seconds=5.0))
    often.spoil(Fault("not_yet", looks=2))

    assert ready.is_ready(1000.0)
    assert [late.is_ready(now) for now in (1000.0, 1004.9, 1005.0)] == [False, False, True]
    assert [often.is_ready(1000.0) for _ in range(3)] == [False, False, True]
