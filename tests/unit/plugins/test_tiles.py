"""What the Images view makes of what tasks have pushed, which may be anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.plugins.rows import Row
from airflow_provider_oxen.plugins.tiles import Tile, tiles_of
from airflow_provider_oxen.tasks.xcoms import MAX_IMAGES

PREVIEW = "data:image/webp;base64,AAAA"


def image(**facts: Any) -> dict[str, Any]:
    return {"prompt": "A red cube", "status": "generated", "preview": PREVIEW, **facts}


def tiles(*images: Any, state: str | None = "success", total: int | None = None, **row: Any) -> list[Tile]:
    value = json.dumps({"total": len(images) if total is None else total, "images": list(images)})
    return list(tiles_of(Row(**{"run_id": "r", "task_id": "t", "map_index": -1, **row}, state=state), value))


def bare(state: str | None, value: Any = None) -> Tile:
    (tile,) = tiles_of(Row("r", "t", -1, state), value)
    return tile


def test_an_image_is_shown_with_its_facts():
    (tile,) = tiles(
        image(
            id="p1", model="z", seed=7, cost=0.0140, width=1024, height=768, bytes=1_250_000, path="/a/b.png"
        )
    )

    assert (tile.kind, tile.state, tile.title, tile.preview) == ("image", "Generated", "A red cube", PREVIEW)
    assert dict(tile.facts) == {
        "Id": "p1",
        "Model": "z",
        "Seed": "7",
        "Size": "1,024 × 768, 1.2 MB",
        "Cost": "$0.014",
    }
    assert (tile.path, tile.link) == ("/a/b.png", None)


@pytest.mark.parametrize(("number", "told"), [(12, "1 kB"), (19_638, "19 kB"), (2_000_000, "2.0 MB")])
def test_bytes_are_told_in_round_numbers(number, told):
    (tile,) = tiles(image(width=1, height=1, bytes=number))

    assert dict(tile.facts)["Size"] == f"1 × 1, {told}"


@pytest.mark.parametrize(
    ("status", "kind", "state"),
    [
        ("reused", "image", "Reused"),
        ("failed", "failed", "Failed"),
        ("unknown", "failed", "Outcome unknown"),
    ],
)
def test_an_image_tells_what_became_of_it(status, kind, state):
    (tile,) = tiles(image(status=status, error="why"))

    assert (tile.kind, tile.state, tile.error) == (kind, state, "why")


@pytest.mark.parametrize(
    ("state", "kind", "told"),
    [
        ("running", "open", "Running"),
        ("deferred", "open", "Waiting for the hub"),
        (None, "open", "Not begun"),
        ("up_for_retry", "open", "Failed, will be tried again"),
        ("failed", "failed", "Failed"),
        ("upstream_failed", "failed", "Not run: a task before it failed"),
        ("skipped", "none", "Skipped"),
        ("a_state_of_the_future", "open", "a_state_of_the_future"),
    ],
)
def test_a_task_without_images_tells_its_state_and_what_was_asked(state, kind, told):
    tile = bare(state, json.dumps({"total": 1, "images": [{"prompt": "A red cube", "model": "z"}]}))

    assert (tile.kind, tile.state, tile.title) == (kind, told, "A red cube")


@pytest.mark.parametrize(
    ("state", "value", "title"),
    [
        ("running", None, ""),
        ("success", None, "It pushed no previews."),
        ("running", '{"total": 1000, "images": []}', "1,000 prompts"),
        (
            "success",
            "s3://xcoms/x.json",
            "Its previews are not readable here: a custom XCom backend keeps them elsewhere.",
        ),
    ],
)
def test_a_task_that_told_nothing_of_images_says_what_it_can(state, value, title):
    assert bare(state, value).title == title


@pytest.mark.parametrize(
    "value",
    [
        "[]",
        "7",
        "null",
        '{"images": []}',
        '{"total": -1, "images": []}',
        '{"total": 1, "images": [7]}',
        '{"total": 1, "images": [{"cost": 1e400}]}',
        '{"total": 1, "images": [{"bytes": 1e300}]}',
        f'{{"total": 1, "images": [{{"bytes": {"9" * 400}}}]}}',
        '{"total": 1, "images": [' + "{}," * 20_000 + "{}]}",
        '{"total": 1, "images": [{"status": "<b>"}]}',
        json.dumps({"total": 1, "images": [{"prompt": "x" * 5000}]}),
        json.dumps({"total": 1, "images": [{}] * (MAX_IMAGES + 1)}),
        "[" * 100_000,
    ],
    ids=range(14),
)
def test_what_is_not_of_the_known_shape_is_left_out(value):
    assert "not readable" in bare("success", value).title


def test_what_a_database_gives_as_an_object_is_read_too():
    (tile,) = tiles_of(Row("r", "t", -1, "success"), {"total": 1, "images": [image()]})

    assert tile.preview == PREVIEW


@pytest.mark.parametrize(
    "preview",
    [
        "https://elsewhere.example/x.png",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        'data:image/webp;base64,AA" onerror="alert(1)',
        f"data:image/webp;base64,{'A' * 20_000}",
        f"{PREVIEW}\n",
        "",
    ],
    ids=range(7),
)
def test_what_is_no_preview_of_ours_is_not_shown(preview):
    (tile,) = tiles(image(preview=preview))

    assert tile.preview is None


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("s3://bucket/a/ü b.png", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a%2F%C3%BC%20b.png"),
        ("gs://bucket/a/b.png", "https://console.cloud.google.com/storage/browser/_details/bucket/a/b.png"),
        ("/data/a.png", None),
        ("file:///data/a.png", None),
        ("s3://bucket", None),
        ("s3://evil host/x", None),
        ("s3://[", None),
        ("javascript:alert(1)", None),
        ("https://elsewhere.example/x.png", None),
    ],
)  # fmt: skip
def test_a_file_links_to_its_stores_console_and_nowhere_else(path, link):
    (tile,) = tiles(image(path=path))

    assert (tile.path, tile.link) == (path, link)


def test_a_file_in_a_store_of_ones_own_has_no_link_to_amazons_console():
    path = "s3://bucket/a.png"
    here, elsewhere = (
        list(tiles_of(Row("r", "t", -1, "success"), {"total": 1, "images": [image(path=path)], **told}))
        for told in ({}, {"console": False})
    )

    assert [tile.path for tile in (*here, *elsewhere)] == [path, path]
    assert here[0].link
    assert elsewhere[0].link is None


def test_what_is_not_shown_is_counted():
    shown = tiles(*[image()] * MAX_IMAGES, total=1000)

    assert (len(shown), shown[-1].kind, shown[-1].title) == (
        MAX_IMAGES + 1,
        "none",
        "976 more of this task are not shown here.",
    )


def test_images_of_a_task_that_goes_on_come_after_its_state():
    shown = tiles(image(), image(), state="deferred", total=5)

    assert [tile.kind for tile in shown] == ["open", "image", "image"]
    assert (shown[0].state, shown[0].title) == ("Waiting for the hub", "2 so far")


def test_a_mapped_task_is_named_and_linked_by_its_index():
    (tile,) = tiles(image(), map_index=3, run_id="manual__2026-01-01T00:00:00+00:00/x", task_id="group.hero")

    assert tile.task == "group.hero [3]"
    assert tile.href == "runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00%2Fx/tasks/group.hero/mapped/3"
