"""From a job that was accepted to an image that is kept, or an error that says what became of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenExpiredURL,
    OxenGenerationCancelled,
    OxenGenerationFailed,
    OxenGenerationNotFound,
    OxenGenerationTimeout,
    OxenImageError,
    OxenPollError,
    OxenServerError,
    OxenStorageError,
)
from airflow_provider_oxen.jobs.complete import complete
from airflow_provider_oxen.jobs.polling import End
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.steps import Cancel, Close, Keep, Row, Wait, Write
from airflow_provider_oxen.jobs.task import comes_back

from .test_resolve import ALONE, INTENT, SUBMITTED, TASK, carry_out, kinds, row, said

LINK = "https://hub.example/1"
ANSWERED = SUBMITTED.to("answered", items=[{"url": LINK}], model="m")
SYNCHRONOUS = INTENT.to("answered", endpoint="generate", items=[{"url": LINK}])
TEXT = INTENT.to("answered", endpoint="generate", items=[{"b64_json": True}])
KEPT = ANSWERED.to("kept", files=["a.png"], items=[])
DONE = End("succeeded")
FINISHED = row(status="succeeded", result_url=LINK, completed_at=1_780_000_000.9)


def completed(record: Record, *outcomes: Any, task: Any = TASK, **options: Any) -> tuple[list[Any], Any]:
    return carry_out(complete(task, record, **options), *outcomes)


class TestImage:
    """All goes well."""

    def test_job_is_waited_for_its_link_written_and_its_image_kept(self):
        asked, result = completed(SUBMITTED, DONE, FINISHED, None, (KEPT, {"images": [1]}), None)

        assert result == {"images": [1]}
        answered = SUBMITTED.to("answered", items=[{"url": LINK}], model="m", created=1_780_000_000)
        assert asked == [Wait(SUBMITTED), Row("g-1"), Write(answered), Keep(answered), Close(KEPT)]

    def test_somebody_else_may_have_waited(self):
        asked, _ = completed(SUBMITTED, FINISHED, None, (KEPT, {}), None, end=DONE)

        assert kinds(asked) == [Row, Write, Keep, Close]

    def test_answer_that_is_there_is_kept_at_once(self):
        asked, _ = completed(SYNCHRONOUS, (KEPT, {}), None)

        assert kinds(asked) == [Keep, Close]

    def test_without_a_home_nothing_is_written(self):
        asked, _ = completed(SUBMITTED, DONE, FINISHED, (KEPT, {}), task=ALONE)

        assert kinds(asked) == [Wait, Row, Keep]

    def test_row_that_tells_less_takes_nothing_away(self):
        bare = row(status="succeeded", result_url=LINK, model_name=None)
        asked, _ = completed(
            SUBMITTED.to("submitted", model="m-1", created=5), DONE, bare, None, (KEPT, {}), None
        )

        assert (asked[2].record.model, asked[2].record.created) == ("m-1", 5)


class TestLink:
    """A link is for now."""

    def test_expired_link_is_asked_for_anew_once(self):
        asked, result = completed(ANSWERED, OxenExpiredURL("Dead."), FINISHED, None, (KEPT, "kept"), None)

        assert (kinds(asked), result) == ([Keep, Row, Write, Keep, Close], "kept")

    def test_link_that_is_dead_again_is_for_the_next_try(self):
        dead = OxenExpiredURL("Dead.")
        asked, error = completed(ANSWERED, OxenExpiredURL("Dead."), FINISHED, None, dead)

        assert "pays nothing" in said(error, OxenExpiredURL, spent="yes", helps=True)
        assert Close not in kinds(asked)

    def test_only_link_of_a_synchronous_answer_that_died_is_the_end(self):
        dead = OxenExpiredURL("Dead.")
        asked, error = completed(SYNCHRONOUS, dead, None)

        said(error, OxenExpiredURL, spent="yes", helps=False)
        ended = asked[-1].record
        assert (ended.phase, ended.status, ended.reason, ended.final) == ("ended", "expired", "Dead.", True)

    def test_only_link_that_died_without_a_home_is_told(self):
        asked, error = completed(SYNCHRONOUS, OxenExpiredURL("Dead."), task=ALONE)

        assert kinds(asked) == [Keep]
        said(error, OxenExpiredURL, spent="yes", helps=False)

    @pytest.mark.parametrize("linkless", [None, row(status="succeeded")], ids=["unknown", "linkless"])
    @pytest.mark.parametrize("task", [TASK, replace(ALONE, endpoint="generate")], ids=["home", "nowhere"])
    def test_finished_job_without_a_link_is_told_as_paid(self, linkless, task):
        asked, error = completed(SUBMITTED, linkless, end=DONE, task=task)

        assert "gives no link" in said(
            error, OxenDownloadError, spent="yes", helps=comes_back(task, SUBMITTED)
        )
        assert kinds(asked) == [Row]

    def test_row_that_cannot_be_asked_for_does_not_say_that_nothing_was_spent(self):
        _, error = completed(SUBMITTED, OxenServerError("No answer."), end=DONE)

        said(error, OxenPollError, spent="unknown", helps=True)


class TestKeeping:
    """The image was paid for, and does not arrive."""

    def test_bytes_that_are_no_image_end_the_job(self):
        asked, error = completed(ANSWERED, OxenBadImage("No image. " * 100), None)

        said(error, OxenBadImage, spent="yes", helps=False)
        ended = asked[-1].record
        assert (ended.status, ended.final, len(ended.reason)) == ("rejected", True, 500)

    def test_bytes_that_are_no_image_without_a_home_are_told(self):
        asked, error = completed(ANSWERED, OxenBadImage("No image."), task=ALONE)

        assert kinds(asked) == [Keep]
        said(error, OxenBadImage, spent="yes", helps=False)

    @pytest.mark.parametrize(
        ("trouble", "helps"),
        [
            (OxenDownloadError("No answer.", passing=True), True),
            (OxenDownloadError("Too large."), False),
            (OxenStorageError("No space."), True),
            (OxenImageError("Neither link nor bytes."), False),
        ],
        ids=["passing", "lasting", "storage", "other"],
    )
    def test_what_may_pass_is_for_the_next_try(self, trouble, helps):
        asked, error = completed(ANSWERED, trouble)

        assert ("pays nothing" in said(error, type(trouble), spent="yes", helps=helps)) is helps
        assert kinds(asked) == [Keep]

    def test_text_of_an_answer_cannot_be_had_again(self):
        said(completed(TEXT, OxenStorageError("No space."))[1], OxenStorageError, spent="yes", helps=False)

    def test_synchronous_answer_without_a_home_cannot_be_had_again(self):
        task = replace(ALONE, endpoint="generate")
        _, error = completed(SYNCHRONOUS, OxenStorageError("No space."), task=task)

        said(error, OxenStorageError, spent="yes", helps=False)


class TestNoImage:
    """The job ended otherwise."""

    @pytest.mark.parametrize(
        ("reason", "final"), [("Insufficient credits", True), ("busy", False), ("", False)]
    )
    def test_reason_tells_whether_another_would_fail_too(self, reason, final):
        asked, error = completed(SUBMITTED, None, end=End("failed", reason))

        said(error, OxenGenerationFailed, spent="unknown", helps=not final)
        ended = asked[-1].record
        assert (ended.phase, ended.status, ended.final) == ("ended", "failed", final)
        assert ended.reason == (reason or None)

    def test_long_reason_is_cut(self):
        asked, _ = completed(SUBMITTED, None, end=End("failed", "x" * 1000))

        assert asked[-1].record.reason == "x" * 500

    def test_cancelled_by_somebody_stops(self):
        asked, error = completed(SUBMITTED, None, end=End("cancelled"))

        said(error, OxenGenerationCancelled, spent="unknown", helps=False)
        assert asked[-1].record.status == "cancelled"

    def test_without_a_home_it_is_told_all_the_same(self):
        asked, error = completed(SUBMITTED, end=End("failed", "busy"), task=ALONE)

        assert (asked, type(error)) == ([], OxenGenerationFailed)

    @pytest.mark.parametrize("choice", ["fail", "adopt", "resubmit"])
    def test_id_that_is_not_known_any_more_is_tried_again_only_to_pay_again(self, choice):
        task = replace(TASK, on_unknown_outcome=choice)
        asked, error = completed(SUBMITTED, end=End("unknown", "Never heard of it."), task=task)

        words = said(error, OxenGenerationNotFound, spent="unknown", helps=choice == "resubmit")
        assert "Never heard of it." in words
        assert asked == []

    def test_hub_that_cannot_be_asked_is_for_the_next_try(self):
        _, error = completed(SUBMITTED, end=End("unreachable", "Nobody answered."))

        assert "Nobody answered." in said(error, OxenPollError, spent="unknown", helps=True)


class TestTimeout:
    """It has not ended in time."""

    LATE = End("timed_out")

    @pytest.mark.parametrize("task", [TASK, replace(ALONE, endpoint="generate")], ids=["home", "nowhere"])
    def test_it_goes_on_and_the_next_try_looks(self, task):
        asked, error = completed(SUBMITTED, end=self.LATE, task=task)

        assert "It goes on" in said(
            error, OxenGenerationTimeout, spent="unknown", helps=comes_back(task, SUBMITTED)
        )
        assert asked == []

    def test_it_is_cancelled_where_the_user_chose_so_and_the_record_says_so_first(self):
        asked, error = completed(
            SUBMITTED, None, None, row(status="cancelled"), end=self.LATE, cancel_on_timeout=True
        )

        assert "was cancelled" in said(error, OxenGenerationTimeout, spent="unknown", helps=True)
        assert asked == [Write(SUBMITTED.to("cancelling")), Cancel("g-1"), Row("g-1")]

    def test_what_was_found_is_never_cancelled_as_it_may_be_a_twins(self):
        found = SUBMITTED.to("submitted", found=True)
        asked, error = completed(found, end=self.LATE, cancel_on_timeout=True)

        assert "It goes on" in said(error, OxenGenerationTimeout, spent="unknown", helps=True)
        assert asked == []

    def test_one_that_was_faster_is_kept(self):
        asked, result = completed(
            SUBMITTED,
            None,
            None,
            FINISHED,
            FINISHED,
            None,
            (KEPT, "kept"),
            None,
            end=self.LATE,
            cancel_on_timeout=True,
        )

        assert (kinds(asked), result) == ([Write, Cancel, Row, Row, Write, Keep, Close], "kept")

    def test_without_a_home_it_is_cancelled_all_the_same(self):
        asked, error = completed(SUBMITTED, None, None, end=self.LATE, cancel_on_timeout=True, task=ALONE)

        assert kinds(asked) == [Cancel, Row]
        said(error, OxenGenerationTimeout, spent="unknown", helps=True)
