"""What is done about a job that may be there, one state of the record at a time.

All orders of events together are played in ``tests/simulation``.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import (
    OxenBudgetError,
    OxenChangedRequest,
    OxenConnectionError,
    OxenError,
    OxenGenerationCancelled,
    OxenGenerationFailed,
    OxenGenerationNotFound,
    OxenInvalidRequest,
    OxenOutcomeUnknown,
    OxenPollError,
    OxenRateLimited,
    OxenRecordError,
    OxenServerError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve, stopped
from airflow_provider_oxen.jobs.steps import (
    Accepted,
    Create,
    Delete,
    Look,
    Pause,
    Prepare,
    Prepared,
    Read,
    Row,
    Send,
    Step,
    Write,
)
from airflow_provider_oxen.jobs.task import Task, changed, comes_back

NOW = 1_000_000.0
PLAIN = {"model": "m", "prompt": "A red cube"}
BODY = {**PLAIN, "seed": 7}
TASK = Task(
    identity="mine",
    fingerprint="f",
    origin="https://hub.example",
    namespace=None,
    endpoint="queue",
    nonce="n-2",
    try_number=2,
)
ALONE = replace(TASK, has_home=False)
INTENT = Record(
    phase="intent",
    nonce="n-1",
    identity="mine",
    time=NOW - 100.0,
    endpoint="queue",
    body=BODY,
    origin="https://hub.example",
    fingerprint="f",
    unique=True,
)
SUBMITTED = INTENT.to("submitted", generation_id="g-1", submitted_at=NOW - 100.0)
FAILED = SUBMITTED.to("ended", status="failed", reason="busy")
PREPARED = Prepared(BODY, 0.01, NOW, unique=True)
ACCEPTED = Accepted(generation_id="g-2")
MINE = INTENT.to("intent", nonce="n-2", time=NOW)


def row(id: str = "g-1", status: str = "processing", **facts: Any) -> Generation:
    told = {"generation_id": id, "status": status, "model_name": "m", "prompt": "A red cube", "seed": 7}
    return Generation.model_validate({**told, "enqueued_at": NOW - 50.0, **facts})


NAMELESS = row(seed=None)


def carry_out(protocol: Generator[Step, Any, Any], *outcomes: Any) -> tuple[list[Step], Any]:
    """Give the protocol what came of each of its steps, an error by raising it.

    :return: the steps that it asked for, and its result or error.
    """
    asked: list[Step] = []
    left = list(outcomes)
    try:
        asked.append(next(protocol))
        while True:
            assert left, f"asks for more: {asked[-1]}"
            outcome = left.pop(0)
            send = protocol.throw if isinstance(outcome, Exception) else protocol.send
            asked.append(send(outcome))
    except StopIteration as end:
        assert not left
        return asked, end.value
    except OxenError as error:
        assert not left
        return asked, error


def kinds(asked: list[Step]) -> list[type]:
    return [type(step) for step in asked]


def said(error: Any, kind: type[OxenError], *, spent: str, helps: bool) -> str:
    """Return the words of an error of this very kind."""
    assert type(error) is kind
    assert (error.spent, error.retry_helps) == (spent, helps)
    return str(error)


class TestNothingIsKnown:
    """No record."""

    def test_intent_is_written_read_back_and_only_then_sent(self):
        asked, record = carry_out(resolve(TASK, None, NOW), PREPARED, None, MINE, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Create, Read, Send, Write]
        intent = asked[1].record
        assert (intent.phase, intent.nonce, intent.time, intent.body) == ("intent", "n-2", NOW, BODY)
        assert (intent.price, intent.unique, intent.submissions, intent.past) == (0.01, True, 1, [])
        assert asked[3].record == intent
        assert asked[4].record == record
        assert (record.phase, record.generation_id, record.submitted_at) == ("submitted", "g-2", NOW)

    def test_synchronous_answer_is_written_with_its_links(self):
        answer = Accepted(items=({"url": "https://hub.example/1"},), model="m-1", created=5)
        asked, record = carry_out(
            resolve(replace(TASK, endpoint="generate"), None, NOW), PREPARED, None, MINE, answer, None
        )

        assert asked[-1] == Write(record)
        assert (record.phase, record.items) == ("answered", [{"url": "https://hub.example/1"}])
        assert (record.model, record.created, record.generation_id) == ("m-1", 5, None)

    def test_first_try_without_a_home_just_sends(self):
        asked, record = carry_out(resolve(replace(ALONE, try_number=1), None, NOW), PREPARED, ACCEPTED)

        assert kinds(asked) == [Prepare, Send]
        assert record.generation_id == "g-2"

    @pytest.mark.parametrize(
        ("step", "error"),
        [(1, OxenInvalidRequest("No such size.")), (2, OxenStoreUnavailable("No answer."))],
        ids=["prepare", "create"],
    )
    def test_what_goes_wrong_before_sending_stops(self, step, error):
        outcomes = [PREPARED, None][: step - 1]
        asked, raised = carry_out(resolve(TASK, None, NOW), *outcomes, error)

        assert raised is error
        assert Send not in kinds(asked)

    def test_record_that_another_worker_wrote_first_is_followed(self):
        """The same try may run twice, where a scheduler took its worker for lost."""
        theirs = SUBMITTED.to("submitted", nonce="theirs")
        asked, record = carry_out(resolve(TASK, None, NOW), PREPARED, None, theirs, row())

        assert kinds(asked) == [Prepare, Create, Read, Row]
        assert record.generation_id == "g-1"

    def test_record_that_is_not_there_stops(self):
        asked, error = carry_out(resolve(TASK, None, NOW), PREPARED, None, None)

        assert "what is there now is nothing" in said(error, OxenRecordError, spent="unknown", helps=False)
        assert Send not in kinds(asked)

    def test_record_that_another_wrote_over_ours_stops(self):
        asked, error = carry_out(resolve(TASK, FAILED, NOW), PREPARED, None, FAILED)

        assert kinds(asked) == [Prepare, Write, Read]
        assert "is of another try" in said(error, OxenRecordError, spent="unknown", helps=False)

    @pytest.mark.parametrize("kind", [OxenInvalidRequest, OxenRateLimited, OxenConnectionError])
    def test_refusal_clears_the_intent(self, kind):
        refusal = kind("It was not accepted.")
        asked, error = carry_out(resolve(TASK, None, NOW), PREPARED, None, MINE, refusal, None)

        assert error is refusal
        assert asked[-1] == Delete()

    def test_refusal_without_a_home_leaves_nothing_to_clear(self):
        refusal = OxenRateLimited("Too many requests.")

        assert carry_out(resolve(replace(ALONE, try_number=1), None, NOW), PREPARED, refusal)[1] is refusal


class TestAnswerIsLost:
    """Sent by this try, and nobody knows what came of it."""

    LOST = (PREPARED, None, MINE, OxenOutcomeUnknown("The answer was lost."))

    def test_job_that_is_listed_is_gone_on_with(self):
        asked, record = carry_out(resolve(TASK, None, NOW), *self.LOST, [row("g-9")], None)

        assert kinds(asked)[4:] == [Look, Write]
        assert (record.phase, record.generation_id, record.submitted_at) == ("submitted", "g-9", NOW - 50.0)
        assert record.found is False, "nobody else has its seed"

    def test_absent_is_what_two_whole_looks_do_not_show_a_grace_apart(self):
        asked, record = carry_out(
            resolve(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], None, MINE, ACCEPTED, None
        )

        assert kinds(asked)[4:] == [Look, Pause, Look, Write, Read, Send, Write]
        assert asked[5] == Pause(60.0)
        assert (record.generation_id, record.submissions, record.time) == ("g-2", 2, NOW + 60.0)

    def test_second_lost_answer_ends_the_try(self):
        again = OxenOutcomeUnknown("The answer was lost.")
        _, error = carry_out(resolve(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], None, MINE, again)

        assert error is again
        assert said(error, OxenOutcomeUnknown, spent="unknown", helps=True)

    def test_refusal_of_the_second_request_does_not_say_that_nothing_was_spent(self):
        refusal = OxenRateLimited("Too many requests.", retry_after=9.0)
        asked, error = carry_out(
            resolve(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], None, MINE, refusal, None
        )

        assert "may have been paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=True)
        assert error.retry_after == 9.0
        ended = asked[-1].record
        assert (ended.phase, ended.status, ended.submissions) == ("ended", "refused", 1)

    @pytest.mark.parametrize("looks", [(), ([], NOW + 60.0)], ids=["first", "second"])
    @pytest.mark.parametrize(
        ("cause", "helps"), [(OxenServerError, True), (OxenRateLimited, True), (OxenInvalidRequest, False)]
    )
    def test_list_that_cannot_be_read_is_not_an_empty_one(self, looks, cause, helps):
        asked, error = carry_out(resolve(TASK, None, NOW), *self.LOST, *looks, cause("No list."))

        assert "may have been paid for" in said(error, OxenPollError, spent="unknown", helps=helps)
        assert kinds(asked)[-1] is Look

    def test_synchronous_call_leaves_nothing_certain_to_look_up(self):
        task = replace(TASK, endpoint="generate")
        _, error = carry_out(resolve(task, None, NOW), *self.LOST, [], NOW + 60.0, [])

        words = said(error, OxenOutcomeUnknown, spent="unknown", helps=False)
        assert "it was no request to the queue" in words


class TestIntent:
    """An earlier try may have sent it."""

    def test_it_is_found_by_its_seed(self):
        asked, record = carry_out(resolve(TASK, INTENT, NOW), [row("g-9")], None)

        assert kinds(asked) == [Look, Write]
        assert record.generation_id == "g-9"

    def test_users_seed_may_be_somebody_elses_too(self):
        _, record = carry_out(resolve(TASK, INTENT.to("intent", unique=False), NOW), [row("g-9")], None)

        assert record.found is True

    def test_absent_body_is_sent_again_as_it_was(self):
        asked, record = carry_out(
            resolve(TASK, INTENT, NOW), [], NOW + 60.0, [], None, MINE.to("intent"), ACCEPTED, None
        )

        assert kinds(asked) == [Look, Pause, Look, Write, Read, Send, Write]
        assert (record.body, record.submissions, record.nonce) == (BODY, 2, "n-2")

    @pytest.mark.parametrize("choice", ["fail", "adopt"])
    def test_several_that_could_be_it_are_never_taken(self, choice):
        task = replace(TASK, on_unknown_outcome=choice)
        rows = [NAMELESS, row("g-9", seed=None)]
        asked, error = carry_out(resolve(task, INTENT, NOW), rows, NOW + 60.0, rows)

        assert "2 generation(s) of the hub's lists could be it" in said(
            error, OxenOutcomeUnknown, spent="unknown", helps=False
        )
        assert kinds(asked) == [Look, Pause, Look]

    def test_single_one_that_could_be_it_is_taken_where_the_user_chose_so(self):
        task = replace(TASK, on_unknown_outcome="adopt")
        _, record = carry_out(resolve(task, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS], None)

        assert record.generation_id == "g-1"
        assert record.found is True, "the seed is ours alone, and the row does not tell it"

    def test_one_that_could_be_it_stops_otherwise(self):
        _, error = carry_out(resolve(TASK, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS])

        assert "on_unknown_outcome" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)

    def test_user_may_choose_to_pay_twice(self):
        task = replace(TASK, on_unknown_outcome="resubmit")
        asked, record = carry_out(
            resolve(task, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS], None, MINE, ACCEPTED, None
        )

        assert record.generation_id == "g-2"
        assert kinds(asked)[3:] == [Write, Read, Send, Write]

    def test_clock_that_was_set_back_excludes_no_row(self):
        early = row("g-9", seed=None, enqueued_at=NOW - 10_000.0)
        _, error = carry_out(resolve(TASK, INTENT, NOW - 5_000.0), [early], NOW, [early])

        assert "1 generation(s)" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)


class TestNoHome:
    """A later try that finds no trace of the earlier ones."""

    def test_it_looks_before_it_sends(self):
        asked, record = carry_out(resolve(ALONE, None, NOW), PREPARED, [row("g-9")])

        assert kinds(asked) == [Prepare, Look]
        assert record.generation_id == "g-9"

    def test_what_names_itself_is_found_however_old(self):
        _, record = carry_out(resolve(ALONE, None, NOW), PREPARED, [row("g-9", "succeeded", enqueued_at=1.0)])

        assert record.generation_id == "g-9"

    def test_what_does_not_name_itself_is_no_older_than_the_task(self):
        prepared = Prepared(PLAIN, None, NOW)
        rows = [row("g-8", seed=None, enqueued_at=1.0)]
        task = replace(ALONE, began=NOW - 100.0)
        asked, record = carry_out(resolve(task, None, NOW), prepared, rows, NOW + 60.0, rows, ACCEPTED)

        assert kinds(asked) == [Prepare, Look, Pause, Look, Send]
        assert record.generation_id == "g-2"

    @pytest.mark.parametrize(
        ("changes", "back"),
        [
            ({}, True),
            ({"body": {**PLAIN, "target_directory": "airflow/mine"}}, True),
            ({"body": PLAIN}, False),
            ({"endpoint": "generate"}, False),
        ],
        ids=["seed", "directory", "no seed", "synchronous"],
    )
    def test_only_a_job_of_the_queue_that_names_itself_comes_back(self, changes, back):
        record = INTENT.to("intent", **changes)

        assert comes_back(ALONE, record) is back
        assert comes_back(TASK, record) is True

    def test_failed_job_that_an_earlier_try_told_of_is_submitted_anew_after_the_grace(self):
        """The grace is for what that try has sent since, and no list shows yet."""
        failed = [row(status="failed", error_message="busy")]
        asked, record = carry_out(resolve(ALONE, None, NOW), PREPARED, failed, NOW + 60.0, failed, ACCEPTED)

        assert kinds(asked) == [Prepare, Look, Pause, Look, Send]
        assert record.generation_id == "g-2"

    def test_job_that_would_fail_again_is_told_of_again(self):
        failed = [row(status="failed", error_message="Insufficient credits")]
        _, record = carry_out(resolve(ALONE, None, NOW), PREPARED, failed)

        assert (record.phase, record.generation_id) == ("submitted", "g-1")

    @pytest.mark.parametrize(
        ("outcomes", "trouble"),
        [
            ([], OxenServerError("No model.")),
            ([PREPARED], OxenRateLimited("Too many requests.")),
            ([PREPARED], OxenConnectionError("Not reached.")),
        ],
        ids=["prepare", "429", "connection"],
    )
    def test_synchronous_call_is_not_tried_again_as_the_next_try_could_not_tell(self, outcomes, trouble):
        task = replace(ALONE, endpoint="generate", try_number=1)
        _, error = carry_out(resolve(task, None, NOW), *outcomes, trouble)

        assert error is trouble
        assert "could not tell" in said(error, type(trouble), spent="no", helps=False)

    def test_queue_is_tried_again(self):
        trouble = OxenRateLimited("Too many requests.")
        _, error = carry_out(resolve(replace(ALONE, try_number=1), None, NOW), PREPARED, trouble)

        said(error, OxenRateLimited, spent="no", helps=True)


class TestSubmitted:
    """The hub has accepted it, and has told its id."""

    @pytest.mark.parametrize("status", ["queued", "processing", "succeeded", "failed", "cancelled"])
    def test_it_is_gone_on_with(self, status):
        asked, record = carry_out(resolve(TASK, SUBMITTED, NOW), row(status=status))

        assert kinds(asked) == [Row]
        assert record == SUBMITTED

    def test_row_that_is_not_there_yet_is_waited_for(self):
        task, young = TASK, SUBMITTED.to("submitted", submitted_at=NOW - 20.0)
        asked, record = carry_out(resolve(task, young, NOW), None, NOW + 40.0, row())

        assert asked == [Row("g-1"), Pause(40.0), Row("g-1")]
        assert record == young

    def test_id_that_is_not_known_stops(self):
        _, error = carry_out(resolve(TASK, SUBMITTED, NOW), None)

        assert "g-1" in said(error, OxenGenerationNotFound, spent="unknown", helps=False)

    def test_user_may_choose_to_pay_for_another(self):
        task = replace(TASK, on_unknown_outcome="resubmit")
        asked, record = carry_out(resolve(task, SUBMITTED, NOW), None, None, MINE, ACCEPTED, None)

        assert kinds(asked) == [Row, Write, Read, Send, Write]
        assert asked[1].record.generation_id is None
        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)

    def test_row_of_another_model_and_prompt_is_another_job(self):
        _, error = carry_out(resolve(TASK, SUBMITTED, NOW), row(model_name="n", prompt="A pear", seed=8))

        words = said(error, OxenRecordError, spent="unknown", helps=False)
        assert "'n'" in words
        assert "'m'" in words

    def test_row_that_cannot_be_asked_for_is_not_unknown(self):
        _, error = carry_out(resolve(TASK, SUBMITTED, NOW), OxenServerError("No answer.", status=500))

        assert "No answer" in said(error, OxenPollError, spent="unknown", helps=True)
        assert error.status == 500

    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    def test_clearing_on_purpose_begins_anew_where_it_gave_nothing(self, status):
        task = replace(TASK, clearing=2)
        asked, record = carry_out(
            resolve(task, SUBMITTED, NOW), row(status=status), PREPARED, None, MINE, ACCEPTED, None
        )

        assert kinds(asked) == [Row, Prepare, Write, Read, Send, Write]
        assert (record.generation_id, record.past) == ("g-2", ["g-1"])
        assert record.submissions == 1, "a task that is cleared may spend max_cost once more"

    def test_clearing_on_purpose_does_not_give_up_what_runs(self):
        _, record = carry_out(resolve(replace(TASK, clearing=2), SUBMITTED, NOW), row())

        assert (record.generation_id, record.clearing) == ("g-1", 2)


class TestCancelling:
    """We have asked the hub to cancel it."""

    CANCELLING = SUBMITTED.to("cancelling", files=["a.png"])

    def test_cancelled_by_ourselves_begins_anew(self):
        asked, record = carry_out(
            resolve(TASK, self.CANCELLING, NOW), row(status="cancelled"), PREPARED, None, MINE, ACCEPTED, None
        )

        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)
        assert record.files == ["a.png"], "what the old one wrote is ours to write over"
        assert kinds(asked)[1:] == [Prepare, Write, Read, Send, Write]

    def test_found_one_that_we_cancelled_says_nothing_of_our_own(self):
        found = self.CANCELLING.to("cancelling", found=True, unique=False)
        own = row("g-5", "succeeded")
        asked, record = carry_out(resolve(TASK, found, NOW), row(status="cancelled"), [own], None)

        assert kinds(asked) == [Row, Look, Write]
        assert record.generation_id == "g-5"

    @pytest.mark.parametrize("status", ["processing", "succeeded"])
    def test_one_that_was_faster_is_gone_on_with(self, status):
        _, record = carry_out(resolve(TASK, self.CANCELLING, NOW), row(status=status))

        assert (record.phase, record.generation_id) == ("submitted", "g-1")


class TestAnsweredAndKept:
    """There is an image."""

    def test_answered_is_fetched(self):
        answered = SUBMITTED.to("answered", items=[{"url": "https://hub.example/1"}])

        assert carry_out(resolve(replace(TASK, clearing=2), answered, NOW)) == (
            [],
            answered.to("answered", clearing=2),
        )

    def test_kept_is_reused(self):
        kept = SUBMITTED.to("kept")

        assert carry_out(resolve(TASK, kept, NOW)) == ([], kept)

    def test_overwriting_is_for_what_is_kept_and_once_a_clearing(self):
        task = replace(TASK, overwrite=True, clearing=2)
        _, record = carry_out(
            resolve(task, SUBMITTED.to("kept", files=["a.png"]), NOW), PREPARED, None, MINE, ACCEPTED, None
        )

        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 1)
        assert record.files == [], "the old output is replaced by the sidecar's word"
        kept = record.to("kept")
        assert carry_out(resolve(task, kept, NOW)) == ([], kept)

    def test_refused_overwriting_still_knows_the_old_generation(self):
        task = replace(TASK, overwrite=True, clearing=2)
        refusal = OxenRateLimited("Too many requests.")
        asked, error = carry_out(
            resolve(task, SUBMITTED.to("kept"), NOW), PREPARED, None, MINE, refusal, None
        )

        assert error is refusal
        assert asked[-1].record.past == ["g-1"]

    TEXT = INTENT.to("answered", endpoint="generate", items=[{"b64_json": True}])

    def test_text_that_came_with_the_answer_is_looked_for_once(self):
        asked, record = carry_out(resolve(TASK, self.TEXT, NOW), [row("g-9", "succeeded")], None)

        assert kinds(asked) == [Look, Write]
        assert (record.phase, record.generation_id) == ("submitted", "g-9")

    @pytest.mark.parametrize("endpoint", ["generate", "queue"])
    @pytest.mark.parametrize("rows", [[], [NAMELESS]], ids=["absent", "possible"])
    def test_text_that_is_lost_is_told(self, endpoint, rows):
        text = self.TEXT.to("answered", endpoint=endpoint)
        asked, error = carry_out(resolve(TASK, text, NOW), rows)

        assert kinds(asked) == [Look]
        assert "This task has paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)

    def test_text_that_is_lost_is_paid_for_again_where_the_user_chose_so(self):
        task = replace(TASK, on_unknown_outcome="resubmit", endpoint="generate")
        asked, _ = carry_out(resolve(task, self.TEXT, NOW), [], None, MINE, ACCEPTED, None)

        assert asked[1].record.items == []


class TestEnded:
    """It gave no image."""

    def test_next_try_submits_another(self):
        asked, record = carry_out(resolve(TASK, FAILED, NOW), PREPARED, None, MINE, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Read, Send, Write]
        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)

    def test_final_reason_stops(self):
        _, error = carry_out(resolve(TASK, FAILED.to("ended", final=True), NOW))

        assert "would fail in the same way" in said(error, OxenGenerationFailed, spent="unknown", helps=False)

    def test_cancelled_by_somebody_stops(self):
        _, error = carry_out(resolve(TASK, FAILED.to("ended", status="cancelled"), NOW))

        assert "Clear the task" in said(error, OxenGenerationCancelled, spent="unknown", helps=False)

    @pytest.mark.parametrize("changes", [{"final": True}, {"status": "cancelled"}, {}], ids=str)
    def test_clearing_on_purpose_begins_anew(self, changes):
        _, record = carry_out(
            resolve(replace(TASK, clearing=2), FAILED.to("ended", **changes), NOW),
            PREPARED,
            None,
            MINE,
            ACCEPTED,
            None,
        )

        assert (record.generation_id, record.submissions) == ("g-2", 1)

    def test_changed_request_is_what_the_user_mended(self):
        asked, _ = carry_out(
            resolve(replace(TASK, fingerprint="other"), FAILED.to("ended", final=True), NOW),
            PREPARED,
            None,
            MINE,
            ACCEPTED,
            None,
        )

        assert kinds(asked)[0] is Prepare

    def test_one_that_was_found_may_have_been_somebody_elses(self):
        """A twin with the user's own seed failed: our own request is looked for before another is sent."""
        found = FAILED.to("ended", found=True, unique=False)
        own = row("g-5", "succeeded")
        asked, record = carry_out(resolve(TASK, found, NOW), [row(status="failed"), own], None)

        assert kinds(asked) == [Look, Write]
        assert (record.generation_id, record.past) == ("g-5", ["g-1"])

    @pytest.mark.parametrize("changes", [{"final": True}, {"status": "cancelled"}], ids=str)
    def test_one_that_was_found_is_sought_on_after_clearing_too(self, changes):
        found = FAILED.to("ended", found=True, unique=False, **changes)
        own = row("g-5", "succeeded")
        _, record = carry_out(resolve(replace(TASK, clearing=2), found, NOW), [row(), own], None)

        assert record.generation_id == "g-5"

    def test_refused_one_is_sent_by_the_next_try(self):
        refused = INTENT.to("ended", status="refused", reason="it was not accepted")
        asked, _ = carry_out(resolve(TASK, refused, NOW), PREPARED, None, MINE, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Read, Send, Write]


