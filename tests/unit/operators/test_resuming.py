"""A task that was interrupted, or deferred and woken, goes on with the job that it has."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks import deferral
from airflow_provider_oxen.waiting import registry

from .scene import Failed, Scene, all_homes, dies, paid_once, stopped, with_record, without_record

# A try is interrupted.


@all_homes
@pytest.mark.parametrize("mode", ["polled"])
def test_try_that_is_struck_while_it_waits_is_continued_by_the_next(scene, monkeypatch):
    scene.slow()
    dies(monkeypatch, "row", after=True)
    scene.between = scene.later

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["Struck"]
    assert paid_once(scene, played)


@all_homes
@pytest.mark.parametrize("mode", ["deferred"])
@pytest.mark.parametrize(
    "event",
    [None, {}, "done", {"event": "airflow-provider-oxen/generation/2"}, {"status": "succeeded"}, [1]],
    ids=repr,
)
def test_event_that_is_not_understood_is_an_error_and_the_next_try_goes_on(scene, event):
    before: list[Any] = []

    def meanwhile(told: Any) -> Any:
        scene.meanwhile = lambda told: told
        before.append(scene.record)
        return event

    scene.meanwhile = meanwhile
    scene.between = lambda: before.append(scene.record)

    played = scene.play()

    [error] = played.errors
    assert type(error).__name__ == "OxenPollError"
    assert "an unknown event" in str(error)
    assert before[0] == before[1]
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_event_of_another_generation_is_not_believed(scene):
    def meanwhile(told: Any) -> Any:
        scene.meanwhile = lambda told: told
        return {**told, "generation_id": "another"}

    scene.meanwhile = meanwhile

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenPollError"]
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_record_that_is_deleted_while_the_task_is_deferred_is_not_missed(scene):
    def meanwhile(told: Any) -> Any:
        for path in scene.out.glob(".*.job.json"):
            path.unlink()
        if scene.store:
            scene.store.values.clear()
        return told

    scene.meanwhile = meanwhile

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_record_that_becomes_another_jobs_while_the_task_is_deferred_stops_it(scene):
    def meanwhile(told: Any) -> Any:
        scene.remember({**scene.record, "nonce": "another", "generation_id": "another"})
        return told

    scene.meanwhile = meanwhile

    message = stopped(scene, scene.play(), sent=1)

    assert "OxenRecordError" in message
    assert "generation another" in message


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_record_that_cannot_be_read_after_deferral_leaves_the_job_to_the_next_try(scene, broken):
    def meanwhile(told: Any) -> Any:
        broken.fails = lambda done, record: done == "read"
        return told

    def between() -> None:
        broken.fails = lambda done, record: False

    scene.meanwhile, scene.between = meanwhile, between

    played = scene.play()

    assert [type(error).__name__ for error in played.errors] == ["OxenPollError"]
    assert "may have been paid for" in str(played.errors[0])
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
@pytest.mark.parametrize("phase", ["cancelling", "ended"])
def test_job_that_was_stopped_while_the_task_was_deferred_is_judged_anew(scene, phase):
    def meanwhile(told: Any) -> Any:
        scene.meanwhile = lambda told: told
        scene.remember({**scene.record, "phase": phase, "status": "failed"})
        return told

    scene.meanwhile = meanwhile

    played = scene.play()

    assert played.state == "success"
    assert scene.sent == (1 if phase == "cancelling" else 2)


def forget(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume the task with the event alone, as ``dag.test()`` does."""
    resume = ImageGenerateOperator.execute_complete
    monkeypatch.setattr(
        ImageGenerateOperator,
        "execute_complete",
        lambda self, context, event, job: resume(self, context, event),
    )


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_task_that_is_resumed_without_its_memory_has_the_record(scene, monkeypatch):
    forget(scene, monkeypatch)

    assert paid_once(scene, scene.play())


@without_record
@pytest.mark.parametrize("mode", ["deferred"])
def test_task_that_is_resumed_with_the_event_alone_goes_on_with_its_generation(scene, monkeypatch):
    forget(scene, monkeypatch)

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)


