"""The simulation can fail: a protocol that is a little worse is found out, by a history that shows why."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.api.errors import OxenBudgetError, OxenOutcomeUnknown
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs import complete, evidence, lookups, resolve, submit
from airflow_provider_oxen.jobs.effects import Effects, Prepared
from airflow_provider_oxen.jobs.record import Record

from . import play, world
from .check import violations
from .hands import At, effect
from .play import histories
from .scenario import Clearing, Scenario


def found_out(scenario: Scenario, troubles: int) -> str:
    """Return the first rule that a history breaks."""
    for history in histories(scenario, troubles):
        if broken := violations(history):
            return broken[0]
    return ""


def test_protocol_as_it_is_passes_where_the_mutants_do_not():
    for scenario, troubles in [
        (Scenario(), 2),
        (Scenario(seed="none", twins=2), 1),
        (Scenario(deferred=True), 1),
        (Scenario(clearings=(Clearing(overwrite=True), Clearing(overwrite=True))), 1),
    ]:
        assert found_out(scenario, troubles) == ""


def test_sending_before_the_intent_is_written_pays_twice(monkeypatch):
    async def skip(do: Effects, intent: Record, sent: int) -> None:
        """Write nothing."""

    monkeypatch.setattr(submit, "_write_down", skip)
    monkeypatch.setattr(evidence, "send_conflict", lambda intent, found: None)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_intent_that_is_not_read_back_pays_twice(monkeypatch):
    """A store may lose what it has taken: then the worker dies, and the next one knows of nothing."""
    monkeypatch.setattr(evidence, "send_conflict", lambda intent, found: None)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 2)


def test_believing_what_a_record_tells_of_its_request_pays_twice(monkeypatch):
    """The mutant looks for what is on record alone, which somebody has altered."""
    altered = Scenario(alters=True)
    assert found_out(altered, 2) == ""

    async def trusting(do: Effects, task: Any, record: Record, now: float) -> Record | lookups.Resend:
        return await lookups.look_up(do, task, record, now, record.time)

    monkeypatch.setattr(resolve, "look_again", trusting)

    assert "paid for job-2 although it had job-1" in found_out(altered, 2)


@pytest.mark.parametrize("home", ["store", "file", "both"])
def test_frozen_try_that_does_not_look_last_pays_beside_its_successor(monkeypatch, home):
    frozen = Scenario(home=home, freezes=True, asked=False)
    assert found_out(frozen, 1) == ""

    monkeypatch.setattr(evidence, "send_conflict", lambda intent, found: None)

    assert "paid for job-2 although it had job-1" in found_out(frozen, 1)


def test_frozen_try_without_a_record_that_does_not_ask_airflow_pays_beside_its_successor():
    frozen = Scenario(home="none", folder=False, freezes=True)
    assert found_out(frozen, 1) == ""

    assert "paid for job-2 although it had job-1" in found_out(replace(frozen, asked=False), 1)


def test_refusal_that_leaves_the_intent_says_that_something_may_have_been_paid_for(monkeypatch):
    """As where a wait was begun before the record went back to "not sent": the next try stops for nothing."""

    async def leave(do: Effects, intent: Record, sent: int) -> None:
        """Write nothing."""

    monkeypatch.setattr(submit, "_take_back", leave)
    stops = [
        history
        for history in histories(Scenario(endpoint="generate"), 2)
        if not history.world.hub.jobs
        and isinstance(history.lives[0].attempts[-1].error, OxenOutcomeUnknown)
        and not any("vanishes" in line or "fails" in line or "dies" in line for line in history.world.story)
    ]

    assert stops


def test_refusal_that_counts_as_a_submission_uses_up_the_budget(monkeypatch):
    """The mutant goes back to "not sent" with the refused request counted."""

    async def count(do: Effects, intent: Record, sent: int) -> None:
        await do.write(intent.to("not_sent"))

    scenario = Scenario(max_cost=1.0)
    assert not [history for history in histories(scenario, 2) if is_unpaid_for_budget(history)]
    monkeypatch.setattr(submit, "_take_back", count)

    assert [history for history in histories(scenario, 2) if is_unpaid_for_budget(history)]


def is_unpaid_for_budget(history: play.History) -> bool:
    """Whether a task failed for its budget although nothing was billed."""
    errors = [attempt.error for attempt in history.lives[0].attempts]
    return not history.world.hub.jobs and any(isinstance(error, OxenBudgetError) for error in errors)


def test_missing_record_taken_for_nothing_sent_pays_twice(monkeypatch):
    """The mutant believes each try that finds no record, as if it were the first."""
    gone = Scenario(vanishes=True)
    assert found_out(gone, 2) == ""
    original = resolve.resolve

    async def trusting(do: Effects, task: Any, record: Any, now: float, kept: Any = None) -> Record:
        return await original(do, replace(task, unsure=False), record, now, kept)

    monkeypatch.setattr(play, "resolve", trusting)

    assert "paid for job-2 although it had job-1" in found_out(gone, 2)


def test_seed_that_cannot_be_derived_again_pays_twice_where_the_record_is_gone(monkeypatch):
    drawn = iter(range(1_000_000))
    original = play.Try.prepare

    async def random(self: play.Try, counter: int) -> Prepared:
        prepared = await original(self, counter)
        return prepared._replace(body={**prepared.body, "seed": next(drawn)})

    monkeypatch.setattr(play.Try, "prepare", random)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(vanishes=True), 2)


def test_first_seed_alone_looked_for_pays_twice_where_the_record_is_gone(monkeypatch):
    """The mutant does not look for the jobs of later submissions."""
    gone = Scenario(vanishes=True, folder=False, clearings=(Clearing(), Clearing(tries=2)))
    assert found_out(gone, 2) == ""
    monkeypatch.setattr(play, "AHEAD", 1)

    assert "paid for job-3 although it had job-2" in found_out(gone, 2)


def lost(pause: float, looks: int) -> Any:
    """Return a search for a lost request that gives up too soon."""

    async def search(
        do: Effects, task: Any, record: Record, now: float, since: float | None, later: Any = (), **rest: Any
    ) -> Record:
        for look in range(looks):
            if look:
                now = await do.pause(pause)
            rows = await do.rows(record)
            if row := evidence.look(record.body, rows, since).best:
                return record.to("submitted", generation_id=row.generation_id, submitted_at=now)
        return await submit.submit(do, task, now, again=record)

    return search


def searches(monkeypatch: pytest.MonkeyPatch, search: Any) -> None:
    """Let the protocol search so, in the try that lost the answer and in the next."""
    for module in (lookups, resolve, submit):
        monkeypatch.setattr(module, "look_up", search)


@pytest.mark.parametrize(
    "search", [lost(0.0, 1), lost(1.0, 2), lost(20.0, 2)], ids=["one look", "at once", "too soon"]
)
def test_sending_again_before_the_grace_is_over_pays_twice(monkeypatch, search):
    searches(monkeypatch, search)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_grace_from_the_intent_on_pays_twice(monkeypatch):
    """The request may have gone out long after the intent: the mutant waits what is left since then."""

    async def search(
        do: Effects, task: Any, record: Record, now: float, since: float | None, later: Any = (), **rest: Any
    ) -> Any:
        left = record.time + task.lookup_grace - now
        return await lost(max(left, 1.0), 2)(do, task, record, now, since)

    searches(monkeypatch, search)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_taking_any_job_of_the_prompt_takes_the_twins(monkeypatch):
    def blind(body: dict[str, Any], rows: Iterable[Any], since: Any, **rest: Any) -> evidence.Matches:
        found = evidence.look({name: body[name] for name in ("model", "prompt")}, rows, since)
        return evidence.Matches(found.possible, [])

    monkeypatch.setattr(lookups, "look", blind)

    assert "task-b ended with job-1" in found_out(Scenario(twins=2), 1)


def test_taking_what_cannot_be_proved_for_absent_pays_twice(monkeypatch):
    def hasty(*arguments: Any, **rest: Any) -> evidence.Matches:
        return evidence.look(*arguments, **rest)._replace(possible=[])

    monkeypatch.setattr(lookups, "look", hasty)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(seed="none"), 1)


def test_calling_the_synchronous_endpoint_again_pays_twice(monkeypatch):
    """Its calls need not be in any list, so that they are not there proves nothing."""
    searches(monkeypatch, lost(60.0, 2))

    assert "paid for job-2 although it had job-1" in found_out(Scenario(endpoint="generate"), 1)


@pytest.mark.parametrize(("first", "verdict"), [("queue", ""), ("history", "paid for job-2")])
def test_history_before_the_queue_pays_twice(monkeypatch, first, verdict):
    """A job that ends between the two lists is in neither, where the history is asked first."""

    @effect
    async def slowly(self: play.Try, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        self.ask("rows")
        rows = self.hub.queue(self.world.now) if first == "queue" else self.hub.history(self.world.now, 0)
        await At(self.world.now + 5.0)
        return rows + (self.hub.history if first == "queue" else lambda now, page: self.hub.queue(now))(
            self.world.now, 0
        )

    monkeypatch.setattr(play.Try, "rows", slowly)
    # It ends while the second look is taken.
    monkeypatch.setattr(world, "RUNS", 70.0)

    assert verdict in found_out(Scenario(), 1)
    assert bool(verdict) == bool(found_out(Scenario(), 1))


def test_free_question_that_fails_must_not_say_that_nothing_was_spent(monkeypatch):
    async def plainly(question: Awaitable[Any], record: Record) -> Any:
        return await question

    monkeypatch.setattr(lookups, "must_answer", plainly)

    assert "says that nothing was spent, and ['job-1'] was" in found_out(Scenario(), 1)


def test_overwriting_what_is_not_kept_pays_twice(monkeypatch):
    original = resolve.resolve

    async def eager(do: Effects, task: Any, record: Record | None, now: float, kept: Any = None) -> Record:
        if task.overwrite and record is not None and record.clear_count < task.clear_count:
            return await submit.submit(do, task, now, replaced=record)
        return await original(do, task, record, now, kept)

    monkeypatch.setattr(play, "resolve", eager)
    twice = (Clearing(overwrite=True), Clearing(overwrite=True))

    assert "paid for job-2 although it had job-1" in found_out(Scenario(clearings=twice), 1)


def test_going_on_from_the_record_alone_after_deferral_ends_in_no_image(monkeypatch):
    """The record may have stayed at the intent: what the deferred task was given tells the generation."""

    async def forgetful(self: play.Try, deferred: Record, end: Any) -> Any:
        record: Any = await self.read()
        return await self.complete(record, end)

    monkeypatch.setattr(play.Try, "resume", forgetful)
    broken = found_out(Scenario(deferred=True), 1)

    assert broken


@pytest.mark.parametrize("endpoint", ["queue", "generate"])
def test_giving_up_what_is_only_not_there_yet_pays_twice(monkeypatch, endpoint):
    async def hasty(do: Effects, task: Any, record: Record, error: Any) -> None:
        await do.close(record.to("ended", status="expired", final=True))
        raise error

    monkeypatch.setattr(retries, "NOT_YET", ())
    monkeypatch.setattr(complete, "_put_off", hasty)
    scenario = Scenario(endpoint=endpoint, clearings=(Clearing(), Clearing()))

    assert "paid for job-2 although it had job-1" in found_out(scenario, 2)
