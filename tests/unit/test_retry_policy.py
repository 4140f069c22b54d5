"""What is final fails, a rate limit is waited out as told, the rest is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_oxen.api import errors

try:
    from airflow.providers.common.compat.sdk import RetryAction, RetryDecision

    from airflow_provider_oxen.retry_policy import OxenRetryPolicy
except ImportError:
    RetryAction = None

modern = pytest.mark.skipif(RetryAction is None, reason="Airflow before 3.3 has no retry policies")


def decide(error: BaseException) -> RetryDecision:
    return OxenRetryPolicy().evaluate(error, try_number=1, max_tries=3)


@modern
def test_a_rate_limit_is_waited_out_as_told():
    decision = decide(errors.OxenRateLimited("Too many requests.", retry_after=90.0))

    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=90)
    assert "0:01:30" in (decision.reason or "")


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


@pytest.mark.skipif(RetryAction is not None, reason="Airflow 3.3 and newer have retry policies")
def test_older_airflow_is_named():
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3"):
        import airflow_provider_oxen.retry_policy  # noqa: F401
