"""The simulation can fail: a protocol that is a little worse is found out, by a history that shows why."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import pytest

from airflow_provider_oxen.jobs import evidence, questions, resolve, steps, submit
from airflow_provider_oxen.jobs.record import Record

from . import play, world
from .check import violations
from .play import histories
from .scenario import Clearing, Scenario

Protocol = Generator[steps.Step, Any, Any]


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
    def skip(intent: Record, *, over: bool) -> Protocol:
        yield from ()

    monkeypatch.setattr(submit, "_write_down", skip)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_intent_that_is_not_read_back_pays_twice(monkeypatch):
    """A store may lose what it has taken: then the worker dies, and the next one knows of nothing."""

    def trust(intent: Record, *, over: bool) -> Protocol:
        yield steps.Write(intent) if over else steps.Create(intent)

    monkeypatch.setattr(submit, "_write_down", trust)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 2)


def lost(pause: float, looks: int) -> Any:
    """Return a search for a lost request that gives up too soon."""

    def search(task: Any, record: Record, now: float, since: float | None) -> Protocol:
        for look in range(looks):
            if look:
                now = yield steps.Pause(pause)
            rows = yield steps.Look(record)
            if row := evidence.look(record.body, rows, since).best:
                return record.to("submitted", generation_id=row.generation_id, submitted_at=now)
        return (yield from submit.submit(task, now, again=record))

    return search


def searches(monkeypatch: pytest.MonkeyPatch, search: Any) -> None:
    """Let the protocol search so, in the try that lost the answer and in the next."""
    monkeypatch.setattr(submit, "look_up", search)
    monkeypatch.setattr(resolve, "look_up", search)


@pytest.mark.parametrize(
    "search", [lost(0.0, 1), lost(1.0, 2), lost(20.0, 2)], ids=["one look", "at once", "too soon"]
)
def test_sending_again_before_the_grace_is_over_pays_twice(monkeypatch, search):
    searches(monkeypatch, search)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_grace_from_the_intent_on_pays_twice(monkeypatch):
    """The request may have gone out long after the intent: the mutant waits what is left since then."""

    def search(task: Any, record: Record, now: float, since: float | None) -> Protocol:
        left = record.time + task.lookup_grace - now
        return (yield from lost(max(left, 1.0), 2)(task, record, now, since))

    searches(monkeypatch, search)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(), 1)


def test_taking_any_job_of_the_prompt_takes_the_twins(monkeypatch):
    def blind(body: dict[str, Any], rows: Iterable[Any], since: Any, **rest: Any) -> evidence.Found:
        found = evidence.look({name: body[name] for name in ("model", "prompt")}, rows, since)
        return evidence.Found(found.possible, [])

    monkeypatch.setattr(submit, "look", blind)

    assert "task-b ended with job-1" in found_out(Scenario(twins=2), 1)


def test_taking_what_cannot_be_proved_for_absent_pays_twice(monkeypatch):
    def hasty(*arguments: Any, **rest: Any) -> evidence.Found:
        return evidence.look(*arguments, **rest)._replace(possible=[])

    monkeypatch.setattr(submit, "look", hasty)

    assert "paid for job-2 although it had job-1" in found_out(Scenario(seed="none"), 1)


def test_calling_the_synchronous_endpoint_again_pays_twice(monkeypatch):
    """Its calls need not be in any list, so that they are not there proves nothing."""
    searches(monkeypatch, lost(60.0, 2))

    assert "paid for job-2 although it had job-1" in found_out(Scenario(endpoint="generate"), 1)


@pytest.mark.parametrize(("first", "verdict"), [("queue", ""), ("history", "paid for job-2")])
def test_history_before_the_queue_pays_twice(monkeypatch, first, verdict):
    """A job that ends between the two lists is in neither, where the history is asked first."""

    def slowly(self: play.Try, step: steps.Look) -> Generator[float, None, Any]:
        self.ask(step)
        rows = self.hub.queue(self.world.now) if first == "queue" else self.hub.history(self.world.now, 0)
        yield self.world.now + 5.0
        return rows + (self.hub.history if first == "queue" else lambda now, page: self.hub.queue(now))(
            self.world.now, 0
        )

    monkeypatch.setattr(play.Try, "_look", slowly)
    # It ends while the second look is taken.
    monkeypatch.setattr(world, "RUNS", 70.0)

    assert verdict in found_out(Scenario(), 1)
    assert bool(verdict) == bool(found_out(Scenario(), 1))


def test_free_question_that_fails_must_not_say_that_nothing_was_spent(monkeypatch):
    def plainly(step: Any, record: Record) -> Protocol:
        return (yield step)

    monkeypatch.setattr(questions, "ask", plainly)

    assert "says that nothing was spent, and ['job-1'] was" in found_out(Scenario(), 1)


def test_overwriting_what_is_not_kept_pays_twice(monkeypatch):
    original = resolve.resolve

    def eager(task: Any, record: Record | None, now: float) -> Protocol:
        if task.overwrite and record is not None and record.clearing < task.clearing:
            return (yield from submit.submit(task, now, replaced=record))
        return (yield from original(task, record, now))

    monkeypatch.setattr(play, "resolve", eager)
    twice = (Clearing(overwrite=True), Clearing(overwrite=True))

    assert "paid for job-2 although it had job-1" in found_out(Scenario(clearings=twice), 1)


def test_going_on_from_the_record_alone_after_deferral_ends_in_no_image(monkeypatch):
    """The record may have stayed at the intent: what the deferred task was given tells the generation."""

    def forgetful(self: play.Try, deferred: Record, end: Any) -> Generator[float, None, Any]:
        record = yield from self.do(steps.Read())
        return (yield from self.complete(record, end))

    monkeypatch.setattr(play.Try, "resume", forgetful)
    broken = found_out(Scenario(deferred=True), 1)

    assert broken
