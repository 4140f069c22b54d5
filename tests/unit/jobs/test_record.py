"""A record is a value that comes back as it was written, or says why it cannot be relied upon."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_oxen.api.errors import OxenRecordError
from airflow_provider_oxen.jobs.record import Record, read

LINK = "https://hub.example/image.png?signature=that-must-not-leak"
INTENT = Record(
    phase="intent",
    nonce="n",
    identity="mine",
    time=1_000.5,
    endpoint="queue",
    body={"model": "m", "prompt": "A red cube", "seed": 7},
    origin="https://hub.example",
    fingerprint="f",
)
FULL = Record(
    phase="answered",
    nonce="n",
    identity="mine",
    time=1_000.5,
    endpoint="generate",
    body={"model": "m", "prompt": "ünï", "image_size": {"width": 64, "height": 32}},
    origin="https://hub.example",
    namespace="org",
    fingerprint="f",
    submissions=2,
    price=0.01,
    clear_count=3,
    past=["g-0"],
    unique=True,
    found=True,
    generation_id="g-1",
    submitted_at=1_001.0,
    items=[{"url": LINK}],
    model="m-1",
    created=1_780_000_000,
    files=["a.png", "a-2.png"],
    status="failed",
    reason="busy",
    final=True,
)


@pytest.mark.parametrize("record", [INTENT, FULL], ids=["small", "full"])
@pytest.mark.parametrize(
    "as_text", [lambda value: value, json.dumps, lambda value: json.dumps(value).encode()]
)
def test_record_comes_back_as_it_was_written(record, as_text):
    found = read(as_text(record.as_json()), "in the store", "mine")

    assert found == record.to(record.phase, items=[])


def test_names_that_earlier_versions_wrote_stay_what_they_are():
    written = FULL.to("answered", clear_key="5e.1").as_json()

    assert (written["clearing"], written["series"]) == (3, "5e.1")
    assert "clear_count" not in written
    assert "clear_key" not in written


def test_link_is_written_where_no_row_can_give_it_again():
    alone = FULL.to("answered", generation_id=None)

    assert LINK not in json.dumps(FULL.as_json())
    assert read(alone.as_json(), "in the store", "mine") == alone


def test_reason_that_an_earlier_version_wrote_raw_is_redacted():
    told = {**INTENT.as_json(), "phase": "ended", "reason": "403 for https://x.example/a.png?Signature=word"}

    assert read(told, "in the store", "mine").reason == "403 for https://x.example/a.png"


def test_written_record_holds_its_format_and_no_more_than_was_set():
    assert INTENT.as_json() == {
        "format": "airflow-provider-oxen/job/1",
        "phase": "intent",
        "nonce": "n",
        "identity": "mine",
        "time": 1_000.5,
        "endpoint": "queue",
        "body": {"model": "m", "prompt": "A red cube", "seed": 7},
        "origin": "https://hub.example",
        "fingerprint": "f",
    }


def test_record_of_a_newer_version_with_more_to_tell_is_understood():
    assert read({**INTENT.as_json(), "mood": "good"}, "in the store", "mine") == INTENT


def test_another_phase_is_another_record():
    submitted = INTENT.to("submitted", generation_id="g-1")

    assert (submitted.phase, submitted.generation_id) == ("submitted", "g-1")
    assert (INTENT.phase, INTENT.generation_id) == ("intent", None)
    with pytest.raises(ValidationError, match="frozen"):
        INTENT.phase = "kept"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({"generation_id": "g-1"}, True),
        ({"items": [{"url": LINK}]}, True),
        ({"items": [{"url": LINK}, {"url": LINK}]}, True),
        ({"items": [{"sealed": "gAAA"}]}, True),
        ({"items": [{"b64_json": True}, {"url": LINK}]}, False),
        ({"items": [{"b64_json": True}]}, False),
        ({}, False),
    ],
    ids=["by_id", "by_link", "by_links", "by_sealed_link", "one_is_text", "text", "nothing"],
)
def test_images_can_be_had_again_by_id_or_links_only(changes, can):
    assert INTENT.to("answered", **changes).can_be_fetched is can


def test_job_is_named_by_its_generation_as_soon_as_there_is_one():
    assert INTENT.job == "a request for m"
    assert FULL.job == "a request for m, generation g-1"


def test_representation_holds_neither_prompt_nor_link():
    assert "signature" not in repr(FULL)
    assert "ünï" not in repr(FULL)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in INTENT.as_json().items() if key != name}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "this package did not write it"),
        (7, "this package did not write it"),
        ({}, "this package did not write it"),
        ({"format": "another-program/1"}, "this package did not write it"),
        (without("nonce"), "damaged, or of a later version (nonce)"),
        ({**INTENT.as_json(), "phase": "lost"}, "damaged, or of a later version (phase)"),
        (
            {**INTENT.as_json(), "format": "airflow-provider-oxen/job/2"},
            "damaged, or of a later version (format)",
        ),
        ({**FULL.as_json(), "items": [LINK]}, "damaged, or of a later version (items.0)"),
        ({**INTENT.as_json(), "identity": "another's"}, "it belongs to another task"),
    ],
    ids=[
        "broken",
        "bytes",
        "deep",
        "list",
        "number",
        "empty",
        "foreign",
        "lacking",
        "phase",
        "later",
        "item",
        "identity",
    ],
)
def test_record_that_cannot_be_relied_upon_stops_everything(value, problem):
    with pytest.raises(OxenRecordError) as caught:
        read(value, "in the store", "mine")

    said = str(caught.value)
    assert problem in said
    assert "in the store" in said
    assert "signature" not in said
    assert (caught.value.spent, caught.value.retry_helps) == ("unknown", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"generation_id": "../users/me"},
        {"generation_id": "g?x=1"},
        {"past": ["g-1", "a b"]},
        {"past": ["g"] * 1_001},
        {"files": ["../../etc/passwd"]},
        {"files": ["a\x00.png"]},
        {"items": [{"url": 5}]},
        {"items": [{"url": "https://hub.example/" + "x" * 20_000}]},
        {"items": [{"sealed": 5}]},
        {"items": [{"sealed": "x" * 40_000}]},
        {"items": [{"b64_json": "aGk="}]},
        {"time": float("inf")},
        {"submissions": 10_000_000},
        {"number": 10_000_000},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_record_with_what_no_record_of_ours_holds_is_a_strangers(changes):
    value = {**STRANGE, **changes}

    with pytest.raises(OxenRecordError, match=r"which this package did not write|it is damaged"):
        read(value, "there", "mine")


def test_record_with_what_ours_hold_is_read():
    value = {
        **STRANGE,
        "generation_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "past": ["g-1"],
        "files": ["cube.png", "cube-2.webp"],
        "items": [{"url": "https://hub.example/1?signature=x"}, {"b64_json": True}],
    }

    assert read(value, "there", "mine").past == ["g-1"]


STRANGE: dict[str, Any] = {
    "format": "airflow-provider-oxen/job/1",
    "phase": "answered",
    "nonce": "n",
    "identity": "mine",
    "time": 1.0,
    "endpoint": "queue",
    "body": {"model": "m", "prompt": "p"},
    "origin": "https://hub.example",
    "fingerprint": "f",
}
