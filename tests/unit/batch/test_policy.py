"""What one row's failure means for the others."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.batch.gate import NotSent
from airflow_provider_oxen.batch.policy import Policy, is_unknown

FAILED = errors.OxenGenerationFailed("The generation failed: out of memory.")
LOST = errors.OxenOutcomeUnknown("The answer was lost.")


def test_first_failure_is_the_last_where_the_batch_is_to_fail():
    policy = Policy(goes_on=False, most=None)

    assert policy.judge(FAILED) == "a prompt gave no image (on_error='continue' would go on)"
    assert policy.is_broken


@pytest.mark.parametrize(("most", "end"), [(0, 1), (2, 3)])
def test_batch_goes_on_until_too_many_failed(most, end):
    policy = Policy(goes_on=True, most=most)
    told = [policy.judge(FAILED) for _ in range(end)]

    assert told == [None] * (end - 1) + [f"more than max_failures ({most}) prompts gave no image"]
    assert policy.is_broken


def test_batch_without_a_limit_goes_on():
    policy = Policy(goes_on=True, most=None)

    assert {policy.judge(FAILED) for _ in range(100)} == {None}
    assert not policy.is_broken


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (errors.OxenCreditsError("402"), "credits"),
        (errors.OxenGenerationFailed("The generation failed: Insufficient credits."), "credits"),
        (errors.OxenGenerationFailed("The generation failed: insufficient_credits."), "credits"),
        (errors.OxenAuthenticationError("401"), "key"),
        (errors.OxenConnectionError("no route"), "cannot be reached"),
        (errors.OxenStoreUnavailable("no answer"), "does not answer"),
    ],
)
def test_what_every_row_would_meet_stops_the_batch_and_counts_for_no_row(goes_on, error, why):
    policy = Policy(goes_on=goes_on, most=0)

    assert why in (policy.judge(error) or "")
    assert not policy.is_broken


def test_what_was_not_sent_is_no_failure():
    policy = Policy(goes_on=False, most=None)

    assert policy.judge(NotSent("The batch has stopped.")) is None
    assert not policy.is_broken


def test_what_may_have_been_paid_for_is_unknown_unless_the_hub_has_told_its_end():
    assert is_unknown(LOST)
    assert not is_unknown(errors.OxenCreditsError("402"))
    assert not is_unknown(errors.OxenGenerationCancelled("It was cancelled."))
    assert not is_unknown(FAILED)
    assert is_unknown(ValueError("of ours"))
