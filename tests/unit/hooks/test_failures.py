"""What a task's failure says: money first, then what another try does, then the cause and the remedy."""

from __future__ import annotations

import logging
import traceback
from typing import Any

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
from airflow_provider_oxen.api.redact import register_key
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
            "Nothing was spent by this try. Not tried again. The seed is no number. Change it.",
        ),
        (
            OxenOutcomeUnknown("The answer was lost."),
            "An image may have been paid for. Not tried again. The answer was lost.",
        ),
        (
            OxenDownloadError("It is gone.", retry="Once cleared, the task asks again."),
            "Paid, image not fetched. Not tried again. Once cleared, the task asks again. It is gone.",
        ),
    ],
    ids=["spent nothing", "unknown", "paid"],
)
def test_failure_for_good_says_so_and_stays_the_error_with_its_facts(error, said):
    assert line(error, AirflowFailException) == said
    assert isinstance(error, AirflowFailException)
    assert error.__cause__ is error.__context__ is None


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
        "Clear the task to continue with it."
    )


def test_what_the_error_itself_says_of_money_stays():
    error = OxenPollError("No answer.", money="The generation may have been paid for.")

    assert line(error, OxenPollError, "What this task has waited for") == (
        "The generation may have been paid for. Airflow's retries decide. No answer."
    )


def fails(error: OxenError, chained: bool = True) -> None:
    try:
        raise KeyError("https://store.example/cube.png?sig=0123456789")
    except KeyError as why:
        if chained:
            raise error from why
        raise error  # noqa: B904 (as where nobody thought of it)


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("kind", [OxenInvalidRequest, OxenRateLimited])
def test_airflow_prints_no_frame_of_ours_and_says_it_once(kind, chained):
    error = kind("Too many requests.")

    def execute() -> None:
        with for_airflow():
            fails(error, chained)

    with pytest.raises(type(error)) as caught:
        execute()

    printed = "".join(traceback.format_exception(caught.value))
    assert str(error) in printed
    assert printed.count(error.cause) == 1
    assert "failures.py" not in printed.replace(__file__, "")
    assert "in fails" not in printed
    assert "KeyError" not in printed
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_whole_story_is_logged_for_who_debugs(caplog: Any, level):
    caplog.set_level(level)

    with pytest.raises(OxenInvalidRequest), for_airflow():
        fails(OxenInvalidRequest("Wrong."))

    assert ("in fails" in caplog.text) is (level == logging.DEBUG)
    assert ("KeyError" in caplog.text) is (level == logging.DEBUG)
    assert "0123456789" not in caplog.text


def test_one_within_another_says_it_once():
    with pytest.raises(OxenInvalidRequest) as caught, for_airflow(), for_airflow():
        raise OxenInvalidRequest("Wrong.")

    assert str(caught.value) == "Nothing was spent by this try. Not tried again. Wrong."


def test_whole_story_shows_no_secret_that_goes_over_two_lines(caplog: Any):
    caplog.set_level(logging.DEBUG)
    register_key("sk-folded-0123456789abcdef")

    link = "https://store.example/a.png?sig=" + "\nfedcba" + "9876543210"
    told = "sent sk-folded-0123" + "\n456789" + f"abcdef to {link}"

    with pytest.raises(OxenInvalidRequest), for_airflow():
        raise OxenInvalidRequest("Wrong.") from ValueError(told)

    assert "ValueError: sent ***" in caplog.text
    assert "456789abcdef" not in caplog.text
    assert "fedcba9876543210" not in caplog.text
