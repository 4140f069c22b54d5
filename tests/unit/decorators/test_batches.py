"""A function that returns a list: its task is a batch."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from airflow_provider_oxen.localhub import Fault

DEFERRED = {"mode": "deferred"}
ROWS = ["A cube", {"prompt": "A ball", "id": "ball", "output_format": "webp"}]


def prompts(scene: Any) -> list[str]:
    """Return what was paid for."""
    return sorted(paid["request"]["prompt"] for paid in scene.hub.ledger())


def manifest(scene: Any, result: Any) -> list[dict[str, Any]]:
    with open(result["manifest"]) as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("mode", ["polled", "deferred"])
def test_a_list_is_a_batch_and_the_function_is_called_once(task_of, mode):
    scene = task_of(lambda: ROWS, mode=mode)

    played = scene.play(max_in_flight="2", on_error="continue", max_failures="5%")

    assert played.state == "success", played.error
    assert (played.result["prompts"], played.result["generated"]) == (2, 2)
    assert scene.calls == 1
    assert prompts(scene) == ["A ball", "A cube"]
    lines = manifest(scene, played.result)
    assert [line["prompt"] for line in lines] == ["A cube", "A ball"]
    assert lines[1]["path"].endswith("/ball.webp")


def test_a_list_of_one_is_a_batch_too(task_of):
    played = task_of(lambda: ("A cube",)).play()

    assert played.state == "success", played.error
    assert played.result["prompts"] == 1


def test_a_batch_goes_through_the_queue_and_an_image_by_one_request_unless_told_otherwise(task_of):
    paths = {}
    for returned in ("A cube", ["A ball"]):
        scene = task_of(lambda returned=returned: returned, mode="synchronous", lookup_grace=None)
        assert scene.play().state == "success"
        paths[type(returned)] = [seen["path"] for seen in scene.hub.requests() if seen["method"] == "POST"][
            -1
        ]

    assert paths[str].endswith("/images/generate")
    assert paths[list].endswith("/queue")


def test_a_batch_whose_record_is_gone_fails_and_a_clear_finds_its_generations(task_of):
    scene = task_of(lambda: ROWS, **DEFERRED)

    def lose(event: Any) -> Any:
        [record] = scene.out.rglob(".batch-*.jsonl")
        record.unlink()
        return event

    scene.meanwhile = lose

    tried = scene.once()

    assert tried.state == "failed"
    assert "is not there. 2 generations were submitted before this task was deferred" in tried.error
    assert scene.calls == 1
    scene.meanwhile = lambda event: event
    played = scene.clear()
    assert played.state == "success", played.error
    assert scene.calls == 2
    assert prompts(scene) == ["A ball", "A cube"]


def test_a_batch_whose_record_is_gone_is_begun_anew_by_another_try_as_it_calls_the_function(task_of):
    scene = task_of(lambda: ROWS, **DEFERRED, on_unknown_outcome="resubmit")

    def lose(event: Any) -> Any:
        next(scene.out.rglob(".batch-*.jsonl")).unlink()
        return event

    scene.meanwhile = lose

    tried = scene.once()

    assert tried.state == "up_for_retry"
    assert "The record of the batch is gone from its folder" in tried.error
    assert scene.calls == 1


def test_a_retry_of_a_batch_calls_the_function_and_pays_for_what_is_new_only(task_of):
    numbers = itertools.count(1)
    scene = task_of(lambda: ["A cube", f"Ball number {next(numbers)}"])
    scene.slow()
    tried = scene.once(timeout=0.05)
    assert tried.state == "up_for_retry"
    scene.quick()

    played = scene.once(timeout=60)

    assert played.state == "success", played.error
    assert scene.calls == 2
    asked = sorted(job["request"]["prompt"] for job in scene.hub.jobs())
    assert asked == ["A cube", "Ball number 1", "Ball number 2"]


@pytest.mark.parametrize(("latency", "said"), [(600, "OxenChangedRequest"), (0, "OxenOutputExists")])
def test_a_retry_whose_id_asks_for_something_else_stops_before_it_spends(task_of, latency, said):
    numbers = itertools.count(1)
    failing = {"prompt": "A cube that fails", "id": "fails"}
    scene = task_of(lambda: [{"prompt": f"Ball number {next(numbers)}", "id": "ball"}, failing])
    scene.hub.settings.latency = latency
    # One is kept or on its way, and the other sees to it that there is another try.
    scene.hub.fail(Fault("fails", on="enqueue", prompt=failing["prompt"]))
    assert scene.once(timeout=0.3, max_in_flight=1).state == "up_for_retry"
    jobs = len(scene.hub.jobs())

    tried = scene.once(timeout=60)

    assert tried.state == "failed"
    assert said in tried.error
    assert len(scene.hub.jobs()) == jobs
