"""One task, one image, one payment: what is asked, what it may cost, and what is remembered of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_oxen.links import OxenGenerationLink
from airflow_provider_oxen.localhub import Fault

from .scene import (
    KEY,
    MODEL,
    TIMED,
    all_homes,
    all_modes,
    by_queue,
    left_running,
    paid_once,
    record_store,
    stopped,
    with_record,
)

# All is well.


@all_homes
@all_modes
def test_one_image_is_asked_for_and_paid_for(scene, mode):
    if mode != "deferred":
        scene.hub.settings.latency = 0.05

    played = scene.play()

    assert paid_once(scene, played)
    assert played.errors == []
    [entry] = scene.hub.ledger()
    assert played.result["reused"] is False
    assert played.result["seed"] == entry["request"]["seed"]
    assert ("generation_id" in played.result) is (mode != "synchronous")
    assert ("cost" in played.result) is (mode != "synchronous")
    assert scene.deferred == ([played.result["generation_id"]] if mode == "deferred" else [])


@all_homes
@by_queue
def test_generation_can_be_followed_from_the_moment_it_is_accepted(scene):
    played = scene.play()

    generation_id = played.result["generation_id"]
    link = f"{scene.hub.url}/api/ai/queue/{generation_id}"
    told = dict(scene.xcoms)
    assert {"generation_id": generation_id, "generation_link": link}.items() <= told.items()
    # For people: the hub answers them with JSON, and a 401.
    page = str(told.get(OxenGenerationLink.key))
    assert page.startswith("oxen/images/" if AIRFLOW_V_3_1_PLUS else "None")
    assert f"Follow it (with the key) at {link}" in scene.logged
    asked = httpx.get(link, headers={"Authorization": f"Bearer {KEY}"})
    assert asked.json()["generation_id"] == generation_id


@by_queue
def test_link_that_cannot_be_pushed_is_no_reason_to_fail(scene):
    def push(key: str, value: Any) -> None:
        raise RuntimeError("the XCom backend is away")

    scene.push = push

    assert paid_once(scene, scene.play())
    assert "The generation's id could not be pushed to XCom: the XCom backend is away" in scene.logged


@pytest.mark.parametrize("home", ["none"])
@by_queue
def test_queue_answers_links_and_base64_text_is_made_here(scene):
    played = scene.play(response_format="b64_json")

    assert paid_once(scene, played)
    assert played.image["sha256"] == scene.hub.ledger()[0]["sha256"]
    assert played.image["b64_json"]
    assert "response_format" not in scene.hub.ledger()[0]["request"]


@by_queue
def test_older_hubs_are_understood(scene):
    scene.hub.settings.row_keys = "model"
    scene.hub.settings.history_detail = "bare"
    scene.hub.fail(Fault("drop_after", on="enqueue"))

    played = scene.play()

    assert paid_once(scene, played)
    assert played.result["cost"] == 0.01


# What it may cost.


@all_homes
@all_modes
def test_image_that_costs_too_much_is_refused_before_anything_is_sent(scene):
    message = stopped(scene, scene.play(max_cost=0.005), sent=0)

    assert "The image would cost $0.01, and max_cost is $0.005. To allow it, raise max_cost." in message
    assert scene.job is None


@all_modes
def test_image_whose_price_is_not_known_is_refused_before_anything_is_sent(scene):
    message = stopped(scene, scene.play(max_cost=5, model=TIMED), sent=0)

    assert "the catalogue has no price for" in message


@with_record
@by_queue
def test_all_submissions_of_a_task_count_against_what_it_may_cost(scene):
    scene.hub.fail(Fault("fails", on="enqueue", times=None))

    message = stopped(scene, scene.play(max_cost=0.02), sent=2)

    assert "submission 3 of this task at $0.01 each, $0.03 in all, and max_cost is $0.02" in message


@all_modes
def test_price_is_asked_of_the_other_layout_where_one_does_not_tell_it(scene):
    assert paid_once(scene, scene.play(max_cost=0.01, validate="off"))

    paths = [seen["path"] for seen in scene.hub.requests() if "models" in seen["path"]]
    assert paths == [f"/api/evaluations/models/{MODEL}", f"/api/ai/models/{MODEL}"]


@all_modes
def test_price_that_no_layout_tells_is_not_known(scene):
    scene.hub.settings.layouts = frozenset({"classic"})

    message = stopped(scene, scene.play(max_cost=0.01), sent=0)

    assert "the catalogue has no price for" in message


# The record itself.

UNFIT = {
    "another program's": ({"job": 1}, "this package did not write it"),
    "a list": ([1], "this package did not write it"),
    "damaged": ({"format": "airflow-provider-oxen/job/1", "phase": "intent"}, "it is damaged"),
    "of a later version": ({"format": "airflow-provider-oxen/job/9"}, "or of a later version"),
}


@pytest.mark.parametrize(("record", "said"), UNFIT.values(), ids=UNFIT)
@with_record
@all_modes
def test_record_that_cannot_be_relied_upon_stops_the_task_before_anything_is_asked(scene, record, said):
    scene.remember(record)

    message = stopped(scene, scene.play(), sent=0)

    assert "OxenRecordError" in message
    assert said in message
    assert scene.hub.requests() == []


@pytest.mark.parametrize("text", ["{", "", "\xff"])
def test_record_that_is_no_json_stops_the_task_before_anything_is_asked(scene, text):
    scene.remember(text)

    assert "it is not JSON" in stopped(scene, scene.play(), sent=0)
    assert scene.hub.requests() == []


@with_record
@by_queue
def test_record_of_another_task_stops_the_task_before_anything_is_asked(cast):
    first, second = cast(0), cast(1)
    left_running(first)
    second.remember(first.record)

    assert "it belongs to another task" in stopped(second, second.play(), sent=1)


@with_record
@all_modes
@pytest.mark.parametrize("done", ["read", "write"])
def test_record_that_cannot_be_read_or_written_stops_the_try_before_anything_is_sent(scene, broken, done):
    broken.fails = lambda asked, record: asked == done

    def between() -> None:
        assert scene.sent == 0
        broken.fails = lambda asked, record: False

    scene.between = between

    played = scene.play()

    error = played.errors[0]
    assert type(error).__name__ == "OxenStoreUnavailable"
    assert "Nothing was spent by this try" in str(error)
    if scene.mode == "synchronous" and (scene.store or done == "write"):
        # Nothing says that the first try has not sent: no list need show it.
        assert "may have been paid for" in stopped(scene, played, sent=0)
    else:
        assert paid_once(scene, played)
        assert len(played.errors) == 1


@with_record
@by_queue
def test_intent_that_is_not_there_after_it_was_written_is_not_sent(scene, monkeypatch):
    """So a store answers a try that is over, too: as if there were no key."""
    home = record_store(scene)
    write, read = home.write, home.read

    def written(self: Any, record: Any) -> None:
        write(self, record)
        if record.phase == "intent":
            monkeypatch.setattr(home, "read", lambda self: None)

    monkeypatch.setattr(home, "write", written)

    tried = scene.once()

    assert "has disappeared: another try may be running" in tried.error
    assert (tried.state, scene.sent) == ("up_for_retry", 0)
    monkeypatch.setattr(home, "read", read)
    assert scene.record["phase"] == "intent", "whoever is overtaken writes nothing"


@with_record
@by_queue
def test_intent_of_another_process_that_came_first_is_resolved_and_not_doubled(scene, monkeypatch):
    home = record_store(scene)
    create = home.create
    body = {"model": MODEL, "prompt": "A red cube"}
    # What a task writes before its arguments are read tells of no request yet.
    monkeypatch.setattr("airflow_provider_oxen.tasks.beginning.begin", lambda operator, context: None)

    def second(self: Any, record: Any) -> None:
        monkeypatch.setattr(home, "create", create)
        create(self, record.to("intent", nonce="of the first", body=body))
        if not scene.store:
            create(self, record)

    monkeypatch.setattr(home, "create", second)

    played = scene.play()

    # Nobody has sent for the first: after the grace this try does.
    assert paid_once(scene, played)


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_cost": 0}, "max_cost must be a number above 0, not 0."),
        ({"max_cost": "cheap"}, "max_cost must be a number above 0, not 'cheap'."),
        ({"use_queue": "maybe"}, "use_queue must be True or False, not 'maybe'."),
        ({"poll_interval": 0}, "poll_interval must be a number of seconds above 0, not 0."),
        ({"poll_interval": "-1"}, "poll_interval must be a number of seconds above 0, not '-1'."),
        ({"timeout": -1}, "timeout must be a number of seconds above 0, not -1."),
        ({"timeout": "soon"}, "timeout must be a number of seconds above 0, not 'soon'."),
        ({"cancel_on_timeout": "maybe"}, "cancel_on_timeout must be True or False, not 'maybe'."),
        ({"cancel_on_kill": 2}, "cancel_on_kill must be True or False, not 2."),
        (
            {"on_unknown_outcome": "pay"},
            "on_unknown_outcome must be one of fail, adopt, resubmit, not 'pay'.",
        ),
        ({"on_changed_request": "adopt"}, "on_changed_request must be one of fail, submit, not 'adopt'."),
        ({"lookup_grace": 0}, "lookup_grace must be a number of seconds above 0, not 0."),
        ({"lookup_grace": float("inf")}, "lookup_grace must be a number of seconds above 0, not inf."),
        ({"target_repo": 5}, "target_repo must be a text, not 5."),
        ({"use_queue": False, "target_repo": "a/b"}, "target_repo is a parameter of the queue"),
        ({"use_queue": False, "deferrable": True}, "deferrable=True needs the queue"),
    ],
    ids=repr,
)
def test_bad_argument_is_named_before_anything_is_asked(scene, arguments, said):
    message = stopped(scene, scene.play(**arguments), sent=0)

    assert said in message
    assert scene.hub.requests() == []


@all_homes
@all_modes
@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_image_that_would_have_no_place_is_refused_before_anything_is_asked(
    scene, home, mode, response_format
):
    scene.arguments["response_format"] = response_format

    played = scene.play(do_xcom_push=False)

    if home == "file":
        assert paid_once(scene, played)
        return
    message = stopped(scene, played, sent=0)
    assert "There is no place for the image: do_xcom_push=False keeps the result out of XCom" in message
    assert "Nothing was spent by this try" in message
    assert scene.hub.requests() == []


def test_arguments_that_were_rendered_to_text_get_their_types(scene):
    played = scene.play(
        max_cost="0.5",
        use_queue="True",
        poll_interval="0.02",
        timeout="3",
        cancel_on_timeout="False",
        cancel_on_kill="True",
        on_unknown_outcome="adopt",
        on_changed_request="submit",
        lookup_grace="0.1",
        target_repo="None",
        overwrite="False",
    )

    assert paid_once(scene, played)
    assert "target_repo" not in scene.hub.ledger()[0]["request"]


@pytest.mark.parametrize("nothing", [None, "", "None", " null "], ids=repr)
def test_arguments_that_were_rendered_to_nothing_are_those_by_default(scene, nothing):
    names = ("max_cost", "timeout", "cancel_on_timeout", "cancel_on_kill", "target_repo", "overwrite")
    more = ("on_unknown_outcome", "on_changed_request", "validate", "max_bytes", "oxen_conn_id")

    played = scene.play(**dict.fromkeys((*names, *more), nothing))

    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred", "synchronous"])
def test_queue_is_used_where_the_task_defers(scene, mode):
    assert paid_once(scene, scene.play(use_queue=None))
    assert scene.hub.ledger()[0]["route"] == ("queue" if mode == "deferred" else "generate")


@by_queue
def test_user_who_gives_the_seed_has_it_sent(scene):
    assert scene.play(seed="42").result["seed"] == 42
    assert scene.hub.ledger()[0]["request"] == {"model": MODEL, "prompt": "A red cube", "seed": 42}
