"""What a task's failure says: money first, then what another try does, then the cause and the remedy."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_oxen.api.errors import (
    OxenDownloadError,
    OxenError,
    OxenInvalidRequest,
    OxenOutcomeUnknown,
    OxenPollError,
    OxenRateLimited,
)
from airflow_provider_oxen.hooks.failures import for_airflow, waited_for


def line(error: OxenError, kind: type[Exception], waited: str | None = None) -> str:
    with pytest.raises(kind) as caught, for_airflow(), waited_for(waited):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OxenInvalidRequest("The seed is no number.", remedy="Change it."),
            "Nothing was spent by this try. Not tried again. The seed is no number. Change it. "
            "(OxenInvalidRequest)",
        ),
        (
            OxenOutcomeUnknown("The answer was lost."),
            "An image may have been paid for. Not tried again. The answer was lost. (OxenOutcomeUnknown)",
        ),
        (
            OxenDownloadError("It is gone.", retry="Once cleared, the task asks again."),
            "Paid, image not fetched. Not tried again. Once cleared, the task asks again. It is gone. "
            "(OxenDownloadError)",
        ),
    ],
    ids=["spent nothing", "unknown", "paid"],
)
def test_failure_for_good_says_so_and_its_cause_is_the_error(error, said):
    assert line(error, AirflowFailException) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OxenRateLimited("Too many requests."),
            "Nothing was spent by this try. It is safe to try again; Airflow's retries decide. "
            "Too many requests.",
        ),
        (
            OxenPollError("No answer."),
            "An image may have been paid for. Airflow's retries decide. No answer.",
        ),
        (
            OxenDownloadError(
                "No answer.", retry_helps=True, retry="The next try fetches it and pays nothing."
            ),
            "Paid, image not fetched. The next try fetches it and pays nothing. No answer.",
        ),
    ],
    ids=["spent nothing", "unknown", "paid"],
)
def test_what_another_try_mends_passes_and_says_what_that_does(error, said):
    assert line(error, type(error)) == said


def test_what_the_task_has_waited_for_may_have_been_paid_for():
    error = OxenInvalidRequest("The seed is no number.")

    assert line(error, AirflowFailException, "What this task has waited for") == (
        "What this task has waited for may have been paid for. Not tried again. The seed is no number. "
        "Clear the task to go on with it. (OxenInvalidRequest)"
    )
