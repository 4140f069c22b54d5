"""What is final fails, a rate limit is waited out as told, the rest is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_oxen.api import errors

try:
    from airflow.providers.common.compat.sdk import RetryAction, RetryDecision

    from airflow_provider_oxen.retry_policy import OxenRetryPolicy
except ImportError:
    HAS_POLICIES = False
else:
    HAS_POLICIES = True

modern = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow before 3.3 has no retry policies")


def decide(error: BaseException, try_number: int = 1) -> RetryDecision:
    return OxenRetryPolicy().evaluate(error, try_number=try_number, max_tries=3)


@modern
def test_a_rate_limit_is_waited_out_as_told():
    decision = decide(errors.OxenRateLimited("Too many requests.", retry_after=90.0))

    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=90)
    assert "0:01:30" in (decision.reason or "")


@modern
def test_a_hub_that_says_at_once_is_left_alone_for_longer_with_each_try():
    error = errors.OxenRateLimited("Too many requests.", retry_after=0.0)
    delays = [decide(error, try_number).retry_delay for try_number in (1, 2, 3, 99)]

    assert delays == [timedelta(seconds=seconds) for seconds in (10, 20, 40, 300)]


@modern
@pytest.mark.parametrize("name", ["OxenCreditsError", "OxenModerationError", "OxenOutcomeUnknown"])
def test_what_is_final_fails(name):
    assert decide(getattr(errors, name)("It is over.")).action is RetryAction.FAIL


@modern
@pytest.mark.parametrize("name", ["OxenConnectionError", "OxenServerError", "OxenPollError"])
def test_the_rest_is_tried_again_with_the_tasks_own_delay(name):
    decision = decide(getattr(errors, name)("Not now."))

    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is None


@modern
def test_an_error_of_the_task_itself_takes_the_tasks_own_rules():
    assert decide(ValueError("mine")).action is RetryAction.DEFAULT


@modern
def test_the_policy_survives_serialisation():
    policy = OxenRetryPolicy()

    assert isinstance(OxenRetryPolicy.deserialize(policy.serialize()), OxenRetryPolicy)


@pytest.mark.skipif(HAS_POLICIES, reason="Airflow 3.3 and newer have retry policies")
def test_older_airflow_is_named():
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3"):
        import airflow_provider_oxen.retry_policy  # noqa: F401
