"""What is done about a job that may be there, one state of the record at a time.

All orders of events together are played in ``tests/simulation``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
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
    OxenOvertaken,
    OxenPollError,
    OxenRateLimited,
    OxenRecordError,
    OxenServerError,
    OxenStoreUnavailable,
    Unread,
)
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import Accepted, Prepared, Remade
from airflow_provider_oxen.jobs.intent import nothing_sent
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import resolve, stopped
from airflow_provider_oxen.jobs.task import Task, changed, is_recoverable, nonce_of

from .script import Pause, Prepare, Row, Rows, Script, Send, Write, play

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
ALONE = replace(TASK, has_store=False, unsure=True)
FIRST = replace(ALONE, try_number=1, unsure=False)
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
    counter=0,
)
SUBMITTED = INTENT.to("submitted", generation_id="g-1", submitted_at=NOW - 100.0)
FAILED = SUBMITTED.to("ended", status="failed", reason="busy")
PREPARED = Prepared(BODY, 0.01, NOW, unique=True)
ACCEPTED = Accepted(generation_id="g-2")


def row(id: str = "g-1", status: str = "processing", **facts: Any) -> Generation:
    told = {"generation_id": id, "status": status, "model_name": "m", "prompt": "A red cube", "seed": 7}
    return Generation.model_validate({**told, "enqueued_at": NOW - 50.0, **facts})


NAMELESS = row(seed=None)


def carry_out(
    protocol: Callable[[Script], Coroutine[Any, Any, Any]],
    *outcomes: Any,
    remade: Sequence[Any] = (Remade(BODY, unique=True),),
) -> tuple[list[Any], Any]:
    """Let a protocol have these outcomes, an error by raising it.

    :param remade: what the arguments make, by counter: of the last one for all that follow.
    :return: what it asked for, but for what costs and changes nothing, and its result or error.
    """
    script = Script(outcomes, remade)
    return play(script, protocol(script))


def resolving(
    task: Task, record: Record | None, now: float
) -> Callable[[Script], Coroutine[Any, Any, Record]]:
    def protocol(do: Script) -> Coroutine[Any, Any, Record]:
        do.keeps = task.has_store
        return resolve(do, task, record, now)

    return protocol


def kinds(asked: list[Any]) -> list[type]:
    return [type(one) for one in asked]


def said(error: Any, kind: type[OxenError], *, spent: str, helps: bool) -> str:
    """Return the words of an error of this very kind."""
    assert type(error) is kind
    assert (error.spent, error.retry_helps) == (spent, helps)
    return str(error)


class TestNothingIsKnown:
    """No record."""

    def test_intent_is_written_and_only_then_sent(self):
        asked, record = carry_out(resolving(TASK, None, NOW), PREPARED, None, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Send, Write]
        intent = asked[1].record
        assert (intent.phase, intent.nonce, intent.time, intent.body) == (
            "intent",
            nonce_of(TASK, 1),
            NOW,
            BODY,
        )
        assert (intent.price, intent.unique, intent.submissions, intent.past) == (0.01, True, 1, [])
        assert (intent.number, intent.counter) == (1, 0)
        assert asked[2].record == intent
        assert asked[3].record == record
        assert (record.phase, record.generation_id, record.submitted_at) == ("submitted", "g-2", NOW)

    def test_synchronous_answer_is_written_with_its_links(self):
        answer = Accepted(items=({"url": "https://hub.example/1"},), model="m-1", created=5)
        asked, record = carry_out(
            resolving(replace(TASK, endpoint="generate"), None, NOW), PREPARED, None, answer, None
        )

        assert asked[-1] == Write(record)
        assert (record.phase, record.items) == ("answered", [{"url": "https://hub.example/1"}])
        assert (record.model, record.created, record.generation_id) == ("m-1", 5, None)

    def test_first_try_without_a_home_just_sends(self):
        asked, record = carry_out(resolving(FIRST, None, NOW), PREPARED, ACCEPTED)

        assert kinds(asked) == [Prepare, Send]
        assert record.generation_id == "g-2"

    def test_what_goes_wrong_while_preparing_stops(self):
        error = OxenInvalidRequest("No such size.")
        asked, raised = carry_out(resolving(TASK, None, NOW), error)

        assert raised is error
        assert kinds(asked) == [Prepare]

    def test_intent_that_may_not_be_everywhere_is_taken_back(self):
        error = OxenStoreUnavailable("No answer.")
        asked, raised = carry_out(resolving(TASK, None, NOW), PREPARED, error, None)

        assert raised is error
        assert kinds(asked) == [Prepare, Write, Write]
        assert (asked[2].record.phase, asked[2].record.submissions) == ("not_sent", 0)

    def test_intent_that_another_has_written_is_left_as_it_is(self):
        error = OxenOvertaken("Another try has written since.")
        asked, raised = carry_out(resolving(TASK, None, NOW), PREPARED, error)

        assert raised is error
        assert kinds(asked) == [Prepare, Write]

    def test_who_is_overtaken_before_the_first_byte_writes_nothing(self):
        error = OxenOvertaken("Airflow no longer runs this try.")
        asked, raised = carry_out(resolving(TASK, None, NOW), PREPARED, None, error)

        assert raised is error
        assert kinds(asked) == [Prepare, Write, Send]

    @pytest.mark.parametrize("kind", [OxenInvalidRequest, OxenRateLimited, OxenConnectionError])
    def test_refusal_goes_back_to_not_sent(self, kind):
        refusal = kind("It was not accepted.")
        asked, error = carry_out(resolving(TASK, None, NOW), PREPARED, None, refusal, None)

        assert error is refusal
        assert kinds(asked) == [Prepare, Write, Send, Write]
        back = asked[3].record
        assert (back.phase, back.nonce, back.number) == ("not_sent", nonce_of(TASK, 1), 1)
        assert back.submissions == 0, "it was not billed"

    def test_not_sent_is_written_before_the_wait_and_each_request_has_an_intent_of_its_own(self):
        refusal = OxenRateLimited("Too many requests.", retry_after=30.0)
        asked, record = carry_out(
            resolving(replace(TASK, max_retries=1), None, NOW),
            PREPARED, None, refusal, None, NOW + 30.0, None, ACCEPTED, None,
        )  # fmt: skip

        assert kinds(asked) == [Prepare, Write, Send, Write, Pause, Write, Send, Write]
        assert asked[4] == Pause(30.0)
        first, second = asked[2].record, asked[6].record
        assert (first.number, second.number) == (1, 2)
        assert first.nonce != second.nonce
        assert (second.body, second.submissions, second.time) == (first.body, 1, NOW + 30.0)
        assert record.generation_id == "g-2"

    @pytest.mark.parametrize(
        ("retries", "refusal"),
        [(0, OxenRateLimited("x")), (1, OxenInvalidRequest("x"))],
        ids=["used up", "final"],
    )
    def test_refusal_that_is_not_to_be_repeated_here_is_airflows(self, retries, refusal):
        asked, error = carry_out(
            resolving(replace(TASK, max_retries=retries), None, NOW), PREPARED, None, refusal, None
        )

        assert error is refusal
        assert Pause not in kinds(asked)

    def test_who_is_told_to_stop_while_waiting_says_what_was_refused(self):
        refusal, stopped = OxenRateLimited("Too many requests."), OxenPollError("Told to stop.")
        _, error = carry_out(
            resolving(replace(TASK, max_retries=1), None, NOW), PREPARED, None, refusal, None, stopped
        )

        assert error is refusal
        assert error.spent == "no"

    def test_task_that_has_sent_nothing_sends(self):
        begun = nothing_sent(TASK, NOW)
        asked, record = carry_out(resolving(TASK, begun, NOW), PREPARED, None, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Send, Write]
        assert (record.number, record.submissions, record.counter) == (1, 1, 0)

    def test_what_was_sent_before_a_refused_request_still_counts(self):
        back = INTENT.to("not_sent", number=3, submissions=1, past=["g-0"], counter=2)
        _, record = carry_out(resolving(TASK, back, NOW), PREPARED, None, ACCEPTED, None)

        assert (record.number, record.submissions, record.counter, record.past) == (4, 2, 2, ["g-0"])

    def test_refusal_without_a_home_leaves_nothing_to_clear(self):
        refusal = OxenRateLimited("Too many requests.")

        assert carry_out(resolving(FIRST, None, NOW), PREPARED, refusal)[1] is refusal


class TestAnswerIsLost:
    """Sent by this try, and nobody knows what came of it."""

    LOST = (PREPARED, None, OxenOutcomeUnknown("The answer was lost."))

    def test_job_that_is_listed_is_gone_on_with(self):
        asked, record = carry_out(resolving(TASK, None, NOW), *self.LOST, [row("g-9")], None)

        assert kinds(asked)[3:] == [Rows, Write]
        assert (record.phase, record.generation_id, record.submitted_at) == ("submitted", "g-9", NOW - 50.0)
        assert record.found is False, "nobody else has its seed"

    def test_absent_is_what_two_whole_looks_do_not_show_a_grace_apart(self):
        asked, record = carry_out(
            resolving(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], PREPARED, None, ACCEPTED, None
        )

        assert kinds(asked)[3:] == [Rows, Pause, Rows, Prepare, Write, Send, Write]
        assert asked[4] == Pause(60.0)
        assert (record.generation_id, record.number, record.time) == ("g-2", 2, NOW)
        assert record.submissions == 1, "what was never accepted is not billed"

    def test_second_lost_answer_ends_the_try(self):
        again = OxenOutcomeUnknown("The answer was lost.")
        looks: tuple[Any, ...] = ([], NOW + 60.0, [])
        _, error = carry_out(resolving(TASK, None, NOW), *self.LOST, *looks, PREPARED, None, again)

        assert error is again
        assert said(error, OxenOutcomeUnknown, spent="unknown", helps=True)

    def test_refusal_of_the_second_request_does_not_say_that_nothing_was_spent(self):
        refusal = OxenRateLimited("Too many requests.", retry_after=9.0)
        asked, error = carry_out(
            resolving(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], PREPARED, None, refusal, None
        )

        assert "may have been paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=True)
        assert error.retry_after == 9.0
        back = asked[-1].record
        assert (back.phase, back.number, back.submissions) == ("not_sent", 2, 0)

    def test_second_request_that_cannot_be_made_does_not_say_that_nothing_was_spent(self):
        down = OxenServerError("The model could not be asked for.")
        _, error = carry_out(resolving(TASK, None, NOW), *self.LOST, [], NOW + 60.0, [], down)

        assert "may have been paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=True)

    @pytest.mark.parametrize("task", [TASK, FIRST], ids=["record", "no record"])
    def test_who_is_overtaken_with_the_second_request_does_not_say_that_nothing_was_spent(self, task):
        overtaken = OxenOvertaken("Another try is at work.")
        task = replace(task, endpoint="generate", on_unknown_outcome="resubmit", try_number=1)
        writes = (None,) if task.has_store else ()
        lost = OxenOutcomeUnknown("The answer was lost.")
        looks: tuple[Any, ...] = ([], NOW + 60.0, [])
        _, error = carry_out(
            resolving(task, None, NOW), PREPARED, *writes, lost, *looks, PREPARED, *writes, overtaken
        )

        assert "may have been paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=True)

    @pytest.mark.parametrize("looks", [(), ([], NOW + 60.0)], ids=["first", "second"])
    @pytest.mark.parametrize(
        ("cause", "helps"), [(OxenServerError, True), (OxenRateLimited, True), (OxenInvalidRequest, False)]
    )
    def test_list_that_cannot_be_read_is_not_an_empty_one(self, looks, cause, helps):
        asked, error = carry_out(resolving(TASK, None, NOW), *self.LOST, *looks, cause("No list."))

        assert "may have been paid for" in said(error, OxenPollError, spent="unknown", helps=helps)
        assert kinds(asked)[-1] is Rows

    def test_what_came_and_could_not_be_read_is_told(self):
        lost = OxenOutcomeUnknown("The answer is a page.")
        lost.unread = Unread(b"<html>", ())
        task = replace(TASK, endpoint="generate")
        _, error = carry_out(resolving(task, None, NOW), PREPARED, None, lost, [], NOW + 60.0, [])

        words = said(error, OxenOutcomeUnknown, spent="unknown", helps=False)
        assert "The answer is a page; " in words

    def test_synchronous_call_leaves_nothing_certain_to_look_up(self):
        task = replace(TASK, endpoint="generate")
        _, error = carry_out(resolving(task, None, NOW), *self.LOST, [], NOW + 60.0, [])

        words = said(error, OxenOutcomeUnknown, spent="unknown", helps=False)
        assert "they leave out requests that did not use the queue" in words


class TestIntent:
    """An earlier try may have sent it."""

    def test_it_is_found_by_its_seed(self):
        asked, record = carry_out(resolving(TASK, INTENT, NOW), [row("g-9")], None)

        assert kinds(asked) == [Rows, Write]
        assert record.generation_id == "g-9"

    def test_users_seed_may_be_somebody_elses_too(self):
        _, record = carry_out(resolving(TASK, INTENT.to("intent", unique=False), NOW), [row("g-9")], None)

        assert record.found is True

    def test_absent_body_is_sent_again_as_it_was(self):
        asked, record = carry_out(
            resolving(TASK, INTENT, NOW), [], NOW + 60.0, [], PREPARED, None, ACCEPTED, None
        )

        assert kinds(asked) == [Rows, Pause, Rows, Prepare, Write, Send, Write]
        assert (record.body, record.number, record.nonce) == (BODY, 2, nonce_of(TASK, 2))
        assert record.submissions == 1, "what was never accepted is not billed"

    @pytest.mark.parametrize("choice", ["fail", "adopt"])
    def test_several_that_could_be_it_are_never_taken(self, choice):
        task = replace(TASK, on_unknown_outcome=choice)
        rows = [NAMELESS, row("g-9", seed=None)]
        asked, error = carry_out(resolving(task, INTENT, NOW), rows, NOW + 60.0, rows)

        assert "2 generation(s) of the hub's lists could be it" in said(
            error, OxenOutcomeUnknown, spent="unknown", helps=False
        )
        assert kinds(asked) == [Rows, Pause, Rows]

    def test_single_one_that_could_be_it_is_taken_where_the_user_chose_so(self):
        task = replace(TASK, on_unknown_outcome="adopt")
        _, record = carry_out(resolving(task, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS], None)

        assert record.generation_id == "g-1"
        assert record.found is True, "the seed is ours alone, and the row does not tell it"

    def test_one_that_could_be_it_stops_otherwise(self):
        _, error = carry_out(resolving(TASK, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS])

        assert "on_unknown_outcome" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)

    def test_user_may_choose_to_pay_twice(self):
        task = replace(TASK, on_unknown_outcome="resubmit")
        asked, record = carry_out(
            resolving(task, INTENT, NOW), [NAMELESS], NOW + 60.0, [NAMELESS], PREPARED, None, ACCEPTED, None
        )

        assert record.generation_id == "g-2"
        assert kinds(asked)[3:] == [Prepare, Write, Send, Write]

    def test_clock_that_was_set_back_excludes_no_row(self):
        early = row("g-9", seed=None, enqueued_at=NOW - 10_000.0)
        _, error = carry_out(resolving(TASK, INTENT, NOW - 5_000.0), [early], NOW, [early])

        assert "1 generation(s)" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)


class TestNoHome:
    """A later try that finds no trace of the earlier ones."""

    def test_it_looks_before_it_sends(self):
        asked, record = carry_out(resolving(ALONE, None, NOW), PREPARED, PREPARED, [row("g-9")])

        assert kinds(asked) == [Prepare, Prepare, Rows]
        assert record.generation_id == "g-9"

    def test_what_names_itself_is_found_however_old(self):
        _, record = carry_out(
            resolving(ALONE, None, NOW), PREPARED, PREPARED, [row("g-9", "succeeded", enqueued_at=1.0)]
        )

        assert record.generation_id == "g-9"

    def test_what_does_not_name_itself_is_no_older_than_the_task(self):
        prepared = Prepared(PLAIN, None, NOW)
        rows = [row("g-8", seed=None, enqueued_at=1.0)]
        task = replace(ALONE, began=NOW - 100.0)
        asked, record = carry_out(
            resolving(task, None, NOW), prepared, rows, NOW + 60.0, rows, prepared, ACCEPTED
        )

        assert kinds(asked) == [Prepare, Rows, Pause, Rows, Prepare, Send]
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
    def test_only_a_job_of_the_queue_that_names_itself_is_recoverable(self, changes, back):
        record = INTENT.to("intent", **changes)

        assert is_recoverable(ALONE, record) is back
        assert is_recoverable(TASK, record) is True

    def test_failed_job_that_an_earlier_try_told_of_is_submitted_anew_after_the_grace(self):
        """The grace is for what that try has sent since, and no list shows yet."""
        failed = [row(status="failed", error_message="busy")]
        asked, record = carry_out(
            resolving(ALONE, None, NOW), PREPARED, PREPARED, failed, NOW + 60.0, failed, PREPARED, ACCEPTED
        )

        assert kinds(asked) == [Prepare, Prepare, Rows, Pause, Rows, Prepare, Send]
        assert record.generation_id == "g-2"

    def test_job_that_would_fail_again_is_told_of_again(self):
        failed = [row(status="failed", error_message="Insufficient credits")]
        _, record = carry_out(resolving(ALONE, None, NOW), PREPARED, PREPARED, failed)

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
        task = replace(FIRST, endpoint="generate")
        _, error = carry_out(resolving(task, None, NOW), *outcomes, trouble)

        assert error is trouble
        assert "could not tell" in said(error, type(trouble), spent="no", helps=False)

    def test_queue_is_tried_again(self):
        trouble = OxenRateLimited("Too many requests.")
        _, error = carry_out(resolving(FIRST, None, NOW), PREPARED, trouble)

        said(error, OxenRateLimited, spent="no", helps=True)


class TestSubmitted:
    """The hub has accepted it, and has told its id."""

    @pytest.mark.parametrize("status", ["queued", "processing", "succeeded", "failed", "cancelled"])
    def test_it_is_gone_on_with(self, status):
        asked, record = carry_out(resolving(TASK, SUBMITTED, NOW), row(status=status))

        assert kinds(asked) == [Row]
        assert record == SUBMITTED.to("submitted", try_number=2)

    def test_row_that_is_not_there_yet_is_waited_for(self):
        task, young = TASK, SUBMITTED.to("submitted", submitted_at=NOW - 20.0)
        asked, record = carry_out(resolving(task, young, NOW), None, NOW + 40.0, row())

        assert asked == [Row("g-1"), Pause(40.0), Row("g-1")]
        assert record == young.to("submitted", try_number=2)

    def test_id_that_is_not_known_stops(self):
        _, error = carry_out(resolving(TASK, SUBMITTED, NOW), None)

        assert "g-1" in said(error, OxenGenerationNotFound, spent="unknown", helps=False)

    def test_user_may_choose_to_pay_for_another(self):
        task = replace(TASK, on_unknown_outcome="resubmit")
        asked, record = carry_out(resolving(task, SUBMITTED, NOW), None, PREPARED, None, ACCEPTED, None)

        assert kinds(asked) == [Row, Prepare, Write, Send, Write]
        assert asked[2].record.generation_id is None
        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)

    def test_row_of_another_model_and_prompt_is_another_job(self):
        _, error = carry_out(resolving(TASK, SUBMITTED, NOW), row(model_name="n", prompt="A pear", seed=8))

        words = said(error, OxenRecordError, spent="unknown", helps=False)
        assert "'n'" in words
        assert "'m'" in words

    def test_row_that_cannot_be_asked_for_is_not_unknown(self):
        _, error = carry_out(resolving(TASK, SUBMITTED, NOW), OxenServerError("No answer.", status=500))

        assert "No answer" in said(error, OxenPollError, spent="unknown", helps=True)
        assert error.status == 500

    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    def test_clearing_on_purpose_begins_anew_where_it_gave_nothing(self, status):
        task = replace(TASK, clear_count=2)
        asked, record = carry_out(
            resolving(task, SUBMITTED, NOW), row(status=status), PREPARED, None, ACCEPTED, None
        )

        assert kinds(asked) == [Row, Prepare, Write, Send, Write]
        assert (record.generation_id, record.past) == ("g-2", ["g-1"])
        assert record.submissions == 1, "a task that is cleared may spend max_cost once more"

    def test_clearing_on_purpose_does_not_give_up_what_runs(self):
        _, record = carry_out(resolving(replace(TASK, clear_count=2), SUBMITTED, NOW), row(), None)

        assert (record.generation_id, record.clear_count) == ("g-1", 2)
        assert record.since == NOW, "it is waited for anew"


class TestCancelling:
    """We have asked the hub to cancel it."""

    CANCELLING = SUBMITTED.to("cancelling", files=["a.png"])

    def test_cancelled_by_ourselves_begins_anew(self):
        asked, record = carry_out(
            resolving(TASK, self.CANCELLING, NOW), row(status="cancelled"), PREPARED, None, ACCEPTED, None
        )

        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)
        assert record.files == ["a.png"], "what the old one wrote is ours to write over"
        assert kinds(asked)[1:] == [Prepare, Write, Send, Write]

    def test_found_one_that_we_cancelled_says_nothing_of_our_own(self):
        found = self.CANCELLING.to("cancelling", found=True, unique=False)
        own = row("g-5", "succeeded")
        asked, record = carry_out(resolving(TASK, found, NOW), row(status="cancelled"), [own], None)

        assert kinds(asked) == [Row, Rows, Write]
        assert record.generation_id == "g-5"

    @pytest.mark.parametrize("status", ["processing", "succeeded"])
    def test_one_that_was_faster_is_gone_on_with(self, status):
        _, record = carry_out(resolving(TASK, self.CANCELLING, NOW), row(status=status))

        assert (record.phase, record.generation_id) == ("submitted", "g-1")


class TestAnsweredAndKept:
    """There is an image."""

    def test_answered_is_fetched(self):
        answered = SUBMITTED.to("answered", items=[{"url": "https://hub.example/1"}])

        assert carry_out(resolving(replace(TASK, clear_count=2), answered, NOW)) == (
            [],
            answered.to("answered", clear_count=2, try_number=2),
        )

    def test_kept_is_reused(self):
        kept = SUBMITTED.to("kept")

        assert carry_out(resolving(TASK, kept, NOW)) == ([], kept.to("kept", try_number=2))

    def test_overwriting_is_for_what_is_kept_and_once_a_clearing(self):
        task = replace(TASK, overwrite=True, clear_count=2)
        _, record = carry_out(
            resolving(task, SUBMITTED.to("kept", files=["a.png"]), NOW), PREPARED, None, ACCEPTED, None
        )

        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 1)
        assert record.files == [], "the old output is replaced by the sidecar's word"
        kept = record.to("kept")
        assert carry_out(resolving(task, kept, NOW)) == ([], kept)

    def test_refused_overwriting_still_knows_the_old_generation(self):
        task = replace(TASK, overwrite=True, clear_count=2)
        refusal = OxenRateLimited("Too many requests.")
        asked, error = carry_out(resolving(task, SUBMITTED.to("kept"), NOW), PREPARED, None, refusal, None)

        assert error is refusal
        assert asked[-1].record.past == ["g-1"]

    TEXT = INTENT.to("answered", endpoint="generate", items=[{"b64_json": True}])

    def test_text_that_came_with_the_answer_is_looked_for_once(self):
        asked, record = carry_out(resolving(TASK, self.TEXT, NOW), [row("g-9", "succeeded")], None)

        assert kinds(asked) == [Rows, Write]
        assert (record.phase, record.generation_id) == ("submitted", "g-9")

    @pytest.mark.parametrize("endpoint", ["generate", "queue"])
    @pytest.mark.parametrize("rows", [[], [NAMELESS]], ids=["absent", "possible"])
    def test_text_that_is_lost_is_told(self, endpoint, rows):
        text = self.TEXT.to("answered", endpoint=endpoint)
        asked, error = carry_out(resolving(TASK, text, NOW), rows)

        assert kinds(asked) == [Rows]
        assert "This task has paid for" in said(error, OxenOutcomeUnknown, spent="unknown", helps=False)

    def test_text_that_is_lost_is_paid_for_again_where_the_user_chose_so(self):
        task = replace(TASK, on_unknown_outcome="resubmit", endpoint="generate")
        asked, _ = carry_out(resolving(task, self.TEXT, NOW), [], PREPARED, None, ACCEPTED, None)

        assert asked[2].record.items == []


class TestEnded:
    """It gave no image."""

    def test_next_try_submits_another(self):
        asked, record = carry_out(resolving(TASK, FAILED, NOW), PREPARED, None, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Send, Write]
        assert (record.generation_id, record.past, record.submissions) == ("g-2", ["g-1"], 2)

    def test_final_reason_stops(self):
        _, error = carry_out(resolving(TASK, FAILED.to("ended", final=True), NOW))

        assert "would fail in the same way" in said(error, OxenGenerationFailed, spent="unknown", helps=False)

    def test_cancelled_by_somebody_stops(self):
        _, error = carry_out(resolving(TASK, FAILED.to("ended", status="cancelled"), NOW))

        assert "Clear the task" in said(error, OxenGenerationCancelled, spent="unknown", helps=False)

    @pytest.mark.parametrize("changes", [{"final": True}, {"status": "cancelled"}, {}], ids=str)
    def test_clearing_on_purpose_begins_anew(self, changes):
        _, record = carry_out(
            resolving(replace(TASK, clear_count=2), FAILED.to("ended", **changes), NOW),
            PREPARED,
            None,
            ACCEPTED,
            None,
        )

        assert (record.generation_id, record.submissions) == ("g-2", 1)

    def test_changed_request_is_what_the_user_mended(self):
        asked, _ = carry_out(
            resolving(replace(TASK, fingerprint="other"), FAILED.to("ended", final=True), NOW),
            PREPARED,
            None,
            ACCEPTED,
            None,
        )

        assert kinds(asked)[0] is Prepare

    def test_one_that_was_found_may_have_been_somebody_elses(self):
        """A twin with the user's own seed failed: our own request is looked for before another is sent."""
        found = FAILED.to("ended", found=True, unique=False)
        own = row("g-5", "succeeded")
        asked, record = carry_out(resolving(TASK, found, NOW), [row(status="failed"), own], None)

        assert kinds(asked) == [Rows, Write]
        assert (record.generation_id, record.past) == ("g-5", ["g-1"])

    @pytest.mark.parametrize("changes", [{"final": True}, {"status": "cancelled"}], ids=str)
    def test_one_that_was_found_is_sought_on_after_clearing_too(self, changes):
        found = FAILED.to("ended", found=True, unique=False, **changes)
        own = row("g-5", "succeeded")
        _, record = carry_out(resolving(replace(TASK, clear_count=2), found, NOW), [row(), own], None)

        assert record.generation_id == "g-5"

    def test_refused_one_is_sent_by_the_next_try(self):
        refused = INTENT.to("ended", status="refused", reason="it was not accepted")
        asked, _ = carry_out(resolving(TASK, refused, NOW), PREPARED, None, ACCEPTED, None)

        assert kinds(asked) == [Prepare, Write, Send, Write]


