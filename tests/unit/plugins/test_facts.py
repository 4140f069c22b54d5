"""The sums on top of the Images view, of facts that may be anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.plugins.facts import Facts, Totals, read_facts
from airflow_provider_oxen.plugins.rows import Row
from airflow_provider_oxen.plugins.tiles import Tile, tiles_of

BATCH = {
    "total": 40, "generated": 30, "reused": 5, "failed": 4, "unknown": 1, "cost": 0.3, "cost_unknown": 1,
    "index": "s3://bucket/out/index.html", "console": True,
    "failures": [{"line": 7, "id": "x", "error": "It was refused."}],
}  # fmt: skip


def tiles(state: str, facts: Any, *images: Any) -> list[Tile]:
    value = {"total": len(images), "images": list(images)}
    return list(tiles_of(Row("r", "t", -1, state, 2, value=json.dumps(facts)), value if images else None))


def test_facts_are_added_up():
    sums = Totals.of(
        [
            ("none", Facts(generated=2, cost=0.02)),
            ("none", Facts(reused=1)),
            ("failed", Facts(failed=1)),
            ("failed", Facts(unknown=1, cost_unknown=1)),
            ("failed", None),
            ("open", None),
            ("none", None),
        ]
    )

    assert sums == Totals(
        generated=2, reused=1, failed=2, unknown=1, open=1, cost=0.02, cost_unknown=1, uncounted=1
    )


def test_what_is_under_way_has_no_failures_yet():
    sums = Totals.of([("open", Facts(generated=2, failed=1, unknown=7, cost=0.02))])

    assert sums == Totals(generated=2, open=1, cost=0.02)


@pytest.mark.parametrize(
    "value",
    [
        "[]", "7", "{", '{"cost": 1e400}', '{"cost": -1}', '{"generated": -1}', '{"error": 7}', "[" * 50_000,
        json.dumps({"failures": [{}] * 101}), json.dumps({"error": "x" * 5000}), 7,
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_not_of_the_known_shape_is_left_out(value):
    assert read_facts(value) is None


def test_what_a_database_gives_as_an_object_is_read_too():
    assert read_facts({"generated": 1}) == Facts(generated=1)


@pytest.mark.parametrize(
    ("facts", "paid"),
    [
        ({"spent": "no"}, "Nothing spent"),
        ({"spent": "unknown"}, "Perhaps paid"),
        ({"spent": "yes"}, "Paid"),
        ({"cost": 0.014}, "Paid $0.014"),
        ({"unknown": 1}, "Perhaps paid"),
    ],
)
def test_whether_it_was_paid_is_told_in_words(facts, paid):
    assert Facts(**facts).paid == paid


def test_a_failed_task_tells_its_reason_and_whether_it_was_paid_for():
    (tile,) = tiles("failed", {"failed": 1, "spent": "no", "error": "No credits are left."})

    assert (tile.kind, tile.error, tile.paid) == ("failed", "No credits are left.", "Nothing spent")


def test_a_batch_shows_its_sums_and_its_failures_first():
    first, second = tiles("success", BATCH, {"status": "failed"}, {"status": "generated", "prompt": "A cube"})

    assert first.batch
    assert (first.kind, first.batch.failures[0].line, first.paid) == ("failed", 7, "Paid $0.30")
    assert first.title == "35 of 40 prompts have an image. 34 more of this task are not shown here."
    assert first.path == "s3://bucket/out/index.html"
    assert first.link == "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=out%2Findex.html"
    assert (second.kind, second.title) == ("image", "A cube")


@pytest.mark.parametrize("told", [{"console": False}, {}], ids=["elsewhere", "not_known"])
def test_a_sheet_that_is_not_known_to_be_in_a_console_has_no_link(told):
    facts = {name: value for name, value in BATCH.items() if name != "console"} | told
    (tile,) = tiles("success", facts)

    assert (tile.path, tile.link) == ("s3://bucket/out/index.html", None)


def test_a_batch_that_waits_has_no_failures_but_those_that_have_ended():
    ended, waiting = {"line": 1, "status": "failed"}, {"line": 2, "status": "unknown"}
    (tile,) = tiles("deferred", BATCH | {"failures": [ended, waiting]})

    assert tile.batch
    assert [failure.line for failure in tile.batch.failures] == [1]
    assert (tile.waits, tile.paid) == (True, None)


def test_a_batch_that_failed_and_is_tried_again_is_not_waiting():
    (tile,) = tiles("up_for_retry", BATCH)

    assert (tile.kind, tile.waits, tile.paid) == ("open", False, "Paid $0.30")


def test_a_batch_that_runs_has_no_sums_since_nobody_has_counted():
    (tile,) = tiles("running", BATCH)

    assert (tile.kind, tile.batch) == ("open", None)
    assert tile.title == "40 prompts, of which 35 had an image before."


def test_a_batch_that_failed_before_it_could_count_is_in_no_sum_and_says_so():
    facts = {"uncounted": True, "spent": "unknown", "error": "The store does not answer."}
    (tile,) = tiles("failed", facts)

    assert (tile.kind, tile.error, tile.paid) == ("failed", "The store does not answer.", "Perhaps paid")
    assert "is not known" in tile.title
    assert Totals.of([("failed", Facts(**facts)), ("open", Facts(**facts))]) == Totals(batches=1, open=1)


@pytest.mark.parametrize(
    ("state", "facts", "kind", "order"),
    [
        ("deferred", BATCH, "open", 1),
        ("success", {"generated": 1, "index": "/x"}, "batch", 2),
        ("success", BATCH, "failed", 0),
        ("failed", None, "failed", 0),
        ("success", None, "none", 2),
    ],
)
def test_failures_come_first_then_what_is_under_way(state, facts, kind, order):
    row = Row("r", "t", -1, state, value=facts)

    assert row.order == order
    assert next(iter(tiles_of(row))).kind == kind


def test_the_request_is_written_in_python():
    image = {
        "status": "generated", "prompt": "A \"red\" 'cube'\n", "model": "z", "seed": 7,
        "request": {"image_size": "square_hd", "guidance": 3.5},
    }  # fmt: skip
    (tile,) = tiles_of(Row("r", "group.hero", -1, "success"), {"total": 1, "images": [image]})

    assert tile.code
    call = {}
    exec(tile.code, {"ImageGenerateOperator": lambda **given: call.update(given)})
    assert call == {
        "task_id": "hero", "prompt": "A \"red\" 'cube'\n", "model": "z", "seed": 7,
        "image_size": "square_hd", "model_params": {"guidance": 3.5},
    }  # fmt: skip
    assert tile.parameters == [("image_size", "square_hd"), ("guidance", "3.5")]


def test_an_original_is_offered_where_it_may_be_opened():
    images = [{"status": "generated", "path": path} for path in ("/a/b.png", "/c/d.png")]
    shown = tiles_of(Row("r", "t", -1, "success"), {"total": 2, "images": images}, lambda p: p < "/b")

    assert [tile.image for tile in shown] == [0, None]
