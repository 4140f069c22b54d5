"""When the function is called, when it is not, and what becomes of what it returned."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_oxen.batch.shared import SharedQueue
from airflow_provider_oxen.decorators import images
from airflow_provider_oxen.jobs.request import RequestArguments
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks.effects import WorkerEffects

from ..operators.scene import KEY, STORE, Failed, Store

DEFERRED = {"mode": "deferred"}
every_home = pytest.mark.parametrize("home", [*STORE, "file", "none"])


def another() -> Callable[[], str]:
    """Return a function that asks for something else each time."""
    numbers = itertools.count(1)
    return lambda: f"Cube number {next(numbers)}"


def prompts(scene: Any) -> list[str]:
    """Return what was paid for."""
    return [paid["request"]["prompt"] for paid in scene.hub.ledger()]


def asked_for(scene: Any) -> list[str]:
    """Return what the hub's queue has accepted."""
    return [job["request"]["prompt"] for job in scene.hub.jobs()]


def test_what_the_function_returned_is_drawn_as_it_is(task_of):
    scene = task_of(lambda: "A {{ ds }} cube, 100 %} {# red")

    played = scene.play()

    assert played.state == "success", played.error
    assert prompts(scene) == ["A {{ ds }} cube, 100 %} {# red"]
    assert played.image["path"].startswith(f"{scene.out}/cube")


def test_a_mapping_sets_what_it_names_and_the_operator_the_rest(task_of):
    returned = {"prompt": "A cube", "seed": 7, "output_format": "webp"}
    scene = task_of(lambda: returned, seed=1, num_inference_steps=8)

    assert scene.play().state == "success"

    [paid] = scene.hub.ledger()
    asked = {
        name: paid["request"][name] for name in ("prompt", "seed", "output_format", "num_inference_steps")
    }
    assert asked == {**returned, "num_inference_steps": 8}


@every_home
def test_the_function_is_not_called_again_to_go_on(task_of, home):
    scene = task_of(another(), home, **DEFERRED)

    played = scene.play()

    assert played.state == "success", played.error
    assert scene.calls == 1
    assert prompts(scene) == ["Cube number 1"]
    assert "changed while this task waited" not in scene.logged


def test_what_a_mapping_asked_for_is_kept_while_the_task_waits(task_of):
    scene = task_of(lambda: {"prompt": "A cube", "output_format": "webp"}, **DEFERRED)

    played = scene.play()

    assert played.state == "success", played.error
    assert played.image["media_type"] == "image/webp"
    assert "changed while this task waited" not in scene.logged


shapes = pytest.mark.parametrize("shape", [str, lambda text: [text]], ids=["one", "many"])


def in_one_process(task_of: Callable[..., Any], shape: Callable[[str], Any], home: str) -> list[Any]:
    """Return two tasks of one process, which resumes them with the event only."""
    scenes = [
        task_of(lambda text=text: shape(text), home, map_index=index, **DEFERRED)
        for index, text in enumerate(("A cube", "A ball"))
    ]
    for scene in scenes:
        scene.in_one_process = True
    return scenes


@every_home
def test_the_process_that_deferred_a_task_goes_on_with_it_and_keeps_nothing(task_of, home):
    scenes = in_one_process(task_of, str, home)

    played = [scene.play() for scene in scenes]

    assert [outcome.state for outcome in played] == ["success", "success"], played
    assert [scene.calls for scene in scenes] == [1, 1]
    assert prompts(scenes[0]) == ["A cube", "A ball"]
    assert images._deferred == {}


@shapes
def test_a_task_never_goes_on_with_what_another_of_its_process_returned(task_of, shape):
    cube, ball = in_one_process(task_of, shape, "file")
    later, played = cube.deferring, []
    # While the first waits, the second is asked for, waits, and is not resumed.
    ball.meanwhile = lambda event: Failed("Trigger failure")

    def deferring() -> None:
        later()
        played.append(ball.once())

    cube.deferring = deferring

    tried = cube.once()

    assert "what its function returned is lost" in tried.error
    assert len(images._deferred) == 1
    cube.deferring, ball.meanwhile = later, lambda event: event
    assert [scene.once().state for scene in (cube, ball)] == ["success", "success"]
    assert sorted(prompts(cube)) == ["A ball", "A cube"]