class TestStranger:
    """A record that somebody has altered."""

    WANTING = replace(TASK, asked=PLAIN)

    @pytest.mark.parametrize(
        "changes", [{"prompt": "A blue ball"}, {"model": "dear"}, {"quality": "max"}], ids=str
    )
    @pytest.mark.parametrize("phase", ["intent", "submitted", "answered", "ended", "kept"])
    def test_record_that_holds_another_request_spends_nothing(self, phase, changes):
        altered = SUBMITTED.to(phase, body={**BODY, **changes})
        asked, error = carry_out(resolving(self.WANTING, altered, NOW))

        assert "somebody changed it" in said(error, OxenRecordError, spent="unknown", helps=False)
        assert asked == []

    def test_own_record_is_gone_on_with(self):
        assert carry_out(resolving(self.WANTING, SUBMITTED, NOW), row())[1].generation_id == "g-1"

    def test_what_is_sent_once_more_is_made_of_the_arguments(self):
        dear = INTENT.to("intent", price=0.0)
        asked, record = carry_out(
            resolving(self.WANTING, dear, NOW), [], NOW + 60.0, [], PREPARED, None, ACCEPTED, None
        )

        assert asked[5].record.body == BODY
        assert record.price == 0.01

    def test_what_it_is_to_be_held_against_need_not_be_told(self):
        assert carry_out(resolving(TASK, SUBMITTED, NOW), row())[1].generation_id == "g-1"

    OTHER = INTENT.to("intent", body={**PLAIN, "seed": 8})
    """Its seed was altered, or its folder moved."""

    def test_job_is_found_by_the_seed_that_was_derived_for_it(self):
        asked, record = carry_out(resolving(self.WANTING, self.OTHER, NOW), [row("g-9")], None)

        assert asked[0] == Rows(INTENT)
        assert (record.generation_id, record.body) == ("g-9", BODY)

    def test_job_of_the_altered_seed_is_not_taken(self):
        decoy = [row("g-8", seed=8)]
        asked, error = carry_out(resolving(self.WANTING, self.OTHER, NOW), decoy, NOW + 60.0, decoy)

        assert kinds(asked) == [Rows, Pause, Rows]
        words = said(error, OxenRecordError, spent="unknown", helps=False)
        assert "another seed or directory than the one derived for it" in words

    def test_job_of_a_folder_that_was_moved_is_taken_where_the_user_says_so(self):
        task = replace(self.WANTING, on_unknown_outcome="adopt")
        moved = [row("g-8", seed=8)]
        _, record = carry_out(resolving(task, self.OTHER, NOW), moved, NOW + 60.0, moved, None)

        assert (record.generation_id, record.body["seed"]) == ("g-8", 8)

    @pytest.mark.parametrize("choice", ["fail", "adopt", "resubmit"])
    def test_altered_seed_sends_nothing(self, choice):
        task = replace(self.WANTING, on_unknown_outcome=choice)
        _, error = carry_out(resolving(task, self.OTHER, NOW), [], NOW + 60.0, [])

        assert said(error, OxenRecordError, spent="unknown", helps=False)

    @pytest.mark.parametrize("gone", [None, "seed"], ids=["altered", "removed"])
    def test_altered_seed_whose_counter_is_gone_is_looked_for_among_all_that_may_be(self, gone):
        """Earlier versions drew their seeds, and told no counter: nobody can tell the two apart."""
        body = PLAIN if gone else {**PLAIN, "seed": 99}
        intent = INTENT.to("intent", body=body, counter=None)
        remade = [Remade({**PLAIN, "seed": seed}, unique=True) for seed in range(5, 9)]
        asked, record = carry_out(
            resolving(self.WANTING, intent, NOW), [], NOW + 60.0, [row("g-9")], None, remade=remade
        )

        assert [other.body["seed"] for other in asked[0].others] == [5, 6, 7, 8]
        assert kinds(asked) == [Rows, Pause, Rows, Write]
        assert (record.generation_id, record.body, record.counter) == ("g-9", BODY, 2)

    def test_seed_that_an_earlier_version_drew_is_found(self):
        drawn = INTENT.to("intent", body={**PLAIN, "seed": 99}, counter=None)
        listed = [row("g-9", seed=99)]
        _, record = carry_out(resolving(self.WANTING, drawn, NOW), listed, NOW + 60.0, listed, None)

        assert (record.generation_id, record.body["seed"], record.found) == ("g-9", 99, False)

    def test_seed_that_an_earlier_version_drew_and_never_sent_is_sent_anew(self):
        drawn = INTENT.to("intent", body={**PLAIN, "seed": 99}, counter=None)
        _, record = carry_out(
            resolving(self.WANTING, drawn, NOW), [], NOW + 60.0, [], PREPARED, None, ACCEPTED, None
        )

        assert (record.generation_id, record.body) == ("g-2", BODY)

    def test_certain_job_goes_before_a_possible_one(self):
        """Made anew without the model's schema, the request has no seed: the row could be it as well."""
        _, record = carry_out(
            resolving(self.WANTING, INTENT, NOW), [row("g-9")], NOW + 60.0, [row("g-9")], None,
            remade=[Remade(PLAIN)],
        )  # fmt: skip

        assert (record.generation_id, record.found) == ("g-9", False)

    DOWN = OxenServerError("The model could not be asked for.")

    def test_job_is_found_although_its_request_cannot_be_made_anew(self):
        _, record = carry_out(resolving(self.WANTING, INTENT, NOW), [row("g-9")], None, remade=[self.DOWN])

        assert record.generation_id == "g-9"

    @pytest.mark.parametrize("choice", ["fail", "adopt", "resubmit"])
    def test_request_that_cannot_be_made_anew_is_not_sent_again(self, choice):
        task = replace(self.WANTING, on_unknown_outcome=choice)
        _, error = carry_out(resolving(task, INTENT, NOW), [], NOW + 60.0, [], remade=[self.DOWN])

        assert "could not be read" in said(error, OxenPollError, spent="unknown", helps=True)

    def test_synchronous_call_that_somebody_calls_a_job_of_the_queue_is_not_sent_again(self):
        task = replace(self.WANTING, endpoint="generate")
        _, error = carry_out(resolving(task, INTENT, NOW), [], NOW + 60.0, [])

        assert said(error, OxenOutcomeUnknown, spent="unknown", helps=False)

    def test_found_job_that_ended_badly_is_sought_by_what_the_arguments_make(self):
        other = FAILED.to("ended", found=True, body={**PLAIN, "seed": 8})
        _, record = carry_out(resolving(self.WANTING, other, NOW), [row("g-9")], None)

        assert record.generation_id == "g-9"


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
        asked, error = carry_out(resolving(replace(TASK, **changes), SUBMITTED.to(phase), NOW))

        words = said(error, OxenChangedRequest, spent="no", helps=False)
        assert f"its {named} changed" in words
        assert "g-1" in words
        assert ("overwrite=True" in words) is (phase == "kept")
        assert asked == []

    @CHANGES
    def test_old_job_is_given_up_where_the_user_chose_so(self, changes, named):
        task = replace(TASK, on_changed_request="submit", **changes)
        _, record = carry_out(resolving(task, SUBMITTED, NOW), PREPARED, None, ACCEPTED, None)

        assert record.generation_id == "g-2"
        assert changed(task, record) == []

    def test_same_request_is_not_changed(self):
        assert changed(TASK, SUBMITTED) == []


