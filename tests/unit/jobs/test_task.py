"""Cleared on purpose, or tried again by Airflow: numbers of Airflow's tell, and how the last try ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Task, cleared, try_facts

TASK = Task(
    identity="mine",
    fingerprint="f",
    origin="https://hub.example",
    namespace=None,
    endpoint="queue",
    nonce="n",
    try_number=1,
    clear_count=2,
    clear_number=0,
)


def left(phase: Any, **facts: Any) -> Record:
    """Return the record that the task's first try left."""
    return Record(
        phase=phase,
        nonce="n-1",
        identity="mine",
        time=1.0,
        endpoint="queue",
        body={"model": "m", "prompt": "p"},
        origin="https://hub.example",
        fingerprint="f",
        **{**try_facts(TASK), **facts},
    )


ENDED = [
    (left("kept"), True),
    (left("ended", status="failed", final=True), True),
    (left("ended", status="cancelled"), True),
    (left("submitted", try_number=3), True),
    (left("ended", status="failed"), False),
    (left("submitted"), False),
    (left("intent"), False),
    (left("kept", clear_number=None), False),
]
IDS = ["kept", "final", "cancelled", "no tries left", "failed", "submitted", "intent", "number not known"]


@pytest.mark.parametrize(("record", "is_cleared"), ENDED, ids=IDS)
def test_run_that_was_cleared_clears_a_task_only_whose_last_try_was_over(record, is_cleared):
    """A Dag run is cleared for the sake of any of its tasks, while this one may be retried all the same."""
    assert cleared(replace(TASK, try_number=2, clear_number=1), record) is is_cleared


@pytest.mark.parametrize("max_tries", [0, 1, 3, 9])
@pytest.mark.parametrize("record", [record for record, _ in ENDED], ids=IDS)
def test_max_tries_that_changed_tell_of_a_clearing_whichever_way(record, max_tries):
    assert cleared(replace(TASK, clear_count=max_tries), record)


@pytest.mark.parametrize("record", [record for record, _ in ENDED], ids=IDS)
def test_neither_of_them_is_a_retry(record):
    assert not cleared(replace(TASK, try_number=2), record)


def test_each_of_three_clears_asks_anew_where_max_tries_stays_as_it_is():
    """As where the Dag's file is gone."""
    record = left("kept")
    for number in (1, 2, 3):
        task = replace(TASK, try_number=1 + number, clear_number=number)
        assert cleared(task, record)
        record = left("kept", **try_facts(task))
        assert not cleared(task, record)
