"""Many prompts in one task: what is asked, what comes of it, and what another run makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.batch.rowstore import identity_of
from airflow_provider_oxen.hooks import triggerer
from airflow_provider_oxen.hooks.triggerer import Triggerer
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.jobs.filestore import file_name
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.runtime import LoopRuntime
from airflow_provider_oxen.waiting.polling import Poll

from .batch_scene import PROMPTS, Batch, all_kept
from .scene import all_modes, by_call, by_queue


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    return cast_batch()


@all_modes
def test_every_prompt_is_paid_for_once_and_kept(batch, mode):
    played = batch.play()

    assert all_kept(batch, played)
    assert played.errors == []
    assert played.result["generated"] == 6
    assert len(batch.deferred) == (1 if mode == "deferred" else 0)
    assert [line["line"] for line in batch.manifest] == [1, 2, 3, 4, 5, 6]
    assert len({line["seed"] for line in batch.manifest}) == 6
    assert all("generation_id" in line for line in batch.manifest) is (mode != "synchronous")
    assert played.result["cost"] == (0 if mode == "synchronous" else 0.06)


@pytest.mark.parametrize("mode", ["deferred"])
@pytest.mark.parametrize("runs", [True, False])
def test_batch_says_that_no_triggerer_runs(batch, monkeypatch, runs):
    monkeypatch.setattr(triggerer, "find_triggerer", lambda ti: Triggerer(runs))

    assert all_kept(batch, batch.play())

    assert ("No triggerer is running" in batch.logged) is not runs


@by_call
def test_row_goes_to_a_thread_three_times_and_no_more(batch, monkeypatch):
    """For its intent, for the answer, and for image, sidecar and record together."""
    hops: list[str] = []
    blocking = LoopRuntime.blocking

    async def counted(runtime: LoopRuntime, work: Callable[[], Any]) -> Any:
        hops.append(work.__qualname__)
        return await blocking(runtime, work)

    monkeypatch.setattr(LoopRuntime, "blocking", counted)
    monkeypatch.setattr(Running, "is_known", lambda running, lasting=0.0: True)
    monkeypatch.setattr("airflow_provider_oxen.tasks.runtime._QUICK", 60.0)

    assert all_kept(batch, batch.play())
    assert len(hops) == 3 * len(PROMPTS), hops
    assert batch.left == []


@all_modes
def test_result_has_the_same_shape_for_one_prompt(batch):
    one = batch.play(prompts=PROMPTS[:1]).result
    many = batch.play(prompts=PROMPTS).result

    assert one.keys() == many.keys()
    assert (one["prompts"], many["prompts"]) == (1, 6)
    assert one["manifest"] == str(batch.out / "manifest.jsonl")
    assert Path(one["summary"]).is_file()
    assert "A red cube, number 1" in Path(one["index"]).read_text()


@all_modes
def test_second_run_over_a_longer_and_reordered_list_asks_for_what_is_missing(batch):
    batch.play()
    longer = [*reversed(PROMPTS), "A blue ball"]

    played = batch.next_run(prompts=longer)

    assert all_kept(batch, played, longer)
    assert (played.result["reused"], played.result["generated"]) == (6, 1)


@all_modes
def test_rerun_asks_nothing_of_the_hub(batch):
    batch.play()
    before = len(batch.hub.requests())

    played = batch.next_run()

    assert all_kept(batch, played)
    assert len(batch.hub.requests()) == before


def test_rows_with_one_request_are_told_apart_by_how_often_it_came(batch):
    twice = ["A red cube", "A blue ball", "A red cube"]

    assert batch.play(prompts=twice).state == "success"
    assert batch.asked == {"A red cube": 2, "A blue ball": 1}
    played = batch.next_run(prompts=[*twice, "A red cube"])

    assert batch.asked == {"A red cube": 3, "A blue ball": 1}
    assert played.result["reused"] == 3
    assert len({line["path"] for line in batch.manifest}) == 4


def test_row_has_fields_of_its_own(batch):
    rows = [
        {"prompt": "A red cube", "id": "cube", "seed": 7},
        {"prompt": "A blue ball", "id": "ball", "num_inference_steps": "4", "output_format": "png"},
    ]

    played = batch.play(prompts=rows, num_inference_steps=8)

    assert played.state == "success"
    by_prompt = {entry["request"]["prompt"]: entry["request"] for entry in batch.hub.ledger()}
    assert (by_prompt["A red cube"]["seed"], by_prompt["A red cube"]["num_inference_steps"]) == (7, 8)
    assert by_prompt["A blue ball"]["num_inference_steps"] == 4
    assert [Path(line["path"]).name for line in batch.manifest] == ["cube.webp", "ball.png"]
    assert [line["id"] for line in batch.manifest] == ["cube", "ball"]


def test_file_of_prompts_is_read(batch, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))

    assert all_kept(batch, batch.play(prompts=str(path)))


@all_modes
def test_overwrite_generates_anew_once_a_clearing(batch, monkeypatch):
    batch.play()
    lost_after_all(batch)

    played = batch.next_run(overwrite=True)

    assert played.state == "success"
    assert set(batch.asked.values()) == {2}
    assert batch.clear().state == "success"
    assert set(batch.asked.values()) == {3}


def lost_after_all(batch: Batch) -> None:
    """Let the next result be lost after all was kept."""
    attempt: Callable[[], Any] = batch.attempt

    def lost() -> Any:
        attempt()
        batch.__dict__.pop("attempt")
        raise RuntimeError("the XCom backend is away")

    batch.__dict__["attempt"] = lost


# What stands against rows is told before anything is spent, all at once.


def refused(batch: Batch, **arguments: Any) -> str:
    before = batch.files
    played = batch.play(**arguments)
    assert played.state == "failed"
    assert "Not tried again." in played.error
    assert batch.posts() == 0
    assert batch.files == before
    return played.error


def test_all_rows_that_will_not_do_are_told_with_their_lines(batch):
    rows = [
        "A red cube",
        "",
        {"id": "x"},
        7,
        {"prompt": "A ball", "id": "a/b"},
        {"prompt": "A ball", "seed": "x"},
    ]

    message = refused(batch, prompts=rows)

    assert "5 of 6 rows of the list cannot be used." in message
    for line in (2, 3, 4, 5, 6):
        assert f"line {line}: " in message


def test_two_rows_with_one_id_are_refused(batch):
    message = refused(batch, prompts=[{"prompt": "A", "id": "x"}, "B", {"prompt": "C", "id": "x"}])

    assert "line 3: line 1 has the id 'x' already" in message


def test_parameters_are_held_against_the_model_of_each_row(batch):
    rows = [
        "A red cube",
        {"prompt": "A ball", "num_inference_steps": 5000},
        {"prompt": "A", "output_format": "bmp"},
    ]

    message = refused(batch, prompts=rows)

    assert "line 2: num_inference_steps: must be at most" in message
    assert "line 3: output_format: must be one of" in message


def test_model_that_the_hub_does_not_know_is_refused(batch):
    assert "Did you mean 'z-image-turbo' or" in refused(batch, model="z-image-turbo2")


def test_row_without_a_model_is_refused(batch):
    message = refused(batch, model=None, prompts=["A", {"prompt": "B", "model": "z-image-turbo"}])

    assert "1 of 2 rows" in message
    assert "line 1: model must be" in message


def test_empty_list_is_refused(batch):
    assert "holds no prompt" in refused(batch, prompts=[])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"storage_path": None}, "A batch needs a storage_path"),
        ({"storage_path": "images/"}, "must be an absolute path"),
        ({"max_in_flight": 0}, "max_in_flight must be an integer of at least 1"),
        ({"max_in_flight": 1000}, "max_in_flight must be at most 512"),
        ({"on_error": "ignore"}, "on_error must be one of fail, continue"),
        ({"max_failures": 3}, "max_failures is for on_error='continue'"),
        ({"on_error": "continue", "max_failures": 1.5}, "max_failures must be a count"),
        ({"on_error": "continue", "max_failures": "many"}, "max_failures must be a count"),
        ({"on_error": "continue", "max_failures": "120%"}, "max_failures must be a count"),
        ({"on_error": "continue", "max_failures": True}, "max_failures must be a count"),
        ({"requests_per_minute": 0}, "requests_per_minute must be a number above 0"),
        ({"max_cost": "much"}, "max_cost must be a number above 0"),
        ({"prompts": "A red cube"}, "Put a single prompt into a list"),
        ({"use_queue": False, "deferrable": True}, "deferrable=True needs the queue"),
    ],
)
def test_argument_that_makes_no_sense_is_refused(batch, arguments, told):
    assert told in refused(batch, **arguments)


@by_queue
def test_unfinished_job_of_another_request_is_not_given_up_unasked(batch, monkeypatch):
    batch.retries = batch.max_tries = 0
    monkeypatch.setattr(Poll, "seen", lambda self, row, now: End("unreachable", "no answer"))
    batch.play(prompts=[{"prompt": "A red cube", "id": "hero"}, "A ball"], on_error="continue")
    sent = batch.posts()

    played = batch.clear(prompts=[{"prompt": "A blue cube", "id": "hero"}, "A ball"])

    assert "line 1: This task already has a request" in played.error
    assert "its request changed since" in played.error
    assert batch.posts() == sent


def test_place_that_holds_another_request_is_refused_and_not_touched(batch):
    batch.play(prompts=[{"prompt": "A red cube", "id": "hero"}, {"prompt": "A ball", "id": "ball"}])
    before = {path: path.read_bytes() for path in batch.out.iterdir()}
    sent = batch.posts()

    played = batch.next_run(prompts=["A new one", {"prompt": "A blue cube", "id": "hero"}])

    assert played.state == "failed"
    assert "1 of 2 rows of the list cannot be used" in played.error
    assert "line 2: " in played.error
    assert "describes the image of another request" in played.error
    assert batch.posts() == sent
    assert {path: path.read_bytes() for path in batch.out.iterdir()} == before


def lose_image(batch: Batch) -> None:
    (batch.out / json.loads((batch.out / "hero.json").read_text())["file"]).unlink()


def put_folder(batch: Batch) -> None:
    (batch.out / "hero.json").unlink()
    (batch.out / "hero.json").mkdir()


def change_bytes(batch: Batch) -> None:
    path = batch.out / json.loads((batch.out / "hero.json").read_text())["file"]
    path.write_bytes(bytes(reversed(path.read_bytes())))


def odd_record(batch: Batch) -> None:
    for path in batch.out.glob("hero.*"):
        path.unlink()
    (batch.out / file_name("hero", identity_of("hero"))).write_text("[]")


DAMAGES = {
    "image gone": (lose_image, "is gone"),
    "a folder": (put_folder, "is not a sidecar"),
    "other bytes": (change_bytes, "has other bytes"),
    "odd record": (odd_record, "cannot be used"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=list(DAMAGES))
def test_damage_of_one_row_is_that_rows_error_where_the_others_go_on(batch, damage, told):
    first = [{"prompt": "A red cube", "id": "hero"}]
    batch.play(prompts=first)
    damage(batch)
    sent = batch.posts()
    rows = [*first, "A ball", "A cone"]

    stopped = batch.next_run(prompts=rows)

    assert "1 of 3 rows of the list cannot be used" in stopped.error
    assert "line 1: " in stopped.error
    assert batch.posts() == sent

    played = batch.next_run(prompts=rows, on_error="continue")

    assert played.state == "success"
    assert batch.posts() == sent + 2
    assert [line["status"] == "generated" for line in batch.manifest] == [False, True, True]
    assert batch.manifest[0]["error"]

    few = batch.next_run(prompts=[*rows, "One more"], on_error="continue", max_failures="1%")

    assert "1 of 4 rows of the list cannot be used" in few.error
    assert batch.posts() == sent + 2


def test_what_nobody_foresaw_of_one_row_is_that_rows_error(batch, monkeypatch):
    look = RowWorker.look

    def odd(self: RowWorker, job: Any) -> Any:
        if job.stem == "hero":
            raise TypeError("unhashable type: 'list'")
        return look(self, job)

    batch.play(prompts=[{"prompt": "A red cube", "id": "hero"}])
    monkeypatch.setattr(RowWorker, "look", odd)

    played = batch.next_run(prompts=[{"prompt": "A red cube", "id": "hero"}, "A ball"], on_error="continue")

    assert played.state == "success"
    assert "cannot be read: TypeError: unhashable type" in batch.manifest[0]["error"]


def test_folder_of_another_batch_is_refused_and_not_touched(batch):
    batch.play()
    before = {path: path.read_bytes() for path in batch.out.iterdir()}

    played = batch.next_run(prompts=["Something else"])

    assert played.state == "failed"
    assert "is the manifest of another batch: it names none of these 1 prompts" in played.error
    assert {path: path.read_bytes() for path in batch.out.iterdir()} == before
    assert batch.next_run(overwrite=True).state == "success"


@pytest.mark.parametrize("name", ["manifest.jsonl", "summary.json", "index.html"])
def test_file_that_is_somebody_elses_is_not_written_over(batch, name):
    batch.out.mkdir()
    (batch.out / name).write_text("mine\n")

    assert "is there already, and this package did not write it" in refused(batch)
    assert (batch.out / name).read_text() == "mine\n"


def test_folder_in_the_manifests_place_is_somebody_elses(batch):
    (batch.out / "manifest.jsonl").mkdir(parents=True)

    assert "is there already, and this package did not write it" in refused(batch)


def test_image_without_a_sidecar_is_somebody_elses(batch):
    batch.out.mkdir()
    (batch.out / "hero.png").write_bytes(b"mine")

    message = refused(batch, prompts=["A", {"prompt": "A red cube", "id": "hero"}])

    assert "line 2: " in message
    assert "without the sidecar" in message


# What it may cost.


@all_modes
def test_batch_that_would_cost_too_much_is_refused_before_anything_is_sent(batch):
    message = refused(batch, max_cost=0.05)

    assert "6 prompts would cost $0.06 by the catalogue, and max_cost is $0.05" in message
    assert all_kept(batch, batch.clear(max_cost=0.06))


def test_what_is_kept_already_costs_nothing(batch):
    batch.play(prompts=PROMPTS[:5])

    played = batch.next_run(prompts=PROMPTS, max_cost=0.01)

    assert played.state == "success", played.error


def test_what_earlier_tries_have_spent_counts(batch):
    batch.hub.fail(Fault("fails", on="enqueue", prompt="number 6", times=None))

    played = batch.play(max_cost=0.06, max_in_flight=1)

    assert "1 of 6 prompts gave no image" in str(played.errors[0])
    assert (
        "1 prompts would cost $0.01 by the catalogue beside the $0.06 that this task has spent"
        in played.error
    )
    assert batch.posts() == 6


def test_model_without_a_price_is_refused_unless_that_is_allowed(batch):
    rows = ["A", {"prompt": "B", "model": "local-user-product-shots"}]
    batch.hub.settings.catalogue[-1].setdefault("deployments", [])

    message = refused(batch, prompts=rows, max_cost=5)

    assert "the catalogue has no price for local-user-product-shots (1 prompts)" in message
    assert batch.clear(prompts=rows, max_cost=5, allow_unknown_price=True).state == "success"


def test_running_total_stops_the_batch(batch):
    batch.retries = batch.max_tries = 0
    # Twice what the catalogue says.
    batch.hub.rewrite_answers(
        lambda route, body: (
            {"generation": {**body["generation"], "cost": "0.02"}} if route == "record" else body
        )
    )

    played = batch.play(max_cost=0.06, max_in_flight=1)

    assert played.state == "failed"
    assert (
        "The batch has cost $0.06 so far, the next image costs $0.01, and max_cost is $0.06" in played.error
    )
    assert "Nothing more was sent: max_cost is reached" in played.error
    assert len(batch.hub.ledger()) == 3
    assert batch.next_run().state == "success"
    assert set(batch.asked.values()) == {1}


# Prompts that give no image.


@by_queue
def test_first_failure_stops_the_batch(batch):
    batch.retries = batch.max_tries = 0
    batch.hub.fail(Fault("status", on="enqueue", status=422, prompt="number 1", times=None))

    played = batch.play(max_in_flight=1)

    assert played.state == "failed"
    assert batch.posts() == 1
    assert "6 of 6 prompts gave no image (1 failed, 5 not sent)" in played.error
    assert "a prompt gave no image (on_error='continue' would send the rest)" in played.error
    assert "line 1 (a-red-cube-number-1-" in played.error
    assert batch.summary["not_sent"] == 5
    assert [line["status"] for line in batch.manifest] == ["failed"] * 6
    assert "Not sent: " in batch.manifest[5]["error"]


@all_modes
def test_batch_goes_on_where_it_is_told_to(batch, mode):
    on: Any = "generate" if mode == "synchronous" else "enqueue"
    batch.hub.fail(Fault("status", on=on, status=422, prompt="number 2", times=None))

    played = batch.play(on_error="continue")

    assert played.state == "success"
    assert (played.result["generated"], played.result["failed"]) == (5, 1)
    [failure] = played.result["failures"]
    assert failure["line"] == 2
    assert "OxenInvalidRequest" not in failure["error"]
    assert [line["status"] for line in batch.manifest].count("generated") == 5


@pytest.mark.parametrize("most", [1, "1", 0.2, "20%"])
def test_too_many_failures_stop_the_batch_that_goes_on(batch, most):
    batch.retries = batch.max_tries = 0
    batch.hub.fail(Fault("status", on="enqueue", status=422, times=None))

    played = batch.play(on_error="continue", max_failures=most, max_in_flight=1)

    assert played.state == "failed"
    assert batch.posts() == 2
    assert "more than max_failures (1) prompts gave no image" in played.error


def test_batch_of_which_nothing_came_has_failed(batch):
    batch.hub.fail(Fault("status", on="enqueue", status=422, times=None))

    played = batch.play(on_error="continue")

    assert played.state == "failed"
    assert batch.posts() == 6


@by_call
def test_base64_text_is_kept_too(batch):
    assert all_kept(batch, batch.play(response_format="b64_json"))


def test_first_rows_get_larger_previews_and_the_last_none(batch, monkeypatch):
    monkeypatch.setattr("airflow_provider_oxen.batch.setup.LARGE_PREVIEWS", 2)
    monkeypatch.setattr("airflow_provider_oxen.batch.setup.PREVIEWS", 4)
    assert batch.play().state == "success"

    sidecars = [json.loads(Path(line["path"]).with_suffix(".json").read_text()) for line in batch.manifest]
    kinds = [told.get("preview", "").partition(";")[0] for told in sidecars]
    assert kinds == ["data:image/webp"] * 2 + ["data:image/jpeg"] * 2 + [""] * 2