class TestChangedRequest:
    """The record is of another request, hub or namespace."""

    CHANGES = pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"fingerprint": "other"}, "request"),
            ({"origin": "https://other.example"}, "hub"),
            ({"namespace": "org"}, "namespace"),
            ({"fingerprint": "other", "namespace": "org"}, "request and namespace"),
        ],
        ids=["request", "hub", "namespace", "two"],
    )

    @CHANGES
    @pytest.mark.parametrize("phase", ["intent", "submitted", "answered", "kept", "cancelling"])
    def test_it_stops_and_names_the_old_job(self, changes, named, phase):
        asked, error = carry_out(resolve(replace(TASK, **changes), SUBMITTED.to(phase), NOW))

        words = said(error, OxenChangedRequest, spent="no", helps=False)
        assert f"its {named} changed" in words
        assert "g-1" in words
        assert ("overwrite=True" in words) is (phase == "kept")
        assert asked == []

    @CHANGES
    def test_old_job_is_given_up_where_the_user_chose_so(self, changes, named):
        task = replace(TASK, on_changed_request="submit", **changes)
        _, record = carry_out(resolve(task, SUBMITTED, NOW), PREPARED, None, MINE, ACCEPTED, None)

        assert record.generation_id == "g-2"
        assert changed(task, record) == []

    def test_same_request_is_not_changed(self):
        assert changed(TASK, SUBMITTED) == []


