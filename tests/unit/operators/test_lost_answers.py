"""A request whose answer was lost is found, or the task stops: it is never paid for twice."""

from __future__ import annotations

import time

import pytest
import time_machine

from airflow_provider_oxen.localhub import Fault

from .scene import (
    SMALL,
    all_homes,
    by_call,
    by_queue,
    dies,
    paid_once,
    queue_and_homes,
    queue_and_record,
    stopped,
    with_record,
    without_record,
)

# The answer is lost.

LOST = {
    "connection closed": Fault("drop_after", on="enqueue"),
    "gateway gave up": Fault("status", on="enqueue", status=504, shape="html", billed=True),
    "server error": Fault("status", on="enqueue", status=500, billed=True),
    "unreadable": Fault("broken_json", on="enqueue", billed=True),
    "shown late": Fault("late", on="enqueue", seconds=0.05),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
@queue_and_homes
def test_lost_answer_is_found_in_the_same_try(scene, lost):
    scene.hub.fail(lost)

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert "Looking for it on the hub." in scene.logged


@queue_and_homes
def test_request_that_never_arrived_is_sent_again_after_two_looks_at_both_lists(scene):
    scene.hub.fail(Fault("drop_before", on="enqueue"))

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played, sent=2)
    asked = [seen["path"] for seen in scene.hub.requests() if seen["method"] == "GET"]
    assert asked.count("/api/ai/generations") == 2
    second = next(
        n for n, seen in enumerate(scene.hub.requests()) if seen["status"] == 200 and seen["method"] == "POST"
    )
    looks = [seen["path"] for seen in scene.hub.requests()[:second] if seen["path"] in LISTS]
    assert looks == ["/api/ai/queue", *LISTS, *LISTS]


LISTS = ("/api/ai/queue", "/api/ai/generations")


@queue_and_homes
def test_lists_that_cannot_be_read_are_no_sign_that_there_is_nothing(scene):
    scene.hub.fail(Fault("drop_after", on="enqueue"))
    scene.hub.fail(Fault("status", on="history", status=500))

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenPollError"]
    assert "may have been paid for" in str(played.errors[0])
    assert paid_once(scene, played)


@all_homes
@by_queue
def test_two_lost_answers_in_a_row_are_looked_up_by_the_next_try(scene):
    scene.hub.fail(Fault("drop_before", on="enqueue"), Fault("drop_after", on="enqueue"))

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenOutcomeUnknown"]
    assert paid_once(scene, played, sent=2)


@all_homes
@by_queue
def test_death_after_sending_is_looked_up_by_the_next_try(scene, monkeypatch):
    dies(monkeypatch, "send", after=True)

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["Struck"]
    assert paid_once(scene, played)
    assert played.result["seed"] == scene.hub.ledger()[0]["seed"]


# A model without a seed.


@all_homes
@by_queue
def test_lost_answer_without_a_seed_is_not_taken_for_this_tasks(scene):
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    message = stopped(scene, scene.play(**SMALL), sent=1)

    assert "1 generation(s) of the hub's lists could be it, or another task's" in message
    assert "'adopt' (take the one generation that matches)" in message


@all_homes
@by_queue
def test_single_match_without_a_seed_is_taken_where_the_user_says_so(scene):
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    played = scene.play(**SMALL, on_unknown_outcome="adopt")

    assert played.errors == []
    assert paid_once(scene, played)


@all_homes
@by_queue
def test_one_of_two_matches_without_a_seed_is_never_taken(cast):
    first, second = cast(0, **SMALL), cast(1, **SMALL, on_unknown_outcome="adopt")
    assert first.play().state == "success"
    second.hub.fail(Fault("drop_after", on="enqueue"))

    message = stopped(second, second.play(), sent=2)

    assert "2 generation(s) of the hub's lists could be it" in message


@all_homes
@by_queue
def test_twins_without_a_seed_never_take_each_others_image(cast):
    first, second = cast(0, **SMALL), cast(1, **SMALL)
    assert first.play().state == "success"
    second.hub.fail(Fault("drop_before", on="enqueue"))

    message = stopped(second, second.play(), sent=2)

    assert "could be it, or another task's" in message
    assert len(second.hub.jobs()) == 1


@all_homes
@by_queue
def test_twins_with_seeds_that_were_drawn_never_take_each_others_image(cast):
    first, second = cast(0), cast(1)
    assert first.play().state == "success"
    second.hub.fail(Fault("drop_before", on="enqueue"))

    played = second.play()

    assert played.state == "success"
    assert len({entry["seed"] for entry in second.hub.ledger()}) == 2
    assert played.result["seed"] == second.hub.ledger()[1]["seed"]


