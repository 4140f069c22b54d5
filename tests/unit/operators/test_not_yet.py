"""An image that is paid for and not there yet is asked for again, and never paid for again."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest
import tenacity
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.localhub import Fault

from .scene import all_modes, by_call, by_queue, paid_once, queue_and_homes, queue_and_record, with_record

CLOTHES = [
    "empty",
    "accepted",
    "no_content",
    "partial",
    "page",
    "json",
    "xml",
    "cut",
    "missing",
    "forbidden",
    "gone",
    "login",
]

MANY = "ideogram-v4"
"""A model that makes several images at once."""


def not_yet(scene: Any, clothes: Any, **more: Any) -> None:
    on: Any = "generate" if scene.mode == "synchronous" else "enqueue"
    scene.hub.fail(Fault("not_yet", on=on, clothes=clothes, **more))


def heal(scene: Any) -> None:
    """Let the image be there from now on."""
    scene.hub.release_images()


@pytest.mark.parametrize(
    ("mode", "clothes"),
    [
        *(("deferred", clothes) for clothes in [*CLOTHES, "short"]),
        *((mode, clothes) for mode in ("polled", "synchronous") for clothes in ("page", "missing")),
    ],
)
def test_image_that_comes_after_some_looks_is_kept(scene, clothes, monkeypatch):
    monkeypatch.setattr(retries, "BACKOFF", tenacity.wait_none())
    not_yet(scene, clothes, looks=4)

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert not [name for name in scene.files if "rejected" in name]


@pytest.mark.parametrize("clothes", ["page", "partial", "forbidden"])
@queue_and_homes
def test_image_that_does_not_come_in_one_try_is_kept_by_the_next(scene, clothes):
    not_yet(scene, clothes, looks=10_000)
    scene.between = lambda: heal(scene)

    # Without a file, the bytes are fetched for this alone.
    played = scene.play(response_format="b64_json")

    assert ["The next try fetches it again, and pays nothing." in str(e) for e in played.errors] == [True]
    assert paid_once(scene, played)
    assert not [name for name in scene.files if "rejected" in name]


@pytest.mark.parametrize("clothes", ["empty", "page", "cut", "accepted", "missing"])
@with_record
@by_call
def test_only_link_of_a_call_is_asked_by_later_tries_and_after_clearing(scene, clothes, tmp_path):
    not_yet(scene, clothes, looks=10_000)

    played = scene.play(storage_path=f"{tmp_path}/out-1/cube")

    assert (played.state, len(played.errors)) == ("failed", 3)
    assert scene.record["phase"] == "answered"
    assert "sealed" in scene.record["items"][0]
    assert scene.clear().state == "failed"
    heal(scene)
    assert paid_once(scene, scene.clear())
    assert not [name for name in scene.files if "rejected" in name]


@pytest.mark.parametrize("clothes", ["empty", "json"])
@queue_and_record
def test_page_that_two_tries_get_of_the_row_is_kept_as_rejected(scene, clothes, tmp_path):
    not_yet(scene, clothes, looks=10_000)

    played = scene.play(storage_path=f"{tmp_path}/out-1/cube")

    assert [type(error).__name__ for error in played.errors] == ["OxenBadImage", "OxenBadImage"]
    assert [isinstance(error, AirflowFailException) for error in played.errors] == [False, True]
    assert "cube.rejected" in scene.files
    assert scene.sent == scene.paid == 1


@pytest.mark.parametrize("clothes", ["accepted", "partial", "gone"])
@queue_and_record
def test_what_is_no_answer_never_ends_the_job(scene, clothes, tmp_path):
    not_yet(scene, clothes, looks=10_000)

    assert len(scene.play(storage_path=f"{tmp_path}/out-1/cube").errors) == 3
    assert len(scene.clear().errors) == 3
    assert scene.record["generation_id"]
    heal(scene)
    assert paid_once(scene, scene.clear())


@queue_and_record
def test_damaged_image_that_the_row_gives_again_and_again_is_kept_as_rejected(scene, tmp_path):
    scene.hub.fail(Fault("truncated", on="enqueue"))

    played = scene.play(storage_path=f"{tmp_path}/out-1/cube")

    [error] = played.errors
    assert "OxenBadImage" in str(error)
    assert "cube.rejected" in scene.files
    assert scene.sent == scene.paid == 1


@pytest.mark.parametrize("text", ["this is *not* base64", base64.b64encode(b"no image").decode()])
@with_record
@by_call
def test_base64_that_is_no_image_is_kept_as_rejected_at_once(scene, text, tmp_path):
    answer = {"images": [{"b64_json": text}]}
    scene.hub.fail(Fault("status", status=200, body=answer, billed=True))

    played = scene.play(storage_path=f"{tmp_path}/out-1/cube", response_format="b64_json")

    assert (played.state, len(played.errors)) == ("failed", 1)
    assert "cube.rejected" in scene.files
    assert scene.sent == scene.paid == 1


@with_record
@by_call
def test_user_may_have_another_in_place_of_a_link_that_never_works(scene, tmp_path):
    not_yet(scene, "missing", looks=10_000)

    played = scene.play(storage_path=f"{tmp_path}/out-1/cube", on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert ["The next try pays for another" in str(error) for error in played.errors] == [False, True]
    assert scene.sent == scene.paid == 2


@with_record
@by_call
def test_clearing_with_overwrite_pays_for_another_in_place_of_a_link_that_never_works(scene, tmp_path):
    not_yet(scene, "missing", looks=10_000)

    assert scene.play(storage_path=f"{tmp_path}/out-1/cube", overwrite=True).state == "failed"
    assert scene.sent == scene.paid == 1
    assert scene.clear().state == "success"
    assert scene.sent == scene.paid == 2


@by_queue
def test_task_that_is_told_to_stop_does_not_wait_for_an_image(scene, monkeypatch):
    not_yet(scene, "page", looks=10_000)
    with monkeypatch.context() as during:
        during.setattr(retries, "NOT_YET", (600.0,))
        during.setattr(time, "sleep", lambda seconds: scene.operator.on_kill())
        tried = scene.once()

    assert "stopped while it waited" in str(tried.errors[0])
    heal(scene)
    assert paid_once(scene, scene.play())


@by_call
def test_image_that_comes_later_than_its_neighbour_takes_no_other_place(scene):
    scene.hub.fail(Fault("not_yet", on="file", clothes="page", after=1))

    played = scene.play(model=MANY, model_params={"num_images": 2})

    assert played.errors == []
    assert scene.sent == 1
    assert sorted(name.rpartition(".")[0] for name in scene.files) == ["cube", "cube", "cube-2", "cube-2"]


@pytest.mark.parametrize("home", ["file"])
@all_modes
def test_what_came_in_the_image_s_place_is_told(scene):
    not_yet(scene, "page", looks=10_000)

    tried = scene.once()

    assert re.search(
        r"not an image of a known format \(text/html, \d+ bytes, a page with the title '[^']+'\)", tried.error
    )
