from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.job import Fate, Job
from airflow_provider_oxen.localhub.ledger import Billed
from airflow_provider_oxen.localhub.picture import Picture

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)
UPSTREAM = "Getting model response error: 500 - upstream"


def job(**arguments) -> Job:
    body = {"model": "z-image-turbo", "prompt": "A red cube"}
    return Job(body, Billed(1000.0, 0.01, "acme", PICTURE, body, "queue"), 1000.0, **arguments)


@pytest.mark.parametrize(
    ("problem", "kind", "fate"),
    [
        (None, None, Fate()),
        ("422", None, Fate("failed", "422")),
        (None, "truncated", Fate()),
        (None, "fails", Fate("failed", UPSTREAM)),
        ("422", "fails", Fate("failed", UPSTREAM)),
        ("422", "hangs", Fate(None)),
        (None, "is_cancelled", Fate("cancelled")),
        (None, "without_url", Fate(with_url=False)),
        (None, "odd_status", Fate(meanwhile=UPSTREAM)),
        ("422", "odd_status", Fate("failed", "422", meanwhile=UPSTREAM)),
    ],
)
def test_fate_is_made_of_what_the_model_says_and_of_the_fault(problem, kind, fate):
    assert Fate.of(problem, kind and Fault(kind, on="enqueue")) == fate


@pytest.mark.parametrize(
    ("end", "prepaid", "cost"),
    [
        ("succeeded", False, 0.01),
        ("failed", False, None),
        ("cancelled", False, None),
        ("succeeded", True, 0.01),
        ("failed", True, 0.01),
        ("cancelled", True, 0.01),
    ],
)
def test_cost_is_what_was_billed(end, prepaid, cost):
    ordered = job(prepaid=prepaid)
    assert ordered.progress.cost == (0.01 if prepaid else None)
    ordered.start(1001.0)
    ordered.end(end, 1002.0)
    assert ordered.progress.cost == cost


def test_message_belongs_to_a_job_that_failed_and_to_no_other():
    ordered = job(fate=Fate("failed", "422"))
    ordered.start(1001.0)
    assert ordered.progress.error_message is None
    ordered.end("cancelled", 1002.0)
    assert ordered.progress.error_message is None
    ordered.end("failed", 1002.0)
    assert ordered.progress.error_message == "422"


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
