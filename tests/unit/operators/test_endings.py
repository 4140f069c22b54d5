"""However a job ends, the task says what it cost, and pays again only where nothing came of it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks.effects import WorkerEffects

from .scene import (
    all_homes,
    by_queue,
    paid_once,
    queue_and_homes,
    queue_and_record,
    stopped,
    with_record,
    without_record,
)

# The request is refused.

REFUSED = {
    "rate limit": (Fault("status", on="enqueue", status=429), "OxenRateLimited"),
    "hub not taking requests": (
        Fault("status", on="enqueue", status=426, body={"error": {"type": "migration_required"}}),
        "OxenUnavailable",
    ),
}


@pytest.mark.parametrize(("fault", "name"), REFUSED.values(), ids=REFUSED)
@queue_and_homes
def test_refused_request_leaves_nothing_open_and_the_next_try_submits(scene, fault, name):
    scene.hub.fail(fault)
    seen: list[Any] = []
    scene.between = lambda: seen.append(scene.job)

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == [name]
    assert seen == [None]
    assert paid_once(scene, played, sent=2)


@queue_and_homes
def test_hub_that_cannot_be_reached_leaves_nothing_open_and_the_next_try_submits(scene):
    scene.hub.close()
    seen: list[Any] = []

    def between() -> None:
        seen.append(scene.job)
        scene.hub.start()

    scene.between = between

    # "off": nothing is asked before the request itself.
    played = scene.play(validate="off")

    assert [type(error).__name__ for error in played.errors] == ["OxenConnectionError"]
    assert "Nothing was spent" in str(played.errors[0])
    assert seen == [None]
    assert paid_once(scene, played)


FINAL = {
    "bad request": (Fault("status", on="enqueue", status=400), "OxenInvalidRequest"),
    "wrong key": (Fault("status", on="enqueue", status=401), "OxenAuthenticationError"),
    "credits": (Fault("status", on="enqueue", status=402), "OxenCreditsError"),
    "nothing accepted": (Fault("no_generations", on="enqueue", message="out of order"), "out of order"),
}


@pytest.mark.parametrize(("fault", "said"), FINAL.values(), ids=FINAL)
@queue_and_homes
def test_what_would_be_refused_again_stops_the_task_and_a_cleared_one_submits(scene, fault, said):
    scene.hub.fail(fault)

    assert said in stopped(scene, scene.play(), sent=1)
    assert scene.job is None
    assert scene.hub.jobs() == []
    assert paid_once(scene, scene.clear(), sent=2)


@queue_and_homes
def test_credits_that_run_out_are_told_before_anything_is_spent(scene):
    scene.hub.settings.credits = 0.0

    said = stopped(scene, scene.play(), sent=1)

    assert "OxenCreditsError" in said
    assert "Nothing was spent" in said
    scene.hub.settings.credits = 1.0
    assert paid_once(scene, scene.clear(), sent=2)


@queue_and_record
def test_namespace_that_the_key_may_not_use_stops_the_task(scene):
    said = stopped(scene, scene.play(target_namespace="somebody-else"), sent=1)

    assert "OxenPermissionError" in said
    assert scene.job is None


@queue_and_record
def test_record_of_an_earlier_job_stays_where_another_request_is_refused(scene):
    scene.hub.fail(Fault("fails", on="enqueue"), Fault("status", on="enqueue", status=429, after=1))
    states: list[Any] = []
    scene.between = lambda: states.append((scene.record["phase"], scene.record.get("submissions", 1)))

    played = scene.play(max_cost=0.02)

    assert states == [("ended", 1), ("not_sent", 1)]
    assert paid_once(scene, played, sent=3, jobs=2)


# The job comes to nothing.


@all_homes
@by_queue
def test_failed_job_is_told_and_the_next_try_submits_another(scene):
    scene.hub.fail(Fault("fails", on="enqueue", message="upstream 500"))

    played = scene.play()

    [error] = played.errors
    assert type(error).__name__ == "OxenGenerationFailed"
    assert "failed: upstream 500" in str(error)
    assert "Whether the hub bills a generation that gave no image is not documented." in str(error)
    assert "The next try submits another." in str(error)
    assert paid_once(scene, played, sent=2, jobs=2)


WITHOUT_HOPE = {
    "parameters or moderation": ({"prompt": "a forbidden thing"}, None, "422"),
    "credits": ({}, Fault("fails", on="enqueue", message="Insufficient credits"), "Insufficient credits"),
}


@pytest.mark.parametrize(("arguments", "fault", "said"), WITHOUT_HOPE.values(), ids=WITHOUT_HOPE)
@queue_and_record
def test_job_that_would_fail_again_is_not_submitted_again_until_the_task_is_cleared(
    scene, arguments, fault, said
):
    if fault:
        scene.hub.fail(fault)

    message = stopped(scene, scene.play(**arguments), sent=1)

    assert said in message
    assert "Another one would fail in the same way." in message
    assert "is not documented" in message
    assert paid_once(scene, scene.clear(prompt="A red cube"), sent=2, jobs=2)


@with_record
@by_queue
def test_job_that_somebody_cancelled_stops_the_task_until_it_is_cleared(scene):
    scene.hub.fail(Fault("is_cancelled", on="enqueue"))

    message = stopped(scene, scene.play(), sent=1)

    assert "OxenGenerationCancelled" in message
    assert "Clear the task to submit another." in message
    assert paid_once(scene, scene.clear(), sent=2, jobs=2)


@all_homes
@by_queue
def test_job_that_the_hub_forgets_stops_the_task_and_nothing_more_is_sent(scene):
    scene.hub.fail(Fault("forgotten", on="enqueue"))

    message = stopped(scene, scene.play(), sent=1)

    assert "OxenGenerationNotFound" in message
    assert "may have been paid for" in message


@with_record
@by_queue
def test_forgotten_job_stops_a_cleared_task_too(scene):
    scene.hub.fail(Fault("forgotten", on="enqueue"))
    scene.play()

    message = stopped(scene, scene.clear(), sent=1)

    assert "may have been paid for" in message
    assert "on_unknown_outcome='resubmit'" in message


@all_homes
@by_queue
def test_forgotten_job_is_submitted_again_where_the_user_says_so(scene):
    scene.hub.fail(Fault("forgotten", on="enqueue"))

    played = scene.play(on_unknown_outcome="resubmit")

    assert [type(error).__name__ for error in played.errors] == ["OxenGenerationNotFound"]
    assert paid_once(scene, played, sent=2)


@all_homes
@by_queue
def test_finished_job_without_a_link_is_told_as_paid_and_no_other_is_submitted(scene):
    scene.hub.fail(Fault("without_url", on="enqueue"))

    played = scene.play()

    assert played.state == "failed"
    assert "Paid, image not fetched." in played.error
    assert [type(error).__name__ for error in played.errors] == ["OxenDownloadError"] * 3
    assert scene.sent == scene.paid == 1


@by_queue
def test_status_that_is_not_documented_is_taken_for_running(scene):
    scene.hub.settings.latency = 600 if scene.mode == "deferred" else 0.05
    scene.hub.fail(Fault("odd_status", on="enqueue", message="dreaming"))

    assert paid_once(scene, scene.play())


# The image does not come.


@pytest.mark.parametrize("home", ["file"])
@by_queue
def test_link_that_has_expired_is_asked_for_again(scene):
    # Twice: it is asked with the key as well.
    scene.hub.fail(Fault("status", on="file", status=403, times=2))

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)


@by_queue
def test_link_that_never_works_is_tried_again_and_never_paid_again(scene):
    scene.hub.settings.url_ttl = 0

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenExpiredURL"] * 3
    assert "The next try fetches it again, and pays nothing." in played.error
    assert scene.sent == scene.paid == 1
    scene.hub.settings.url_ttl = 600
    assert paid_once(scene, scene.clear())


@with_record
@by_queue
def test_bytes_that_are_no_image_stop_the_task_until_it_is_cleared(scene, tmp_path):
    scene.hub.fail(Fault("truncated", on="enqueue"))

    message = stopped(scene, scene.play(storage_path=f"{tmp_path}/out-1/cube"), sent=1)

    assert "OxenBadImage" in message
    assert "cube.rejected" in scene.files
    assert scene.clear().state == "success"
    assert scene.sent == 2


# It takes too long.


@all_homes
@by_queue
def test_job_that_takes_too_long_goes_on_and_the_next_try_takes_its_image(scene):
    scene.slow()
    scene.between = scene.later

    played = scene.play(timeout=0.05)

    [error] = played.errors
    assert type(error).__name__ == "OxenGenerationTimeout"
    assert "continues" in str(error)
    assert "submits nothing" in str(error)
    assert paid_once(scene, played)


@with_record
@by_queue
def test_job_that_takes_too_long_is_cancelled_where_the_user_says_so(scene):
    scene.slow()

    def between() -> None:
        assert scene.record["phase"] == "cancelling"
        scene.quick()

    scene.between = between

    played = scene.play(timeout=0.05, cancel_on_timeout=True)

    [error] = played.errors
    assert "was cancelled" in str(error)
    assert "The next try submits another." in str(error)
    assert [job["status"] for job in scene.hub.jobs()] == ["cancelled", "succeeded"]
    assert paid_once(scene, played, sent=2, jobs=2)


@without_record
@by_queue
def test_cancelled_job_is_never_paid_for_again_where_no_record_can_be_kept(scene):
    scene.slow()

    played = scene.play(timeout=0.05, cancel_on_timeout=True)

    assert played.state == "failed"
    assert scene.sent == 1
    assert [job["status"] for job in scene.hub.jobs()] == ["cancelled"]


@pytest.mark.parametrize("over", ["error", "ignore"])
@all_homes
@by_queue
def test_job_that_ends_while_it_is_cancelled_is_taken(scene, monkeypatch, over):
    scene.slow()
    scene.hub.settings.cancel_ended = over
    cancel = WorkerEffects.cancel

    async def slowly(self: WorkerEffects, generation_id: str) -> None:
        scene.later()
        await cancel(self, generation_id)

    monkeypatch.setattr(WorkerEffects, "cancel", slowly)

    played = scene.play(timeout=0.05, cancel_on_timeout=True)

    assert played.errors == []
    assert paid_once(scene, played)


@with_record
@by_queue
def test_job_that_cannot_be_cancelled_is_gone_on_with(scene):
    scene.slow()
    scene.hub.fail(Fault("status", on="cancel", status=500))
    scene.between = scene.later

    played = scene.play(timeout=0.05, cancel_on_timeout=True)

    assert "could not be cancelled" in scene.logged
    assert paid_once(scene, played)


@by_queue
def test_none_waits_for_ever(scene):
    assert paid_once(scene, scene.play(timeout=None))


@with_record
@by_queue
def test_hub_that_cannot_be_asked_is_no_reason_to_submit_another(scene):
    scene.slow()
    faults = [Fault("status", on=on, status=403, times=None) for on in ("queue", "job", "history")]
    scene.hub.fail(*faults)

    def between() -> None:
        scene.hub.clear_faults()
        scene.later()

    scene.between = between

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenPollError"]
    assert paid_once(scene, played)
