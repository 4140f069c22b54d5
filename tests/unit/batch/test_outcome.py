"""What one row's failure means for the others."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.clock import MAX_RETRY_AFTER
from airflow_provider_oxen.batch.limits import NotSent
from airflow_provider_oxen.batch.outcome import MOST_LOST, StopRule, is_unknown, read_outcome

FAILED = errors.OxenGenerationFailed("The generation failed: out of memory.")
LOST = errors.OxenOutcomeUnknown("The answer was lost.")


def test_first_failure_is_the_last_where_the_batch_is_to_fail():
    stop_rule = StopRule(continue_on_error=False, most=None)

    why = "a prompt gave no image (on_error='continue' would send the rest)"
    assert stop_rule.reason_to_stop(FAILED) == why
    assert stop_rule.is_broken


@pytest.mark.parametrize(("most", "end"), [(0, 1), (2, 3)])
def test_batch_goes_on_until_too_many_failed(most, end):
    stop_rule = StopRule(continue_on_error=True, most=most)
    told = [stop_rule.reason_to_stop(FAILED) for _ in range(end)]

    assert told == [None] * (end - 1) + [f"more than max_failures ({most}) prompts gave no image"]
    assert stop_rule.is_broken


def test_batch_without_a_limit_goes_on():
    stop_rule = StopRule(continue_on_error=True, most=None)

    assert {stop_rule.reason_to_stop(FAILED) for _ in range(100)} == {None}
    assert not stop_rule.is_broken


@pytest.mark.parametrize("continue_on_error", [True, False])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (errors.OxenCreditsError("402"), "credits"),
        (errors.OxenGenerationFailed("The generation failed.", type="insufficient_credits"), "credits"),
        (errors.OxenAuthenticationError("401"), "key"),
        (errors.OxenConnectionError("no route"), "cannot be reached"),
        (errors.OxenStoreUnavailable("no answer"), "does not answer"),
    ],
)
def test_what_every_row_would_meet_stops_the_batch_and_counts_for_no_row(continue_on_error, error, why):
    stop_rule = StopRule(continue_on_error=continue_on_error, most=0)

    assert why in (stop_rule.reason_to_stop(error) or "")
    assert not stop_rule.is_broken


@pytest.mark.parametrize(
    "error", [errors.OxenBadImage("no"), errors.OxenExpiredURL("no"), errors.OxenImageError("no")]
)
def test_image_after_image_that_is_paid_for_and_not_kept_stops_the_batch(error):
    stop_rule = StopRule(continue_on_error=True, most=None)
    told = [stop_rule.reason_to_stop(error) for _ in range(MOST_LOST)]

    assert told[:-1] == [None] * (MOST_LOST - 1)
    assert told[-1] == f"{MOST_LOST} images in a row were paid for, and none of them could be kept"
    assert stop_rule.loses_all
    assert not stop_rule.is_broken


def test_image_that_is_kept_lets_the_batch_go_on():
    stop_rule = StopRule(continue_on_error=True, most=None)
    for _ in range(5):
        assert {stop_rule.reason_to_stop(errors.OxenBadImage("no")) for _ in range(MOST_LOST - 1)} == {None}
        stop_rule.kept()

    assert not stop_rule.loses_all


def test_what_was_not_sent_is_no_failure():
    stop_rule = StopRule(continue_on_error=False, most=None)

    assert stop_rule.reason_to_stop(NotSent("The batch has stopped.")) is None
    assert not stop_rule.is_broken


def test_what_may_have_been_paid_for_is_unknown_unless_the_hub_has_told_its_end():
    assert is_unknown(LOST)
    assert not is_unknown(errors.OxenCreditsError("402"))
    assert not is_unknown(errors.OxenGenerationCancelled("It was cancelled."))
    assert not is_unknown(FAILED)
    assert is_unknown(ValueError("of ours"))


@pytest.mark.parametrize(
    ("stored", "read"),
    [(-5.0, 0.0), (7.0, 7.0), (1e9, MAX_RETRY_AFTER), (float("inf"), None), (None, None)],
)
def test_wait_in_a_record_is_one_that_a_hub_may_ask_for(stored, read):
    assert read_outcome({"retry_after": stored}).retry_after == read
