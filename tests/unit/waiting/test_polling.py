"""What a look at a generation means, look by look."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import (
    OxenAuthenticationError,
    OxenGenerationNotFound,
    OxenRateLimited,
    OxenServerError,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import End, is_final
from airflow_provider_oxen.waiting.polling import LINKLESS, TOLERATED, Poll, pace

LINK = "https://hub.example/image.png"
BUSY = OxenServerError("The hub did not answer.")
STRANGE = OxenGenerationNotFound("The hub does not know it.")


def row(status: str, **facts: Any) -> Generation:
    return Generation.model_validate({"generation_id": "g-1", "status": status, **facts})


@pytest.mark.parametrize("status", ["queued", "processing", "resting"])
def test_what_runs_is_waited_for(status):
    assert Poll().seen(row(status), 10.0) is None


@pytest.mark.parametrize(
    ("seen", "end"),
    [
        (row("succeeded", result_url=LINK), End("succeeded")),
        (row("failed", error_message="busy"), End("failed", "busy")),
        (row("failed"), End("failed", "")),
        (row("cancelled"), End("cancelled", "")),
    ],
    ids=["succeeded", "failed", "failed without a reason", "cancelled"],
)
def test_what_has_ended_ends_the_waiting_even_past_the_deadline(seen, end):
    assert Poll(deadline=5.0).seen(seen, 10.0) == end


def test_finished_one_without_a_link_is_looked_at_again_as_it_may_be_written_in_two_steps():
    poll = Poll()

    assert [poll.seen(row("succeeded"), 1.0) for _ in range(LINKLESS - 1)] == [None] * (LINKLESS - 1)
    assert poll.seen(row("succeeded"), 1.0) == End("succeeded", "it finished without a link to its image")


def test_link_that_comes_late_is_in_time():
    poll = Poll()
    poll.seen(row("succeeded"), 1.0)

    assert poll.seen(row("succeeded", result_url=LINK), 2.0) == End("succeeded")


def test_status_that_is_not_known_is_told_once(caplog):
    poll = Poll()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            poll.seen(row("resting" * 50), 1.0)

    assert len(caplog.records) == 1
    assert "resting" * 50 not in caplog.text, "a status is a word, not a story"


@pytest.mark.parametrize(
    ("reason", "retryable", "final"),
    [
        ("Insufficient credits", True, False),
        ("upstream is busy", False, True),
        ("upstream is busy", None, False),
        ("NSFW", None, True),
    ],
)
def test_what_the_row_says_of_a_failure_goes_before_its_words(reason, retryable, final):
    end = Poll().seen(row("failed", error_message=reason, error_retryable=retryable), 1.0)

    assert end == End("failed", reason, retryable)
    assert end.final is final


def test_status_that_is_not_known_is_told_at_the_deadline():
    end = Poll(deadline=5.0).seen(row("resting"), 10.0)

    assert end == End("timed_out", "The hub calls it 'resting', which this version does not know.")


@pytest.mark.parametrize("late", [10.0, 11.0])
def test_deadline_ends_the_waiting(late):
    poll = Poll(deadline=10.0)

    assert poll.seen(row("processing"), 9.9) is None
    assert poll.running(9.9) is None
    assert poll.failed(BUSY, 9.9) is None
    assert poll.seen(row("processing"), late) == End("timed_out")
    assert poll.running(late) == End("timed_out")
    assert poll.failed(BUSY, late) == End("timed_out")


def test_without_a_deadline_it_waits_for_ever():
    assert Poll().running(1e12) is None


@pytest.mark.parametrize("busy", [BUSY, OxenRateLimited("Too many requests.")], ids=["500", "429"])
def test_failed_looks_in_a_row_are_waited_out_up_to_a_number(busy):
    poll = Poll()

    assert [poll.failed(busy, 1.0) for _ in range(TOLERATED)] == [None] * TOLERATED
    assert poll.failed(busy, 1.0) == End("unreachable", busy.message)


@pytest.mark.parametrize("look", [lambda poll: poll.seen(row("queued"), 1.0), lambda poll: poll.running(1.0)])
def test_look_that_brings_something_begins_the_count_anew(look):
    poll = Poll()
    for _ in range(TOLERATED):
        poll.failed(BUSY, 1.0)
        poll.failed(STRANGE, 1.0)
    look(poll)

    assert poll.failed(BUSY, 1.0) is None
    assert poll.failed(STRANGE, 1.0) is None


def test_error_that_no_retry_mends_ends_the_waiting_at_once():
    assert Poll().failed(OxenAuthenticationError("Wrong key."), 1.0) == End("unreachable", "Wrong key.")


def test_id_that_is_not_known_is_waited_for_as_a_row_may_come_late():
    poll = Poll(not_found_until=60.0)

    assert [poll.failed(STRANGE, 1.0) for _ in range(20)] == [None] * 20
    assert poll.failed(STRANGE, 60.0) == End("unknown", "The hub does not know it.")


def test_id_that_is_not_known_long_after_is_asked_for_a_few_times():
    poll = Poll(not_found_until=60.0)

    assert [poll.failed(STRANGE, 99.0) for _ in range(TOLERATED - 1)] == [None] * (TOLERATED - 1)
    assert poll.failed(STRANGE, 99.0) == End("unknown", "The hub does not know it.")


def test_pace_grows_to_the_double_and_no_further(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda least, most: (least + most) / 2)
    middle = [pace(3.0, look) for look in (0, 15, 30, 300)]

    assert middle == pytest.approx([3.0, 4.5, 6.0, 6.0])


def test_pace_keeps_many_tasks_out_of_step():
    paces = {pace(10.0, 0) for _ in range(100)}

    assert len(paces) > 1
    assert all(9.0 <= seconds <= 11.0 for seconds in paces)


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        ("Insufficient credits", True),
        ("You have run out of credits.", True),
        ("Prompt was moderated", True),
        ("content_policy violation", True),
        ("NSFW content", True),
        ("Getting model response error: 422 - ensure it is at most 50", True),
        ("HTTP 400", True),
        ("invalid_params", True),
        ("DataInspectionFailed - Green net check failed for text (input)", True),
        ("InputImageSensitiveContentDetected", True),
        ("content_policy_violation", True),
        ("403 Client Error: Forbidden for url https://x.example/", True),
        ("The safety system refused it.", True),
        ("upstream is busy", False),
        ("Getting model response error: 500", False),
        ("node 14220 died", False),
        ("", False),
        (None, False),
    ],
)
def test_reason_tells_whether_another_would_fail_too(reason, final):
    assert is_final(reason) is final