@all_homes
@by_queue
def test_directory_names_the_task_and_a_lost_answer_without_a_seed_is_found(cast):
    first, scene = (cast(index, **SMALL, target_repo="local-user/images") for index in (0, 1))
    assert first.play().state == "success"
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    played = scene.play()

    assert played.errors == []
    one, other = (entry["request"] for entry in scene.hub.ledger())
    assert one["target_repo"] == other["target_repo"] == "local-user/images"
    assert other["target_directory"].startswith(f"airflow/{scene.identity}")
    assert one["target_directory"].startswith(f"airflow/{first.identity}")
    assert played.result["generation_id"] == scene.hub.ledger()[1]["generation_id"]


@without_record
@by_queue
def test_directory_finds_the_job_of_an_earlier_try_where_no_record_can_be_kept(scene, monkeypatch):
    dies(monkeypatch, "send", after=True)

    assert paid_once(scene, scene.play(**SMALL, target_repo="local-user/images"))


# The synchronous endpoint.


@all_homes
@by_call
def test_lost_answer_of_a_call_is_found_where_the_history_shows_calls(scene):
    scene.hub.settings.history_shows_generate = True
    scene.hub.fail(Fault("drop_after", on="generate"))

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert dict(scene.xcoms)["generation_link"].startswith(f"{scene.hub.url}/api/ai/generations/")


@all_homes
@by_call
def test_lost_answer_of_a_call_that_is_not_found_stops_without_a_second_payment(scene):
    scene.hub.fail(Fault("drop_after", on="generate"))

    message = stopped(scene, scene.play(), sent=1)

    assert "OxenOutcomeUnknown" in message
    assert "may have been paid for" in message
    assert "they leave out requests that did not use the queue" in message
    assert "set on_unknown_outcome to 'resubmit'" in message
    assert scene.paid == 1


@all_homes
@by_call
def test_death_after_a_call_stops_the_next_try_without_a_second_payment(scene, monkeypatch):
    dies(monkeypatch, "send", after=True)

    assert "OxenOutcomeUnknown" in stopped(scene, scene.play(), sent=1)
    assert scene.paid == 1


@all_homes
@by_call
def test_lost_answer_of_a_call_is_paid_for_again_where_the_user_says_so(scene):
    scene.hub.fail(Fault("drop_after", on="generate"))

    played = scene.play(on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert scene.sent == scene.paid == 2


@with_record
@by_call
def test_answer_on_record_is_fetched_by_the_next_try(scene, monkeypatch):
    dies(monkeypatch, "keep")

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["Struck"]
    assert paid_once(scene, played)


@with_record
@by_call
def test_base64_answer_that_died_with_the_worker_is_told_and_not_paid_again(scene, monkeypatch):
    dies(monkeypatch, "keep")

    message = stopped(scene, scene.play(response_format="b64_json"), sent=1)

    assert "This task has paid for a request for z-image-turbo" in message
    assert "To pay for another, set overwrite=True or on_unknown_outcome='resubmit'" in message
    played = scene.clear(on_unknown_outcome="resubmit")
    assert played.state == "success"
    assert scene.paid == 2


# A clock that was set back.


@pytest.mark.parametrize("arguments", [{}, SMALL], ids=["seed", "no seed"])
@queue_and_record
def test_clock_that_was_set_back_makes_no_second_job(scene, monkeypatch, arguments):
    dies(monkeypatch, "send", after=True)
    scene.once(**arguments)

    with time_machine.travel(time.time() - 7200, tick=True):
        scene.hub.settings.clock_ahead += 7200
        played = scene.play()

    assert scene.sent == 1
    if arguments:
        assert "could be it, or another task's" in played.error
    else:
        assert paid_once(scene, played)


@pytest.mark.parametrize("ahead", [-80_000, -7200, -500, 7200])
@queue_and_homes
def test_hub_with_another_clock_makes_no_second_job(scene, ahead):
    scene.hub.settings.clock_ahead = ahead
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    assert paid_once(scene, scene.play())


@pytest.mark.parametrize("ahead", [-7200, 7200])
@queue_and_record
def test_hub_with_another_clock_shows_the_job_of_a_model_without_a_seed(scene, ahead):
    scene.hub.settings.clock_ahead = ahead
    scene.hub.fail(Fault("drop_after", on="enqueue"))
    scene.once(**SMALL)

    played = scene.play()

    assert scene.sent == 1
    assert "could be it, or another task's" in played.error


@with_record
@by_queue
def test_time_limit_of_a_job_that_is_found_is_by_the_workers_clock(scene):
    """By the hub's, which is two hours behind, it would have passed."""
    scene.hub.settings.clock_ahead = -7200
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    assert paid_once(scene, scene.play(timeout=600))