def test_a_record_that_became_anothers_meanwhile_is_refused(task_of):
    scene = task_of(lambda: "A cube", **DEFERRED)

    def replaced(event: Any) -> Any:
        scene.remember({**(scene.record or {}), "nonce": "0" * 32})
        return event

    scene.meanwhile = replaced

    assert "its record became that of" in scene.once().error


def test_what_a_batch_had_spent_when_it_was_deferred_is_counted(task_of):
    scene = task_of(lambda: ["A cube"], **DEFERRED)
    scene.hub.fail(Fault("fails", on="enqueue"))
    scene.keeping = {"batch": {"spent": 5.01}}

    scene.once()

    # Less what the catalogue says of the one that failed, and was not charged.
    assert "$5.00 so far" in scene.logged


@every_home
def test_where_it_is_not_known_what_was_asked_for_the_next_try_calls_the_function(task_of, home):
    scene = task_of(lambda: "A cube", home, **DEFERRED)
    scene.losing = ("asked", "job")

    tried = scene.once()

    assert tried.state == "up_for_retry"
    assert "what its function returned is lost; the function is not called again in this try" in tried.error
    assert scene.calls == 1
    scene.losing = ()
    assert scene.once().state == "success"
    assert scene.calls == 2
    assert prompts(scene) == ["A cube"]


@shapes
@pytest.mark.parametrize("mode", ["polled", "deferred"])
def test_a_retry_after_lost_answers_pays_once(task_of, shape, mode):
    scene = task_of(lambda: shape("A cube"), mode=mode)
    # The first answer is looked up by the same try, and the request is sent again; the second is left.
    scene.hub.fail(Fault("drop_before", on="enqueue"), Fault("drop_after", on="enqueue"))

    tried = scene.once()

    assert tried.state == "up_for_retry", tried.error
    assert scene.once().state == "success"
    assert scene.calls == 2
    assert prompts(scene) == ["A cube"]


@every_home
def test_a_retry_that_asks_for_the_same_is_not_paid_for_again(task_of, home):
    scene = task_of(lambda: "A cube", home)
    left_waiting(scene)

    tried = scene.once()

    assert tried.state == "success", tried.error
    assert scene.calls == 2
    assert asked_for(scene) == ["A cube"]


def test_a_retry_that_asks_for_something_else_stops_before_it_spends(task_of):
    scene = task_of(another())
    left_waiting(scene)

    tried = scene.once()

    assert tried.state == "failed"
    assert "OxenChangedRequest" in tried.error
    assert scene.calls == 2
    assert asked_for(scene) == ["Cube number 1"]


def test_a_retry_that_asks_for_something_else_may_give_the_old_job_up(task_of):
    scene = task_of(another(), on_changed_request="submit")
    left_waiting(scene)

    tried = scene.once()

    assert tried.state == "success"
    assert asked_for(scene) == ["Cube number 1", "Cube number 2"]


def left_waiting(scene: Any) -> None:
    """Let the first try give up waiting for a job that goes on."""
    scene.slow()
    assert "OxenGenerationTimeout" in scene.once(timeout=0.05).error
    scene.quick()
    scene.arguments["timeout"] = 60


