"""What somebody asks for anew, on purpose or by another request, and what the task has already."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub

from .scene import (
    KEY,
    all_homes,
    all_modes,
    by_call,
    by_queue,
    left_running,
    lost_after_keeping,
    paid_once,
    stopped,
    with_record,
    with_store,
    without_record,
)

# Another request.


@with_record
@by_queue
@pytest.mark.parametrize("changed", [{"prompt": "A blue ball"}, {"target_namespace": "local-org"}])
def test_job_of_another_request_is_named_and_not_given_up(scene, changed):
    generation_id = left_running(scene)

    message = stopped(scene, scene.clear(**changed), sent=1)

    assert "OxenChangedRequest" in message
    assert generation_id in message
    assert ("namespace" if "target_namespace" in changed else "request") in message
    assert "on_changed_request='submit' gives that job up and pays for another" in message


@with_record
@by_queue
def test_job_of_another_request_is_given_up_where_the_user_says_so(scene):
    left_running(scene)

    played = scene.clear(prompt="A blue ball", on_changed_request="submit")

    assert played.state == "success"
    assert [entry["prompt"] for entry in scene.hub.ledger()] == ["A blue ball"]
    assert scene.sent == 2


@with_record
@by_queue
def test_job_on_another_hub_is_not_given_up(scene, connect):
    left_running(scene)
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16))) as other:
        connect(other.url)

        message = stopped(scene, scene.clear(), sent=1)

        assert "its hub changed since" in message
        assert other.requests() == []


@with_record
@by_queue
def test_job_that_came_to_nothing_is_no_reason_to_hold_on_to_its_request(scene):
    scene.hub.fail(Fault("fails", on="enqueue"))
    scene.once()

    assert paid_once(scene, scene.clear(prompt="A blue ball"), sent=2, jobs=2)


# Clearing on purpose.


@all_homes
@by_queue
def test_cleared_task_has_its_image_again_and_pays_nothing(scene):
    first = scene.play()

    again = scene.clear()

    assert paid_once(scene, again)
    assert again.result["generation_id"] == first.result["generation_id"]
    if scene.home != "none":
        assert again.result["reused"] is True


@with_store
@by_call
def test_cleared_synchronous_task_has_the_link_on_record_again(scene):
    first = scene.play()

    again = scene.clear()

    assert paid_once(scene, again)
    assert again.result["images"] == first.result["images"]
    assert again.result["reused"] is True


@with_store
@by_queue
def test_image_that_is_only_in_xcom_comes_with_the_link_of_then(scene):
    first = scene.play()
    scene.hub.settings.clock_ahead += 3600
    scene.hub.settings.sign_anew = True
    assert httpx.get(first.image["url"]).status_code == 403

    again = scene.clear(timeout=60)

    assert paid_once(scene, again)
    assert httpx.get(again.image["url"]).status_code == 200


@with_record
@all_modes
def test_overwrite_makes_a_fresh_image_once_a_clearing(scene, monkeypatch):
    first = scene.play(overwrite=True)
    lost_after_keeping(scene, monkeypatch)

    again = scene.clear()

    assert [str(error) for error in again.errors] == ["the XCom backend is away"]
    assert again.state == "success"
    assert scene.sent == scene.paid == 2
    assert first.result["seed"] != again.result["seed"]


@with_record
@all_modes
@pytest.mark.parametrize("overwrite", [True, False])
def test_result_that_was_lost_on_its_way_to_xcom_is_not_paid_again(scene, monkeypatch, overwrite):
    lost_after_keeping(scene, monkeypatch)

    played = scene.play(overwrite=overwrite)

    assert [str(error) for error in played.errors] == ["the XCom backend is away"]
    assert paid_once(scene, played)
    assert played.result["reused"] is True


@without_record
@all_modes
def test_overwrite_is_refused_where_no_record_can_be_kept(scene):
    message = stopped(scene, scene.play(overwrite=True), sent=0)

    assert "overwrite=True needs a place to remember what was paid for" in message
    assert scene.hub.requests() == []


@with_record
@by_queue
def test_unfinished_job_of_a_cleared_task_is_gone_on_with(scene):
    left_running(scene, overwrite=True)
    scene.later()

    assert paid_once(scene, scene.clear())


@with_record
@by_queue
def test_job_that_failed_while_nobody_looked_is_replaced_in_a_cleared_task(scene):
    scene.hub.fail(Fault("fails", on="enqueue", message="Insufficient credits"))
    left_running(scene)
    scene.later()

    assert paid_once(scene, scene.clear(), sent=2, jobs=2)


@with_record
@all_modes
def test_mapped_tasks_whose_list_has_another_order_by_now_spend_nothing(cast):
    prompts = ["A cube", "A ball"]
    tasks = [cast(place, prompt=prompt) for place, prompt in enumerate(prompts)]
    assert [task.play().state for task in tasks] == ["success", "success"]

    played = [task.clear(prompt=prompt) for task, prompt in zip(tasks, reversed(prompts), strict=True)]

    assert [one.state for one in played] == ["failed", "failed"]
    assert all("OxenOutputExists" in one.error or "OxenChangedRequest" in one.error for one in played)
    assert tasks[0].paid == 2


def test_batch_whose_list_has_another_order_by_now_finds_each_row(cast_batch):
    batch = cast_batch()
    prompts = ["A cube", {"id": "ball", "prompt": "A ball"}, "A cone"]
    assert batch.play(prompts=prompts).state == "success"
    sent = batch.posts()

    assert batch.clear(prompts=prompts[::-1]).result["reused"] == 3
    assert batch.posts() == sent