class TestBudget:
    """max_cost counts every submission of a clearing."""

    def test_unknown_price_is_no_price(self):
        task = replace(TASK, max_cost=1.0)
        asked, error = carry_out(resolve(task, None, NOW), PREPARED._replace(price=None))

        assert "not known" in said(error, OxenBudgetError, spent="no", helps=False)
        assert kinds(asked) == [Prepare]

    def test_submission_that_would_cost_too_much_is_not_sent(self):
        task = replace(TASK, max_cost=0.015)
        asked, error = carry_out(resolve(task, FAILED, NOW), PREPARED)

        assert "submission 2" in said(error, OxenBudgetError, spent="no", helps=False)
        assert kinds(asked) == [Prepare]

    def test_exact_sum_is_allowed(self):
        task = replace(TASK, max_cost=0.02)

        assert carry_out(resolve(task, FAILED, NOW), PREPARED, None, MINE, ACCEPTED, None)[1].submissions == 2

    def test_clearing_on_purpose_counts_anew(self):
        task = replace(TASK, max_cost=0.01, clearing=2)

        assert carry_out(resolve(task, FAILED, NOW), PREPARED, None, MINE, ACCEPTED, None)[1].submissions == 1


def test_reason_that_is_not_given_is_told_so():
    assert "the hub gave no reason" in str(stopped(FAILED.to("ended", reason=None)))
