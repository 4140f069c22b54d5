"""A first try that failed before it knew what to ask for has sent nothing, and the next one can tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks import beginning, places

from .batch_scene import Batch, all_kept
from .scene import STORE, Store, all_modes, by_call, with_record


@all_modes
@with_record
def test_argument_that_was_wrong_is_mended_and_the_task_cleared(scene):
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    scene.arguments["num_inference_steps"] = "many"

    assert "num_inference_steps" in scene.play().error
    assert scene.sent == 0
    scene.arguments["num_inference_steps"] = 4
    again = scene.clear()

    assert again.state == "success", again.error
    assert scene.sent == scene.paid == 1
    assert not [path for path in scene.out.rglob(".*") if path.name.endswith(".job.json")]


@all_modes
@with_record
def test_place_that_cannot_be_asked_proves_nothing(scene, monkeypatch):
    """Without what the first try has written, a later one must fear that a record was lost."""
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    scene.arguments["num_inference_steps"] = "many"

    def broken(*arguments: Any) -> Any:
        raise OSError("away")

    with pytest.MonkeyPatch.context() as away:
        away.setattr(places, "record_store", broken)
        scene.play()
    scene.arguments["num_inference_steps"] = 4
    again = scene.clear()

    if scene.mode == "synchronous":
        assert "may have been sent" in again.error
        assert scene.sent == 0
    else:
        assert again.state == "success"
        assert scene.sent == 1


def test_nobody_who_cannot_be_asked_says_that_nothing_was_sent(scene, monkeypatch):
    def broken(*arguments: Any) -> Any:
        raise OSError("away")

    scene._fresh()
    assert not beginning.has_sent_nothing(scene.operator, scene.context)
    scene.try_number = 1
    beginning.begin(scene.operator, scene.context)
    assert beginning.has_sent_nothing(scene.operator, scene.context)
    monkeypatch.setattr(places, "record_store", broken)
    assert not beginning.has_sent_nothing(scene.operator, scene.context)


by_store = pytest.mark.parametrize("home", STORE)


@all_modes
@by_store
def test_store_that_is_discarded_when_the_task_is_cleared_hides_nothing(scene):
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    scene.arguments["num_inference_steps"] = "many"
    assert "num_inference_steps" in scene.play().error
    assert scene.store
    scene.store.values.clear()
    scene.arguments["num_inference_steps"] = 4

    again = scene.clear()

    assert again.state == "success", again.error
    assert scene.sent == scene.paid == 1
    assert [name for name in scene.files if name.endswith(".job.json")] == []


@all_modes
@by_store
def test_nothing_is_left_beside_the_output_of_a_job_that_has_a_record(scene, monkeypatch):
    """Least of all that nothing was sent."""
    scene.arguments["storage_path"] = f"{scene.out}/cube"

    def fails(key: str, value: Any) -> None:
        raise OSError("away")

    monkeypatch.setattr(scene, "push", fails)
    scene.hub.fail(Fault("status", on="file", status=404, times=None))
    monkeypatch.setattr(retries, "NOT_YET", (0.01,))

    assert scene.once().state != "success"
    phases = [json.loads(path.read_text())["phase"] for path in scene.out.glob(".*.job.json")]
    assert phases == [scene.record["phase"]] == ["answered"]


WRONG: dict[str, dict[str, Any]] = {
    "argument": {"max_in_flight": "many"},
    "rows": {"prompts": ["A red cube", ""]},
}


@pytest.fixture(params=[False, *([True] if STORE else [])], ids=["no store", "store"][: 1 + len(STORE)])
def batch(request, cast_batch) -> Batch:
    made: Batch = cast_batch()
    made.store = Store() if request.param else None
    return made


@by_call
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_batch_that_was_wrong_is_mended_and_cleared(batch, wrong):
    right = {name: batch.arguments[name] for name in wrong}
    assert batch.play(**wrong).state == "failed"
    assert batch.posts() == 0
    if batch.store:
        batch.store.values.clear()

    assert all_kept(batch, batch.clear(**right))
    assert [path for path in batch.out.parent.rglob(".*") if path.name.endswith(".job.json")] == []


@by_call
def test_folder_of_another_batch_is_left_as_it_was(batch, cast_batch):
    assert batch.play().state == "success"
    before = batch.files
    other = cast_batch(prompts=["Another"])
    other.store, other.run_id = Store() if batch.store else None, "run 2"

    assert other.play().state == "failed"
    assert super(Batch, other).files == super(Batch, batch).files
    assert batch.files == before
