"""From a job that was accepted to an image that is kept, or an error that says what became of it."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_oxen.api import retries
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
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import is_recoverable

from .script import Cancel, Close, Keep, Linger, Row, Script, Wait, Write
from .test_resolve import ALONE, INTENT, SUBMITTED, TASK, carry_out, kinds, row, said

LINK = "https://hub.example/1"
CANCELS = replace(TASK, cancel_on_timeout=True)
ANSWERED = SUBMITTED.to("answered", items=[{"url": LINK}], model="m")
SYNCHRONOUS = INTENT.to("answered", endpoint="generate", items=[{"url": LINK}])
TEXT = INTENT.to("answered", endpoint="generate", items=[{"b64_json": True}])
KEPT = ANSWERED.to("kept", files=["a.png"], items=[])
DONE = End("succeeded")
FINISHED = row(status="succeeded", result_url=LINK, completed_at=1_780_000_000.9)
ANSWERED = ANSWERED.to("answered", created=1_780_000_000)


def replace_link(found: Any, link: str) -> Any:
    return found.model_copy(update={"result_url": link})


def completed(record: Record, *outcomes: Any, task: Any = TASK, end: Any = None) -> tuple[list[Any], Any]:
    def protocol(do: Script) -> Coroutine[Any, Any, Any]:
        do.keeps = task.has_store
        return complete(do, task, record, end=end)

    return carry_out(protocol, *outcomes)


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
        fresh = replace_link(FINISHED, f"{LINK}?fresh")
        asked, result = completed(ANSWERED, OxenExpiredURL("Dead."), fresh, (KEPT, "kept"), None)

        # No link that the row can give again is in the record, so there is nothing to be written.
        assert (kinds(asked), result) == ([Keep, Row, Keep, Close], "kept")

    def test_record_without_the_link_has_the_row_asked_for_it(self):
        written = Record.model_validate(ANSWERED.as_json())
        asked, result = completed(written, FINISHED, (KEPT, "kept"), None)

        assert written.items == []
        assert (kinds(asked), result) == ([Row, Keep, Close], "kept")
        assert asked[1].record.items == [{"url": LINK}]

    @pytest.mark.parametrize("linkless", [None, row(status="succeeded")], ids=["unknown", "linkless"])
    @pytest.mark.parametrize("task", [TASK, replace(ALONE, endpoint="generate")], ids=["home", "nowhere"])
    def test_finished_job_without_a_link_is_told_as_paid(self, linkless, task):
        asked, error = completed(SUBMITTED, linkless, end=DONE, task=task)

        assert "gives no link" in said(
            error, OxenDownloadError, spent="yes", helps=is_recoverable(task, SUBMITTED)
        )
        assert kinds(asked) == [Row]

    def test_row_that_cannot_be_asked_for_does_not_say_that_nothing_was_spent(self):
        _, error = completed(SUBMITTED, OxenServerError("No answer."), end=DONE)

        said(error, OxenPollError, spent="unknown", helps=True)


def page(sha256: str = "p" * 64) -> OxenBadImage:
    """Return the error of bytes that are nothing like an image."""
    error = OxenBadImage("It is a page.")
    error.sha256, error.not_yet = sha256, True
    return error


def cut(sha256: str = "c" * 64) -> OxenBadImage:
    """Return the error of bytes that begin like an image."""
    error = page(sha256)
    error.damaged = True
    return error


def gone() -> OxenExpiredURL:
    return OxenExpiredURL("Not there.")


def odd() -> OxenDownloadError:
    return OxenDownloadError("A part.", not_yet=True)


NEVER = [gone, odd, page, cut]
LOOKS = len(retries.NOT_YET) + 1
REJECTED = OxenBadImage("It is kept as rejected. " * 50)


def ever(error: Any, *, asks_row: bool = True) -> list[Any]:
    """Return what comes of every look of a try whose image is never there."""
    said = []
    for look in range(LOOKS + asks_row):
        said += [error() if callable(error) else error]
        waits = look >= asks_row
        said += ([True] if waits else []) + ([FINISHED] if asks_row else [])
    return said[: -1 - asks_row]


class TestNotYet:
    """Paid for, and something else comes in its place."""

    @pytest.mark.parametrize("error", NEVER)
    def test_row_is_asked_for_its_link_at_once_and_then_after_each_pause(self, error):
        later = replace_link(FINISHED, f"{LINK}?again")
        asked, result = completed(
            ANSWERED,
            error(),
            FINISHED,
            error(),
            True,
            later,
            error(),
            True,
            later,
            (KEPT, "kept"),
            None,
        )

        assert result == "kept"
        assert kinds(asked) == [Keep, Row, Keep, Linger, Row, Keep, Linger, Row, Keep, Close]
        assert [step.seconds for step in asked if isinstance(step, Linger)] == list(retries.NOT_YET[:2])
        assert asked[-2].record.items == [{"url": f"{LINK}?again"}]

    @pytest.mark.parametrize("error", [gone, odd, page])
    def test_what_is_never_there_is_left_to_the_next_try(self, error):
        asked, raised = completed(ANSWERED, *ever(error), None)

        assert "pays nothing" in said(raised, type(error()), spent="yes", helps=True)
        assert sum(step.seconds for step in asked if isinstance(step, Linger)) == sum(retries.NOT_YET)
        left = asked[-1].record
        assert isinstance(asked[-1], Write)
        assert (left.phase, left.generation_id, left.items) == ("answered", "g-1", [{"url": LINK}])
        assert left.unfit == (getattr(error(), "sha256", None) or type(error()).__name__)

    def test_page_that_the_next_try_gets_again_is_all_there_is(self):
        left = ANSWERED.to("answered", unfit=page().sha256)
        asked, error = completed(left, *ever(page), FINISHED, REJECTED, None)

        said(error, OxenBadImage, spent="yes", helps=False)
        assert asked[-2] == Keep(left, page().sha256)
        ended = asked[-1].record
        assert (ended.phase, ended.status, ended.final, len(ended.reason)) == ("ended", "rejected", True, 500)

    def test_another_page_in_the_next_try_is_not(self):
        left = ANSWERED.to("answered", unfit="another")
        asked, error = completed(left, *ever(page), None)

        said(error, OxenBadImage, spent="yes", helps=True)
        assert asked[-1].record.unfit == page().sha256

    def test_damaged_image_that_comes_again_and_again_is_all_there_is(self):
        asked, error = completed(ANSWERED, *ever(cut), FINISHED, REJECTED, None)

        said(error, OxenBadImage, spent="yes", helps=False)
        assert kinds(asked)[-3:] == [Row, Keep, Close]
        assert asked[-2].same == cut().sha256

    def test_damaged_image_that_gives_way_at_the_last_look_is_kept(self):
        _, result = completed(ANSWERED, *ever(cut), FINISHED, (KEPT, "kept"), None)

        assert result == "kept"

    @pytest.mark.parametrize("last", [gone(), cut("other")])
    def test_damaged_image_that_is_another_one_at_the_last_look_is_left_to_the_next_try(self, last):
        asked, error = completed(ANSWERED, *ever(cut), FINISHED, last, None)

        said(error, type(last), spent="yes", helps=True)
        assert asked[-1].record.phase == "answered"

    def test_damaged_image_that_is_another_one_each_time_is_left_to_the_next_try(self):
        outcomes = [cut(str(n)) if isinstance(one, OxenBadImage) else one for n, one in enumerate(ever(cut))]
        _, error = completed(ANSWERED, *outcomes, None)

        said(error, OxenBadImage, spent="yes", helps=True)

    @pytest.mark.parametrize("error", NEVER)
    def test_without_patience_the_next_try_looks(self, error):
        asked, raised = completed(ANSWERED, error(), FINISHED, error(), False, None)

        said(raised, type(error()), spent="yes", helps=True)
        assert kinds(asked) == [Keep, Row, Keep, Linger, Write]

    def test_trouble_of_the_store_ends_the_patience(self):
        asked, error = completed(ANSWERED, gone(), FINISHED, OxenStorageError("No space."))

        said(error, OxenStorageError, spent="yes", helps=True)
        assert kinds(asked) == [Keep, Row, Keep]

    @pytest.mark.parametrize("error", [gone, odd, page])
    def test_without_a_home_the_lists_lead_to_it_again(self, error):
        asked, raised = completed(ANSWERED, *ever(error), task=ALONE)

        said(raised, type(error()), spent="yes", helps=is_recoverable(ALONE, ANSWERED))
        assert Write not in kinds(asked)


class TestOnlyLink:
    """A synchronous answer has no row that could give its link again."""

    @pytest.mark.parametrize("error", NEVER)
    def test_it_is_asked_with_the_same_patience(self, error):
        asked, result = completed(SYNCHRONOUS, error(), True, error(), True, (KEPT, "kept"), None)

        assert (kinds(asked), result) == ([Keep, Linger, Keep, Linger, Keep, Close], "kept")

    @pytest.mark.parametrize("error", NEVER)
    @pytest.mark.parametrize("unfit", [None, "OxenExpiredURL", page().sha256, cut().sha256])
    def test_it_stays_on_record_however_often_it_was_in_vain(self, error, unfit):
        left = SYNCHRONOUS.to("answered", unfit=unfit)
        asked, raised = completed(left, *ever(error, asks_row=False), None)

        words = said(raised, type(error()), spent="yes", helps=True)
        assert "no other link" in words
        assert "on_unknown_outcome='resubmit'" in words
        assert (asked[-1].record.phase, asked[-1].record.items) == ("answered", SYNCHRONOUS.items)

    @pytest.mark.parametrize("unfit", [None, "OxenExpiredURL"])
    def test_another_is_paid_for_only_where_the_user_says_so_and_two_tries_were_in_vain(self, unfit):
        task = replace(TASK, on_unknown_outcome="resubmit")
        left = SYNCHRONOUS.to("answered", unfit=unfit)
        asked, error = completed(left, *ever(gone, asks_row=False), None, task=task)

        words = said(error, OxenExpiredURL, spent="yes", helps=True)
        record = asked[-1].record
        if unfit is None:
            assert (record.phase, record.items) == ("answered", SYNCHRONOUS.items)
        else:
            assert (record.phase, record.status, record.final, record.items) == (
                "ended",
                "expired",
                False,
                [],
            )
            assert "The next try pays for another" in words

    def test_whole_image_whose_checksum_never_fits_is_kept(self):
        def doubted() -> OxenBadImage:
            error = cut()
            error.doubted = True
            return error

        asked, result = completed(SYNCHRONOUS, *ever(doubted, asks_row=False), (KEPT, "kept"), None)

        assert result == "kept"
        assert asked[-2] == Keep(SYNCHRONOUS, cut().sha256)

    def test_without_a_home_it_is_told(self):
        task = replace(ALONE, endpoint="generate")
        asked, error = completed(SYNCHRONOUS, *ever(gone, asks_row=False), task=task)

        assert "set storage_path" in said(error, OxenExpiredURL, spent="yes", helps=False)
        assert set(kinds(asked)) == {Keep, Linger}


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

        assert "continues" in said(
            error, OxenGenerationTimeout, spent="unknown", helps=is_recoverable(task, SUBMITTED)
        )
        assert asked == []

    def test_it_is_cancelled_where_the_user_chose_so_and_the_record_says_so_first(self):
        asked, error = completed(SUBMITTED, None, None, row(status="cancelled"), end=self.LATE, task=CANCELS)

        assert "was cancelled" in said(error, OxenGenerationTimeout, spent="unknown", helps=True)
        assert asked == [Write(SUBMITTED.to("cancelling")), Cancel("g-1"), Row("g-1")]

    def test_what_was_found_is_never_cancelled_as_it_may_be_a_twins(self):
        found = SUBMITTED.to("submitted", found=True)
        asked, error = completed(found, end=self.LATE, task=CANCELS)

        assert "continues" in said(error, OxenGenerationTimeout, spent="unknown", helps=True)
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
            task=CANCELS,
        )

        assert (kinds(asked), result) == ([Write, Cancel, Row, Row, Write, Keep, Close], "kept")

    def test_without_a_home_it_is_cancelled_all_the_same(self):
        task = replace(ALONE, cancel_on_timeout=True)
        asked, error = completed(SUBMITTED, None, None, end=self.LATE, task=task)

        assert kinds(asked) == [Cancel, Row]
        said(error, OxenGenerationTimeout, spent="unknown", helps=True)
