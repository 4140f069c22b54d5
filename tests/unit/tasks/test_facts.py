"""What a task says of itself in numbers, when it ends and when it fails."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.tasks import facts as module
from airflow_provider_oxen.tasks.facts import FACTS, BatchFacts, TaskFacts

RESULT = {"reused": False, "cost": 0.02, "images": [{}, {}]}
BATCH = {
    "prompts": 5, "generated": 2, "reused": 1, "failed": 1, "unknown": 1, "not_sent": 0, "cost": 0.02,
    "cost_unknown": 1, "index": "s3://aws_default@bucket/out/index.html", "bytes": 7,
    "failures": [{"line": 4, "id": "x", "status": "failed", "prompt": "A cube", "error": "It was refused."}],
}  # fmt: skip


@pytest.fixture
def pushed() -> dict[str, Any]:
    return {}


@pytest.fixture
def facts(pushed, monkeypatch) -> TaskFacts:
    monkeypatch.setattr(module, "has_views", lambda: True)
    return TaskFacts(task_instance(pushed), logging.getLogger("task"))


@pytest.fixture
def batch(facts, pushed) -> BatchFacts:
    return BatchFacts(task_instance(pushed), logging.getLogger("task"))


def task_instance(pushed: dict[str, Any]) -> Any:
    return SimpleNamespace(
        task_id="hero",
        map_index=-1,
        try_number=1,
        xcom_push=lambda key, value: pushed.update({key: value}),
        xcom_pull=lambda key, task_ids, map_indexes: pushed.get(key),
    )


def failed(facts: TaskFacts, error: Exception, *, waited: bool = False) -> None:
    with pytest.raises(type(error)), facts.noting_failure(waited=waited):
        raise error


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, {"generated": 2, "cost": 0.02, "cost_unknown": 0}),
        ({"reused": True}, {"reused": 2, "cost": 0.0, "cost_unknown": 0}),
        ({"cost": None}, {"generated": 2, "cost": 0.0, "cost_unknown": 1}),
    ],
    ids=["generated", "reused", "unpriced"],
)
def test_a_result_is_counted_and_a_reused_one_costs_nothing(facts, pushed, changes, told):
    facts.push_result(RESULT | changes)

    assert pushed == {FACTS: {"total": 2, **told}}


@pytest.mark.parametrize("console", [True, False])
def test_a_batch_tells_its_sums_its_failures_and_its_sheet(batch, pushed, console):
    batch.push_batch(BATCH, console=console)

    assert pushed[FACTS] == {
        "total": 5, "generated": 2, "reused": 1, "failed": 1, "unknown": 1, "not_sent": 0, "cost": 0.02,
        "cost_unknown": 1, "index": "s3://bucket/out/index.html", "console": console,
        "failures": BATCH["failures"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "waited", "told"),
    [
        (errors.OxenInvalidRequest("Wrong."), False, {"failed": 1, "spent": "no", "cost_unknown": 0}),
        (errors.OxenInvalidRequest("Wrong."), True, {"failed": 1, "spent": "unknown", "cost_unknown": 1}),
        (errors.OxenOutcomeUnknown("Lost."), False, {"unknown": 1, "spent": "unknown", "cost_unknown": 1}),
        (errors.OxenStorageError("It is full."), False, {"failed": 1, "spent": "yes", "cost_unknown": 1}),
    ],
    ids=["refused", "refused_after_a_wait", "unknown", "paid"],
)  # fmt: skip
def test_a_failure_tells_why_and_whether_it_was_paid_for(facts, pushed, error, waited, told):
    failed(facts, error, waited=waited)

    assert pushed[FACTS] == {"total": 1, "cost": 0.0, "error": error.message, **told}


def test_a_batch_that_fails_keeps_its_sums(batch, pushed):
    batch.push_batch(BATCH, console=False)
    failed(batch, errors.OxenBatchError("2 of 5 prompts gave no image."))

    assert (pushed[FACTS]["generated"], pushed[FACTS]["spent"]) == (2, "yes")
    assert pushed[FACTS]["error"] == "2 of 5 prompts gave no image."


def test_a_batch_that_fails_after_a_wait_keeps_the_sums_from_before_it(batch, pushed):
    before = {"total": 5, "generated": 2, "unknown": 3, "cost": 0.02, "index": "/out/index.html"}
    pushed[FACTS] = before
    failed(batch, errors.OxenStoreUnavailable("The store does not answer."), waited=True)

    assert pushed[FACTS] == {**before, "spent": "yes", "error": "The store does not answer."}


@pytest.mark.parametrize("before", [None, "s3://xcoms/1.json", {"uncounted": True}])
@pytest.mark.parametrize(
    ("try_number", "waited", "spent"), [(1, False, "no"), (1, True, "unknown"), (2, False, "unknown")]
)
def test_a_batch_that_fails_before_it_knows_its_rows_counts_none(
    batch, pushed, before, try_number, waited, spent
):
    pushed[FACTS] = before
    batch._ti.try_number = try_number
    failed(batch, errors.OxenInvalidRequest("Wrong."), waited=waited)

    assert pushed[FACTS] == {"uncounted": True, "spent": spent, "error": "Wrong."}


def test_the_try_that_was_overtaken_leaves_the_facts_to_the_other(facts, pushed):
    failed(facts, errors.OxenOvertaken("Another try is at work."))
    failed(facts, KeyError("no error of ours"))

    assert not pushed


def test_nothing_is_pushed_where_there_is_no_view(facts, pushed, monkeypatch):
    monkeypatch.setattr(module, "has_views", lambda: False)
    facts.push_result(RESULT)

    assert not pushed


def test_an_xcom_backend_that_is_away_is_no_reason_to_fail(facts, caplog):
    def push(key: str, value: Any) -> None:
        raise RuntimeError("the XCom backend is away")

    facts._ti.xcom_push = push
    facts.push_result(RESULT)

    assert "oxen_facts could not be pushed to XCom: the XCom backend is away" in caplog.text