class TestBudget:
    """max_cost counts every submission of a clearing."""

    def test_unknown_price_is_no_price(self):
        task = replace(TASK, max_cost=1.0)
        asked, error = carry_out(resolving(task, None, NOW), PREPARED._replace(price=None))

        assert "has no price for" in said(error, OxenBudgetError, spent="no", helps=False)
        assert kinds(asked) == [Prepare]

    def test_submission_that_would_cost_too_much_is_not_sent(self):
        task = replace(TASK, max_cost=0.015)
        asked, error = carry_out(resolving(task, FAILED, NOW), PREPARED)

        assert "submission 2" in said(error, OxenBudgetError, spent="no", helps=False)
        assert kinds(asked) == [Prepare]

    def test_exact_sum_is_allowed(self):
        task = replace(TASK, max_cost=0.02)

        assert carry_out(resolving(task, FAILED, NOW), PREPARED, None, ACCEPTED, None)[1].submissions == 2

    def test_clearing_on_purpose_counts_anew(self):
        task = replace(TASK, max_cost=0.01, clear_count=2)

        assert carry_out(resolving(task, FAILED, NOW), PREPARED, None, ACCEPTED, None)[1].submissions == 1


def test_reason_that_is_not_given_is_told_so():
    assert "the hub gave no reason" in str(stopped(FAILED.to("ended", reason=None)))
