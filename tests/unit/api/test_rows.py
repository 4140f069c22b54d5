"""A row in other clothes is the same row."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_oxen.api.models import Generation, readable
from airflow_provider_oxen.api.rows import ids_of, message_text

LINK = "https://hub.example/files/1.png?signature=x"


def row(**facts: Any) -> Generation:
    return Generation.model_validate({"generation_id": "g-1", **facts})


@pytest.mark.parametrize(
    "data",
    [
        {"generation_id": "g-1", "status": "Completed"},
        {"id": "g-1", "state": "DONE"},
        {"generationId": "g-1", "status": "success"},
        {"generation": {"generation_id": "g-1", "status": "succeeded"}},
        {"data": {"id": "g-1", "status": "succeeded"}},
        {"status": "success", "data": {"generation": {"generation_id": "g-1", "status": "succeeded"}}},
        {"id": "answer-7", "status": "ok", "generation": {"generation_id": "g-1", "status": "succeeded"}},
        {"generations": [{"generation_id": "g-1", "status": "succeeded"}]},
        {"generation_id": "g-1", "status": "succeeded", "result": {"id": "image-7"}},
        {"id": "g-1", "status": "succeeded", "result": {"id": "image-7", "url": LINK}},
    ],
    ids=str,
)
def test_row_is_found_and_its_end_is_seen(data):
    found = Generation.model_validate(data)

    assert (found.generation_id, found.status) == ("g-1", "succeeded")


def test_id_may_be_a_number():
    assert Generation.model_validate({"id": 7}).generation_id == "7"


@pytest.mark.parametrize(
    "data", [{}, {"id": ""}, {"id": True}, {"id": {}}, {"data": {"name": "x"}}, [], None]
)
def test_row_without_an_id_is_none(data):
    with pytest.raises(ValidationError):
        Generation.model_validate(data)


@pytest.mark.parametrize(
    "facts",
    [
        {"result_url": LINK},
        {"result_url": f"  {LINK}\n"},
        {"result_url": [LINK]},
        {"result_url": {"url": LINK}},
        {"url": LINK},
        {"result": LINK},
        {"result": {"images": [{"url": LINK}]}},
        {"output": [LINK]},
        {"outputs": [None, {"image_url": {"url": LINK}}]},
        {"images": [{"url": LINK}]},
        {"result_url": None, "images": ["https://reference.example/in.png", {"url": LINK}], "output": LINK},
    ],
    ids=str,
)
@pytest.mark.parametrize("status", ["succeeded", "post-processed", None, "expired", "error"])
def test_link_on_a_row_is_worth_fetching_unless_the_hub_itself_says_otherwise(facts, status):
    found = row(status=status, **facts)

    assert (found.status, found.result_url) == ("succeeded", LINK)
    assert "signature" not in repr(found.echo()), "it is no parameter that was submitted"


@pytest.mark.parametrize("status", ["queued", "processing", "Running", "failed", "CANCELLED"])
def test_link_beside_what_runs_or_has_provably_failed_is_no_end(status):
    assert row(status=status, result_url=LINK).status != "succeeded"


@pytest.mark.parametrize(
    "facts",
    [
        {"images": ["https://reference.example/in.png"]},
        {"image_url": "https://reference.example/in.png", "input_image": "https://reference.example/in.png"},
        {"completed_at": 1_780_000_000, "error_message": "who knows"},
        {"result": 5, "output": {}, "url": ""},
    ],
    ids=str,
)
def test_hint_is_no_end_and_an_echoed_input_is_no_result(facts):
    found = row(status="resting", **facts)

    assert (found.status, found.result_url) == ("resting", None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("busy", "busy"),
        ({"message": "busy"}, "busy"),
        ({"detail": "busy", "message": "no"}, "busy"),
        ({"error": {"message": {"detail": "busy"}}}, "busy"),
        ({"errors": [{"msg": "too big"}, {"msg": "too dark"}]}, "too big; too dark"),
        (["too big", None, {}], "too big"),
        ({"code": 422}, "422"),
        ({"odd": [1]}, '{"odd": [1]}'),
        (None, None),
        ("", None),
        ({}, None),
        ([], None),
        (False, None),
    ],
    ids=str,
)
def test_message_is_read_whatever_it_is_made_of(value, text):
    assert message_text(value) == text
    assert row(status="failed", error_message=value).error_message == text
    assert row(status="failed", error=value).error_message == text


def test_message_is_bounded_in_length_and_depth():
    deep: Any = "busy"
    for _ in range(5000):
        deep = {"error": deep}

    assert len(str(message_text("x" * 100_000))) == 2000
    assert "busy" not in str(message_text({"message": [deep]}))


def test_failure_in_another_word_says_which():
    assert row(status="expired").error_message == "the hub calls it 'expired'"
    assert row(status="failed").error_message is None


@pytest.mark.parametrize(
    ("told", "verdict"), [(True, True), (False, False), (None, None), ("false", None), (0, None)]
)
def test_verdict_is_true_or_false_and_nothing_else(told, verdict):
    assert row(error_retryable=told).error_retryable is verdict


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (1_780_000_000, 1_780_000_000.0),
        (1_780_000_000_000, 1_780_000_000.0),
        ("1780000000", 1_780_000_000.0),
        ("2026-05-28T20:26:40Z", 1_780_000_000.0),
        *((nonsense, None) for nonsense in (float("nan"), float("inf"), 1e400, -1, 10**400, True, "soon")),
        ({}, None),
        ([], None),
    ],
    ids=repr,
)
def test_times_of_a_row_make_sense_or_are_none(told, seconds):
    found = row(enqueued_at=told, started_at=told, completed_at=told)

    assert (found.enqueued_at, found.started_at, found.completed_at) == (seconds,) * 3


@pytest.mark.parametrize(
    ("told", "usd"),
    [
        ("0.02", 0.02),
        (0.02, 0.02),
        *((nonsense, None) for nonsense in ("-1", -1, "nan", float("inf"), 1e400, True, "free", None)),
        ({}, None),
    ],
    ids=repr,
)
def test_charge_makes_sense_or_is_none(told, usd):
    assert row(cost=told).charged == usd


@pytest.mark.parametrize(
    "answer",
    [
        [{"generation_id": "g-1"}],
        {"data": [{"id": "g-1"}]},
        {"data": {"generations": [{"generation": {"generation_id": "g-1"}}]}},
        {"items": [None, 5, {"name": "x"}, {"generation_id": "g-1"}]},
    ],
    ids=str,
)
def test_rows_of_a_list_are_found(answer):
    assert [found.generation_id for found in readable(answer)] == ["g-1"]


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ({"generations": [{"generation_id": "g-1"}, {"id": "g-2"}]}, ["g-1", "g-2"]),
        ({"generations": ["g-1", None, 5.5, "g-1"]}, ["g-1"]),
        ({"generation_ids": ["g-1"]}, ["g-1"]),
        ({"ids": ["g-1"]}, ["g-1"]),
        ({"generation": {"generation_id": "g-1"}}, ["g-1"]),
        ({"data": {"id": "g-1"}}, ["g-1"]),
        ({"id": "g-1", "status": "queued"}, ["g-1"]),
        (["g-1"], ["g-1"]),
        ({"id": "answer-7", "generations": []}, []),
        ({"id": "no id, but a sentence"}, []),
        ("accepted", []),
        (None, []),
    ],
    ids=str,
)
def test_ids_of_an_answer_are_found(answer, ids):
    assert ids_of(answer) == ids