@pytest.mark.parametrize("deferrable", [False, True], ids=["polled", "deferred"])
@pytest.mark.parametrize(
    ("returned", "arguments", "said"),
    [
        (None, {}, "is not a prompt, a mapping that holds one, or a list of them, but nothing (null)"),
        ("A cube", {"model": None}, "cannot be used: model must be the model's id"),
        ({"prompt": "A cube", "seed": "x"}, {}, "What the function returned cannot be used: seed must be"),
        (
            "A cube",
            {"max_in_flight": 4, "on_error": "continue"},
            "one prompt, and max_in_flight, on_error can",
        ),
        (
            {"prompt": "A cube"},
            {"max_failures": 0},
            "returned one prompt, and max_failures can be set for a list",
        ),
        (
            ["A cube"],
            {"cancel_on_kill": True},
            "a list, which is a batch, and cancel_on_kill can be set for one",
        ),
        (["A cube"], {"cancel_on_timeout": False}, "cancel_on_timeout can be set for one image only"),
        (["A cube"], {"storage_path": None}, "needs a storage_path"),
        (["A cube", {"seed": 1}, 7], {}, "line 2"),
        ([], {}, "holds no prompt"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(
    task_of, returned, arguments, said, deferrable
):
    scene = task_of(lambda: returned, **{"deferrable": deferrable, **arguments})

    played = scene.play()

    assert played.state == "failed"
    assert said in played.error
    assert "Not tried again." in played.error
    assert scene.calls == 1
    assert [seen for seen in scene.hub.requests() if seen["method"] == "POST"] == []


def test_a_function_that_skips_is_no_error_of_ours(task_of):
    def skip() -> str:
        raise AirflowSkipException("nothing new")

    scene = task_of(skip)

    with pytest.raises(AirflowSkipException, match="nothing new"):
        scene.attempt()


@pytest.mark.parametrize("returned", ["A cube", ["A cube"]], ids=["one", "many"])
@pytest.mark.parametrize("store", [False, *([True] if STORE else [])])
def test_function_that_failed_at_first_has_sent_nothing(task_of, returned, store):
    """Nobody need look for it, though Airflow discards the store of a task that is cleared."""
    answers: list[Any] = [ValueError("no words"), returned]

    def function() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    scene = task_of(function, use_queue=False, deferrable=False)
    scene.arguments["storage_path"] = f"{scene.out}/"
    scene.store = Store() if store else None
    assert scene.once().error == "ValueError: no words"
    if scene.store:
        scene.store.values.clear()

    again = scene.clear()

    assert again.state == "success", again.error
    assert prompts(scene) == ["A cube"]
    assert [name for name in scene.files if name.endswith(".job.json")] == []


@pytest.mark.parametrize("returned", ["A cube", ["A cube"]], ids=["one", "many"])
def test_waiting_that_broke_is_told_in_words_that_are_true_of_both_kinds(task_of, returned):
    scene = task_of(lambda: returned, **DEFERRED)
    scene.meanwhile = lambda event: Failed("Trigger failure")

    tried = scene.once()

    assert tried.state == "up_for_retry"
    assert "The deferred wait failed: Trigger failure." in tried.error
    assert "What this task waits for continues and may have been paid for." in tried.error
    assert scene.calls == 1
    scene.meanwhile = lambda event: event
    assert scene.once().state == "success"
    assert prompts(scene) == ["A cube"]


@pytest.mark.parametrize("returned", ["A cube", ["A cube"]], ids=["one", "many"])
def test_an_event_of_another_is_refused(task_of, returned):
    scene = task_of(lambda: returned, **DEFERRED)
    scene.meanwhile = lambda event: {**event, "event": "of another"}

    tried = scene.once()

    assert tried.state == "up_for_retry"
    assert "The task was resumed with an unknown event" in tried.error
    assert scene.calls == 1


def test_an_error_of_airflow_that_is_not_of_waiting_passes(task_of, monkeypatch):
    def fail(*arguments: Any) -> None:
        raise AirflowException("of something else")

    monkeypatch.setattr(ImageGenerateOperator, "execute_complete", fail)
    scene = task_of(lambda: "A cube", **DEFERRED)

    assert scene.once().error == "AirflowException: of something else"


def test_kill_before_the_function_was_called_does_nothing(task_of):
    task_of(lambda: "A cube")._fresh().on_kill()


def test_kill_of_one_image_cancels_it_where_the_user_says_so(task_of, monkeypatch):
    scene = task_of(lambda: "A cube", cancel_on_kill=True)
    scene.slow()
    look = WorkerEffects.row

    async def killed(self: WorkerEffects, generation_id: str) -> Any:
        monkeypatch.setattr(WorkerEffects, "row", look)
        row = await look(self, generation_id)
        scene.operator.on_kill()
        return row

    monkeypatch.setattr(WorkerEffects, "row", killed)

    assert "The task was stopped while it waited" in scene.once().error
    assert [job["status"] for job in scene.hub.jobs()] == ["cancelled"]


def test_kill_of_a_batch_lets_its_generations_go_on_and_the_next_try_takes_them(task_of, monkeypatch):
    scene = task_of(lambda: ["A cube", "A ball"])
    scene.slow()
    wait = SharedQueue.wait

    async def killed(self: SharedQueue, *arguments: Any) -> Any:
        scene.operator.on_kill()
        return await wait(self, *arguments)

    monkeypatch.setattr(SharedQueue, "wait", killed)

    tried = scene.once()

    assert tried.state == "up_for_retry"
    assert "was stopped" in tried.error
    monkeypatch.setattr(SharedQueue, "wait", wait)
    scene.quick()
    played = scene.once()
    assert played.state == "success", played.error
    assert sorted(prompts(scene)) == ["A ball", "A cube"]


def test_an_image_that_would_have_no_place_is_refused(task_of):
    scene = task_of(lambda: "A cube", "none", do_xcom_push=False)

    tried = scene.play()

    assert tried.state == "failed"
    assert "There is no place for the image" in tried.error
    assert scene.sent == 0


@shapes
def test_a_task_goes_on_with_the_arguments_that_it_was_asked_with(task_of, shape):
    scene = task_of(lambda: shape("A cube"), **DEFERRED)
    finish = scene.deferring
    changed = {"storage_path": "no path at all", "model": "gpt-image-2", "max_cost": "dear", "timeout": 0.001}
    scene.deferring = lambda: (finish(), scene.arguments.update(changed))

    played = scene.play()

    assert played.state == "success", played.error
    assert prompts(scene) == ["A cube"]
    assert [entry["request"]["model"] for entry in scene.hub.ledger()] == ["z-image-turbo"]
    assert scene.sent == 1


def test_a_deferral_of_an_earlier_version_is_understood(task_of):
    scene = task_of(lambda: "A cube", **DEFERRED)

    def earlier(kwargs: dict[str, Any]) -> dict[str, Any]:
        job = dict(kwargs["job"])
        arguments = job.pop("arguments")
        return {"job": job, "asked": {name: arguments[name] for name in RequestArguments.names()}}

    scene.rewriting = earlier

    played = scene.play()

    assert played.state == "success", played.error
    assert (scene.calls, prompts(scene)) == (1, ["A cube"])


@every_home
@pytest.mark.parametrize(
    "returned",
    [
        f"A cube {KEY}",
        {"prompt": "A cube", "style": KEY},
        {"prompt": "A cube", "seed": [KEY]},
        ["A ball", KEY],
    ],
    ids=["text", "mapping", "wrong", "list"],
)
def test_what_the_function_returns_must_not_hold_the_key(task_of, home, returned):
    scene = task_of(lambda: returned, home=home, storage_path="{out}")
    scene.arguments["storage_path"] = f"{scene.out}/"

    tried = scene.once()

    assert tried.state == "failed"
    assert KEY not in tried.error
    assert scene.sent == 0
    assert KEY not in repr(scene.xcoms)


def test_connection_that_is_not_there_is_named_and_not_looked_for_again(task_of):
    played = task_of(lambda: "A cube", oxen_conn_id="nowhere").play()

    assert played.state == "failed"
    assert "The Airflow connection 'nowhere' is not defined: create it, or set oxen_conn_id" in played.error
    assert type(played.errors[0]).__name__ == "OxenSettingsError"