@without_record
@pytest.mark.parametrize("mode", ["deferred"])
@pytest.mark.parametrize("event", [None, {"status": "succeeded"}, "done"], ids=repr)
def test_task_that_is_resumed_with_nothing_at_all_looks_its_job_up(scene, monkeypatch, event):
    forget(scene, monkeypatch)

    def meanwhile(told: Any) -> Any:
        scene.meanwhile = lambda told: told
        return event

    scene.meanwhile = meanwhile

    played = scene.play()

    [error] = played.errors
    assert "nothing says what it waited for" in str(error)
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
@all_homes
@pytest.mark.parametrize("reason", ["Trigger failure", "Trigger timeout"])
def test_trigger_that_came_to_no_end_leaves_the_job_to_the_next_try(scene, reason):
    def meanwhile(told: Any) -> Any:
        scene.meanwhile = lambda told: told
        return Failed(reason)

    scene.meanwhile = meanwhile

    played = scene.play()

    [error] = played.errors
    assert type(error).__name__ == "OxenPollError"
    assert "The deferred wait failed" in str(error)
    assert "may have been paid for. The next try checks again" in str(error)
    assert "If no retry is left, clear the task" in str(error)
    assert paid_once(scene, played)


@pytest.mark.parametrize("mode", ["deferred"])
def test_error_of_the_task_itself_is_not_taken_for_the_triggers(scene, monkeypatch):
    def refuse(self: Any, context: Any, event: Any, job: Any) -> Any:
        raise AirflowException("something else")

    monkeypatch.setattr(ImageGenerateOperator, "execute_complete", refuse)

    assert scene.once().error == "AirflowException: something else"


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
@pytest.mark.parametrize("changed", [{"prompt": "A blue ball"}, {"target_namespace": "local-org"}])
@pytest.mark.parametrize("earlier", [False, True], ids=["", "earlier-version"])
def test_request_that_is_edited_while_the_task_is_deferred_changes_nothing(
    scene, changed, earlier, monkeypatch
):
    if earlier:
        # It did not keep the arguments: all that is there to go by is the record.
        monkeypatch.setattr(deferral, "with_arguments", lambda kept, arguments: dict(kept))

    def meanwhile(told: Any) -> Any:
        scene.arguments |= changed
        return told

    scene.meanwhile = meanwhile

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert scene.hub.ledger()[0]["prompt"] == "A red cube"
    assert (
        "changed while this task waited; it continues with what it was started with" in scene.logged
    ) is earlier


@pytest.mark.parametrize("mode", ["deferred"])
@with_record
def test_connection_that_is_broken_while_the_task_is_deferred_is_told_with_the_job(scene, monkeypatch):
    def meanwhile(told: Any) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", '{"conn_type": "oxen", "host": "ftp://nowhere"}')
        return told

    scene.meanwhile = meanwhile

    message = stopped(scene, scene.play(), sent=1)

    generation_id = scene.hub.jobs()[0]["generation_id"]
    assert f"Generation {generation_id}, which this task has waited for, may have been paid for" in message


@pytest.mark.parametrize("mode", ["deferred"])
@pytest.mark.parametrize("retries", [0, 2])
def test_task_without_retries_is_warned_that_airflow_may_fail_it(scene, retries):
    scene.retries = scene.max_tries = retries

    assert paid_once(scene, scene.play())

    assert ("Set retries to 2 or more" in scene.logged) is (retries == 0)


@pytest.mark.parametrize("mode", ["deferred"])
def test_task_that_defers_again_is_not_warned_again(scene, monkeypatch):
    scene.retries = scene.max_tries = 0
    finish, real, turns, warned = scene.deferring, registry.wait, [], []
    monkeypatch.setattr(deferral, "warn_before_deferral", lambda ti, log: warned.append(ti.try_number))

    async def wait(*arguments: Any, **more: Any) -> Any:
        turns.append(1)
        if len(turns) == 1:
            raise ConnectionError("The triggerer has no network.")
        finish()
        return await real(*arguments, **more)

    monkeypatch.setattr(registry, "wait", wait)
    scene.deferring = lambda: None

    assert paid_once(scene, scene.play())

    assert len(scene.deferred) == 2
    assert warned == [1]
