"""A batch whose store, hub, or own code lets it down: what is told, and what is left for the next try."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.errors import OxenStorageError, OxenStoreUnavailable
from airflow_provider_oxen.batch import engine, shared
from airflow_provider_oxen.batch.engine import Engine, RowLoop
from airflow_provider_oxen.batch.limits import Gate
from airflow_provider_oxen.batch.plan import Plan
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.images.known import KnownFolder
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.waiting.polling import Poll

from .batch_scene import PROMPTS, Batch, Life, all_kept
from .scene import SMALL, Failed, Struck, all_modes, by_call, by_queue

by_deferral = pytest.mark.parametrize("mode", ["deferred"])
SECRET_LINK = "https://store.example/manifest.jsonl?X-Signature=abc"


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    made = cast_batch()
    made.retries = made.max_tries = 0
    return made


def fails(
    monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException, part: str, times: int = 1
) -> list[str]:
    """Let the store fail with what has this part in its name, so often; return what it was asked for."""
    real = getattr(LocalFolder, method)
    seen: list[str] = []

    def failing(self: Any, name: str, *arguments: Any, **more: Any) -> Any:
        if part in name:
            seen.append(name)
            if len(seen) <= times:
                raise error
        return real(self, name, *arguments, **more)

    monkeypatch.setattr(LocalFolder, method, failing)
    return seen


@all_modes
@pytest.mark.parametrize("name", ["manifest.jsonl", "index.html", "summary.json"])
def test_store_that_does_not_take_what_is_told_costs_a_try_and_no_image(batch, monkeypatch, name):
    # The first time is before anything is sent.
    fails(monkeypatch, "put", OSError(f"no space for {SECRET_LINK}"), name, times=1)

    first = batch.play()

    assert isinstance(first.errors[0], OxenStoreUnavailable)
    assert f"{batch.out.as_uri()}/manifest.jsonl" in first.error
    assert "X-Signature" not in first.error
    assert batch.posts() == 0
    assert all_kept(batch, batch.clear())


@by_queue
def test_what_is_told_at_the_end_may_fail_too(batch, monkeypatch):
    times = 1 if batch.mode == "polled" else 2
    real = LocalFolder.put
    seen: list[str] = []

    def failing(self: Any, name: str, *arguments: Any, **more: Any) -> None:
        seen.append(name)
        if name == "summary.json" and seen.count(name) == times + 1:
            raise OSError("no space")
        real(self, name, *arguments, **more)

    monkeypatch.setattr(LocalFolder, "put", failing)

    played = batch.play()

    assert "cannot be written" in played.error
    assert "The next try pays for none of them again" in played.error
    assert all_kept(batch, batch.clear())


@by_deferral
def test_deferral_that_cannot_be_written_down_is_made_by_the_next_try(batch, monkeypatch):
    fails(monkeypatch, "put", OSError("no space"), ".batch-")

    played = batch.play()

    assert isinstance(played.errors[0], OxenStorageError)
    assert "The record of the batch" in played.error
    assert "The next try continues with them" in played.error
    assert batch.posts() == 6
    assert all_kept(batch, batch.clear())


@by_deferral
def test_record_that_cannot_be_read_is_read_by_the_next_try(batch, monkeypatch):
    def break_store(event: Any) -> Any:
        fails(monkeypatch, "open", OSError(f"{SECRET_LINK} timed out"), ".batch-")
        return event

    batch.meanwhile = break_store

    played = batch.play()

    assert isinstance(played.errors[0], OxenStoreUnavailable)
    assert "X-Signature" not in played.error
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@by_deferral
def test_record_of_another_task_is_refused(batch):
    def change(event: Any) -> Any:
        path = next(batch.out.glob(".batch-*"))
        header, *rows = path.read_text().splitlines()
        other = json.dumps({**json.loads(header), "identity": "0" * 64})
        path.write_text("\n".join([other, *rows]))
        return event

    batch.meanwhile = change

    assert "is damaged (it is not the file that was written: its sha256 is another)" in batch.play().error


@by_deferral
def test_record_that_cannot_be_removed_stays_and_does_no_harm(batch, monkeypatch):
    fails(monkeypatch, "remove", OSError("read only"), ".batch-")

    played = batch.play()

    assert played.state == "success"
    assert len(batch.left) == 1
    assert "read only" in batch.logged


@by_deferral
def test_trigger_that_broke_is_told_in_our_words_and_others_in_theirs(batch, monkeypatch):
    batch.meanwhile = lambda event: Failed("Trigger failure")

    played = batch.play()

    assert "The deferred wait failed: Trigger failure" in played.error
    assert "may have been paid for" in played.error
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@by_deferral
def test_folder_that_is_not_read_as_it_was_when_the_task_comes_back(batch, monkeypatch):
    """An error of the resumed process keeps its type and its words."""

    def break_folder(event: Any) -> Any:
        monkeypatch.setattr(LocalFolder, "check", lambda self: (_ for _ in ()).throw(OSError("gone")))
        return event

    batch.meanwhile = break_folder

    played = batch.play()

    assert "gone" in played.error
    assert "deferred wait failed" not in played.error


@all_modes
def test_error_that_nobody_foresaw_stops_the_batch_and_keeps_what_it_has(batch, monkeypatch):
    real = RowWorker._begin
    begun: list[Any] = []

    def begin(self: Any, *arguments: Any) -> Any:
        begun.append(1)
        if len(begun) == 2:
            raise ZeroDivisionError("of ours")
        return real(self, *arguments)

    monkeypatch.setattr(RowWorker, "_begin", begin)

    played = batch.play(max_in_flight=1, on_error="continue")

    # The process that comes back from the triggerer has read of it in the record.
    assert isinstance(played.errors[0], ZeroDivisionError) or batch.deferred
    assert "ZeroDivisionError" in played.error
    assert "an unexpected error (ZeroDivisionError)" in batch.logged
    [failed] = [line for line in batch.manifest if line["line"] == 2]
    assert (failed["status"], failed["error"]) == ("unknown", "ZeroDivisionError: of ours")
    assert len(begun) == 2 + len(batch.deferred)
    monkeypatch.setattr(RowWorker, "_begin", real)
    assert all_kept(batch, batch.clear())


@by_call
def test_time_that_is_over_tells_what_is_known_by_then(batch, monkeypatch):
    """Airflow's ``execution_timeout`` strikes anywhere."""
    real = Progress.tick

    def tick(self: Any) -> None:
        real(self)
        if self.tally.ended == 2:
            raise Struck("AirflowTaskTimeout")

    monkeypatch.setattr(Progress, "tick", tick)

    played = batch.play(max_in_flight=1)

    assert isinstance(played.errors[0], Struck)
    assert [line["status"] for line in batch.manifest][:2] == ["generated"] * 2
    assert batch.summary["finished"] is False
    monkeypatch.setattr(Progress, "tick", real)
    assert all_kept(batch, batch.clear())


@by_queue
def test_place_that_was_taken_while_the_hub_worked_is_not_written_over(batch, monkeypatch):
    """A job is under way, and somebody puts a file where its image belongs: the image goes beside it."""
    batch.slow()
    batch.play(prompts=[{"prompt": "A red cube", "id": "cube"}], timeout=0.2)
    batch.quick()
    (batch.out / "cube.png").write_bytes(b"somebody's")

    played = batch.clear(timeout=60)

    assert played.state == "success", played.error
    assert (batch.out / "cube.png").read_bytes() == b"somebody's"
    assert len(batch.asked) == sum(batch.asked.values()) == 1
    assert batch.manifest[0]["path"] != str(batch.out / "cube.png")
    assert batch.manifest[0]["status"] == "generated"


@by_queue
def test_two_rows_that_take_one_generation_for_theirs_do_not_share_it(batch, monkeypatch):
    """Both saw it in the hub's list before one of them had it: the other's outcome stays unknown."""
    monkeypatch.setattr(shared.SharedQueue, "is_anothers", lambda self, row, stem: False)
    batch.hub.fail(Fault("drop_after", on="enqueue", after=1))

    played = batch.play(
        prompts=["A red cube"] * 2,
        model="gpt-image-2",
        on_unknown_outcome="adopt",
        on_error="continue",
        max_in_flight=1,
    )

    assert sum(batch.asked.values()) == 2
    assert [line["status"] for line in batch.manifest].count("generated") == len(
        {line["generation_id"] for line in batch.manifest if "generation_id" in line}
    )
    assert played.state == "success"


def test_models_that_cannot_be_asked_for_are_no_matter_where_they_are_not_to_be(batch):
    batch.hub.fail(Fault("status", on="model", status=500, times=None))

    assert all_kept(batch, batch.play(validate="off"))


def test_price_that_the_hub_does_not_tell_is_no_matter_where_nobody_asked_for_it(batch):
    # The first request is for the model itself.
    batch.hub.fail(Fault("status", on="model", status=500, after=1, times=None))

    assert all_kept(batch, batch.play())


def test_price_that_the_hub_does_not_tell_is_an_error_where_there_is_a_limit(batch):
    batch.hub.fail(Fault("status", on="model", status=500, after=1, times=None))

    assert "500" in batch.play(max_cost=5).error
    assert batch.posts() == 0


# Others at work in the same folder.


@all_modes
def test_run_that_finishes_rows_after_the_folder_was_listed_is_not_paid_for_again(cast_batch, monkeypatch):
    other, batch = cast_batch(), cast_batch()
    batch.run_id = "run 2"
    real = Engine.run
    begun: list[Any] = []

    def run(self: Any, *rows: Any) -> None:
        if not begun:
            begun.append(1)
            # The other run, from its first look to its last image.
            assert other.once(prompts=PROMPTS[:4]).state == "success"
        real(self, *rows)

    monkeypatch.setattr(Engine, "run", run)

    played = batch.play()

    assert all_kept(batch, played)
    assert (played.result["reused"], played.result["generated"]) == (4, 2)


@by_queue
def test_record_of_a_row_that_nobody_can_look_behind_is_not_sent(batch, monkeypatch):
    """The look for a sidecar that came meanwhile fails: nothing goes out, and the next try does it."""
    real = LocalFolder.size
    failed: list[Any] = []

    def size(self: Any, name: str) -> Any:
        if name.endswith(".json") and not failed:
            failed.append(name)
            raise OSError("no answer")
        return real(self, name)

    monkeypatch.setattr(LocalFolder, "size", size)

    played = batch.play(max_in_flight=1)

    assert "does not answer, or takes no files now: OSError: no answer." in played.error
    assert {record["phase"] for record in batch.records} == {"not_sent"}
    assert batch.posts() == 0
    assert all_kept(batch, batch.clear())


@by_call
@pytest.mark.parametrize("turned", [False, True])
def test_second_image_of_a_row_takes_no_other_rows_place(batch, monkeypatch, turned):
    """A hub that answers two images to each request, and ids that such a second one could have."""
    real = calls.generate

    def generate(request: Any) -> Any:
        call = real(request)

        def twice(data: Any) -> Any:
            answer = call.parse(data)
            return answer.model_copy(update={"images": answer.images * 2})

        return dataclasses.replace(call, parse=twice)

    monkeypatch.setattr(calls, "generate", generate)
    rows = [{"prompt": "A", "id": "cube"}, {"prompt": "B", "id": "cube-2"}, {"prompt": "C", "id": "cube_2"}]
    rows = rows[::-1] if turned else rows

    assert batch.play(prompts=rows, max_in_flight=1).state == "success"
    images = [image for line in batch.manifest for image in line["images"]]
    assert len({image["path"] for image in images}) == 6
    for image in images:
        assert hashlib.sha256(Path(image["path"]).read_bytes()).hexdigest() == image["sha256"]
    assert batch.next_run(prompts=rows).result["reused"] == 3


# The manifest, and what was paid.


@by_deferral
def test_request_under_way_when_the_task_was_told_to_stop_is_looked_for_after_the_deferral(
    batch, monkeypatch
):
    monkeypatch.setattr(engine, "GRACE", 0.3)
    real = AsyncClient._attempt
    answered = []

    async def attempt(self: Any, call: Any, *arguments: Any) -> Any:
        answer = await real(self, call, *arguments)
        if call.paid:
            answered.append(1)
            if len(answered) == 2:
                # SIGTERM, while the second answer is on its way; it does not come any more.
                batch.operator.on_kill()
                await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(AsyncClient, "_attempt", attempt)

    first = batch.once(max_in_flight=2)

    assert first.state == "failed"
    paid = {job["request"]["prompt"] for job in batch.hub.jobs()}
    told = {line["prompt"]: line for line in batch.manifest}
    # The flag is looked at a few times a second: more may have gone out by then.
    assert len(paid) >= 2
    for prompt in paid:
        assert told[prompt]["status"] in ("generated", "unknown")
    assert all_kept(batch, batch.clear())


def test_task_that_is_told_to_stop_before_it_has_begun_sends_nothing(batch, monkeypatch):
    real = Plan.check

    def check(self: Any, *arguments: Any, **more: Any) -> None:
        batch.operator.on_kill()
        real(self, *arguments, **more)

    monkeypatch.setattr(Plan, "check", check)

    played = batch.play()

    assert "(6 not sent)" in played.error
    assert batch.posts() == 0
    monkeypatch.setattr(Plan, "check", real)
    assert all_kept(batch, batch.clear())


@by_queue
def test_row_whose_paid_job_cannot_be_looked_up_is_unknown(batch, monkeypatch):
    batch.slow()
    batch.once(prompts=PROMPTS[:3], timeout=0.05)
    batch.quick()
    real = LocalFolder.read
    seen = []

    def read(self: Any, name: str) -> Any:
        if name.endswith(".job.json"):
            seen.append(name)
            # The first look is for the plan.
            if seen.count(name) > 1:
                raise OSError(5, "I/O error")
        return real(self, name)

    monkeypatch.setattr(LocalFolder, "read", read)

    batch.once(timeout=60)

    assert {line["status"] for line in batch.manifest} == {"unknown"}
    monkeypatch.setattr(LocalFolder, "read", real)
    assert all_kept(batch, batch.clear(timeout=60), PROMPTS[:3])


# What another try is for.


def test_what_was_not_sent_is_tried_again_whatever_else_failed_for_good(batch):
    batch.hub.fail(Fault("status", on="enqueue", prompt="number 2", status=422))
    batch.hub.fail(
        Fault("status", on="enqueue", prompt="number 3", status=429, headers={"Retry-After": "3600"})
    )
    batch.retries = batch.max_tries = 1

    played = batch.once(max_in_flight=1, on_error="continue")

    assert played.state == "up_for_retry"
    assert "4 not sent" in played.error
    told = {line["line"]: line.get("not_sent") for line in batch.manifest}
    assert told == {1: None, 2: None, **dict.fromkeys(range(3, 7), True)}


def test_message_of_the_hub_that_was_cut_inside_a_character_is_told(batch):
    batch.hub.fail(Fault("fails", on="enqueue", prompt="number 2", message="No \ud83d"))

    played = batch.play(on_error="continue")

    assert played.state == "success"
    [failed] = [line for line in batch.manifest if line["status"] == "failed"]
    assert "No ?" in failed["error"]


def defers_without_arguments(batch: Batch) -> None:
    """Let the task defer as earlier versions did: they kept no arguments."""
    resume = batch._resume

    def old(deferral: Any) -> Any:
        kept = deferral.kwargs["batch"]
        deferral.kwargs = {"batch": {name: value for name, value in kept.items() if name != "arguments"}}
        return resume(deferral)

    batch.__dict__["_resume"] = old


@by_deferral
def test_batch_goes_on_in_the_folder_that_it_was_begun_in(batch, tmp_path):
    defers_without_arguments(batch)

    def move(event: Any) -> Any:
        batch.arguments["storage_path"] = str(tmp_path / "elsewhere")
        return event

    batch.meanwhile = move

    assert all_kept(batch, batch.play())
    assert not (tmp_path / "elsewhere").exists()
    assert "storage_path changed while this task waited" in batch.logged


@by_deferral
def test_batch_goes_on_without_its_prompts(batch):
    def lose(event: Any) -> Any:
        batch.arguments["prompts"] = None
        return event

    batch.meanwhile = lose

    assert all_kept(batch, batch.play())


@by_deferral
def test_argument_that_went_wrong_meanwhile_is_told_with_what_was_waited_for(batch):
    defers_without_arguments(batch)

    def spoil(event: Any) -> Any:
        batch.arguments["max_in_flight"] = "many"
        return event

    batch.meanwhile = spoil

    assert "What this batch has waited for may have been paid for." in batch.play().error
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear(max_in_flight=3))


@pytest.mark.parametrize("retries", [0, 2])
def test_what_is_paid_for_is_fetched_by_another_try_where_there_is_one(batch, monkeypatch, retries):
    batch.retries = batch.max_tries = retries
    real = Poll.seen
    lost: list[Any] = []

    def seen(self: Any, row: Any, now: float) -> Any:
        if row.prompt == PROMPTS[1] and not lost:
            lost.append(1)
            return End("unreachable", "no answer")
        return real(self, row, now)

    monkeypatch.setattr(Poll, "seen", seen)

    played = batch.play(on_error="continue")

    assert played.state == "success"
    if retries:
        assert "1 may still come without paying again" in str(played.errors[0])
        assert all_kept(batch, played)
    else:
        assert played.result["unknown"] == 1
        assert "1 may still come without paying again" in batch.logged
        assert "resubmit" not in str(batch.logged)
        assert all_kept(batch, batch.clear())


def test_generation_of_a_row_that_is_kept_is_no_other_rows(batch, monkeypatch):
    """Row 1 never reached the hub, row 2, the same prompt, is kept: it is not taken for row 1 too."""
    life = Life(monkeypatch)
    life.ends_at(AsyncClient, "_attempt", when=lambda this, call, *_: call.paid)
    same = {"prompts": ["A red cube"] * 2, "max_in_flight": 1, "on_error": "continue", **SMALL}
    batch.once(**same)
    life.begins_again()
    real = Engine.run
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run", lambda self, paid, fresh: real(self, iter(()), fresh))
        batch.once()
    assert sum(batch.asked.values()) == 1

    played = batch.clear(on_unknown_outcome="adopt")

    ids = [line["generation_id"] for line in batch.manifest if "generation_id" in line]
    assert len(set(ids)) == len(ids)
    assert played.state == "success"


def test_runs_that_begin_a_row_at_once_write_files_of_their_own(batch):
    marks = set()
    real = LocalFolder.create

    def create(self: Any, name: str, content: bytes, mark: str) -> bool:
        if name.endswith(".job.json"):
            marks.add(mark)
        return real(self, name, content, mark)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFolder, "create", create)
        batch.once(prompts=PROMPTS[:1])
        batch.out.rename(batch.out.with_name("first"))
        batch.next_run(prompts=PROMPTS[:1])

    first, second = marks
    assert first.partition(".")[0] == second.partition(".")[0]


# What is counted.


@all_modes
def test_what_an_earlier_try_generated_is_told_as_generated_with_what_it_cost(batch, monkeypatch):
    batch.retries = batch.max_tries = 2
    life = Life(monkeypatch)
    life.ends_at(LocalFolder, "create", 3, after=True, when=lambda this, name, *_: name.endswith(".webp"))
    batch.between = life.begins_again

    played = batch.play(max_in_flight=1, on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert (played.result["generated"], played.result["reused"]) == (6, 0)
    if batch.mode != "synchronous":
        assert played.result["cost"] == 0.06
        assert "$0.06 so far" in batch.logged
    again = batch.clear()
    assert (again.result["generated"], again.result["reused"], again.result["cost"]) == (0, 6, 0)


@by_queue
def test_job_of_another_run_costs_this_one_nothing(batch):
    batch.slow()
    batch.once(prompts=PROMPTS[:3], timeout=0.05)
    batch.quick()
    before = str(batch.logged).lower().count("at least $")

    played = batch.next_run(prompts=PROMPTS, timeout=60)

    assert all_kept(batch, played)
    assert "$0.03 so far" in batch.logged
    assert str(batch.logged).lower().count("at least $") == before


def test_jobs_of_rows_that_are_gone_from_the_input_are_told_of(batch):
    batch.slow()
    batch.once(prompts=PROMPTS[:3], timeout=0.05)
    batch.quick()

    played = batch.next_run(prompts=[*PROMPTS[:1], "A blue ball"], timeout=60)

    assert played.state == "success"
    assert "2 records of paid jobs in" in batch.logged
    assert len(batch.left) == 2


def test_ids_that_are_one_file_where_case_does_not_count_are_refused(batch, monkeypatch):
    rows = [{"prompt": "A", "id": "Hero"}, {"prompt": "B", "id": "hero"}]
    monkeypatch.setattr(LocalFolder, "folds_case", lambda self: True)

    refused = batch.play(prompts=rows)

    assert "line 1 has the id 'Hero' already, which is the same file name as 'hero'" in refused.error
    assert batch.posts() == 0
    monkeypatch.setattr(LocalFolder, "folds_case", lambda self: False)
    assert all_kept(batch, batch.clear(prompts=rows), ["A", "B"])


def test_loop_that_cannot_run_says_so_and_does_not_hang(batch, monkeypatch):
    def run(serving: Any) -> None:
        serving.close()
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "run", run)
        played = batch.once()

    assert "The batch's event loop cannot run: OSError: [Errno 24]" in played.error
    assert all_kept(batch, batch.clear())


def test_loop_that_ends_before_its_rows_is_told_and_not_waited_for(batch, monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 0.1)

    async def ends(self: RowLoop) -> None:
        self._over = asyncio.Event()
        self._begun.set_result(asyncio.get_running_loop())
        raise OSError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(RowLoop, "_serve", ends)
        played = batch.once()

    assert "The batch's event loop ended unexpectedly: OSError: out of memory" in played.error
    assert batch.posts() == 0
    assert all_kept(batch, batch.clear())


# What happens while a row waits at the gate.


@pytest.fixture
def at_the_gate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[Any]]:
    """Have something happen while the first row waits for its turn, after it has looked at its place."""

    def during(happen: Callable[[], Any]) -> list[Any]:
        real = Gate.enter
        happened: list[Any] = []

        def enter(self: Any) -> Any:
            if not happened:
                happened.append(None)
                # Not on the loop's own thread: what happens may have a loop for itself.
                with ThreadPoolExecutor(1) as beside:
                    happened[0] = beside.submit(happen).result()
            return real(self)

        monkeypatch.setattr(Gate, "enter", enter)
        return happened

    return during


@all_modes
def test_row_that_another_run_does_meanwhile_is_not_paid_for_again(cast_batch, at_the_gate):
    other, batch = cast_batch(prompts=["A"]), cast_batch(prompts=["A"])
    other.run_id = "run 2"
    happened = at_the_gate(other.once)

    assert all_kept(batch, batch.play(), ["A"])
    assert happened[0].state == "success"


@by_queue
def test_row_whose_record_another_run_took_back_and_then_did_is_not_paid_for_again(
    cast_batch, at_the_gate, monkeypatch
):
    """The record was there when the folder was listed: the other's request came back, and goes out anew."""
    other, batch = cast_batch(prompts=["A"]), cast_batch(prompts=["A"])
    other.run_id, batch.run_id = "run 1", "run 2"
    life = Life(monkeypatch)
    life.ends_at(AsyncClient, "_attempt", when=lambda this, call, *_: call.paid)
    other.once()
    life.begins_again()
    other.try_number = 0
    [record] = other.out.glob(".*.job.json")
    real = Engine.run
    begun: list[Any] = []

    def run(self: Any, *rows: Any) -> None:
        if not begun:
            begun.append(1)
            record.unlink()
        real(self, *rows)

    monkeypatch.setattr(Engine, "run", run)
    at_the_gate(other.once)

    assert all_kept(batch, batch.play(), ["A"])


@by_queue
def test_row_that_failed_before_and_is_done_by_another_run_is_not_paid_for_again(cast_batch, at_the_gate):
    first, other, batch = (cast_batch(prompts=["A"]) for _ in range(3))
    first.retries = first.max_tries = 0
    first.hub.fail(Fault("fails", on="enqueue"))
    assert first.once().state == "failed"
    other.run_id, batch.run_id = "run 2", "run 3"
    billed = len(batch.hub.ledger())
    at_the_gate(other.once)

    assert batch.play().state == "success"
    assert len(batch.hub.ledger()) == billed + 1
    assert batch.left == []


def test_row_that_others_are_at_again_and_again_is_left_to_another_try(batch, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(KnownFolder, "has_appeared", lambda self, name: True)
        played = batch.once(prompts=["A"])

    assert "other runs kept working on this row" in played.error
    assert batch.posts() == 0
    assert all_kept(batch, batch.clear(), ["A"])


def test_job_that_was_taken_over_and_failed_for_good_is_not_sent_again_by_a_retry(batch, monkeypatch):
    """Run 1 dies after its request, run 2 finds the job, and that fails for good: one request in all."""
    life = Life(monkeypatch)
    life.ends_at(AsyncClient, "_attempt", after=True, when=lambda this, call, *_: call.paid)
    batch.once(prompts=["A"], on_error="continue")
    life.begins_again()
    monkeypatch.setattr(Poll, "seen", lambda self, row, now: End("failed", "flagged by moderation"))
    batch.next_run()

    batch.once()

    assert batch.posts() == 1


@pytest.mark.parametrize("name", ["max_cost", "requests_per_minute"])
def test_number_beyond_all_numbers_is_refused(batch, name):
    assert f"{name} must be a number above 0" in batch.play(**{name: 10**400}).error


# What lies in the folder.


@by_queue
def test_job_whose_place_somebody_took_keeps_its_image_beside_it(batch):
    batch.slow()
    batch.play(prompts=[{"prompt": "A red cube", "id": "cube"}], timeout=0.2)
    batch.quick()
    (batch.out / "cube.json").write_text('{"somebody": "else"}')

    played = batch.clear(timeout=60)

    assert played.state == "success", played.error
    assert (batch.out / "cube.json").read_text() == '{"somebody": "else"}'
    assert sum(batch.asked.values()) == 1
    assert "cube-" in batch.manifest[0]["path"]


def test_job_that_has_ended_does_not_make_room_for_another(batch):
    batch.hub.fail(Fault("fails", on="enqueue"))
    batch.play(prompts=[{"prompt": "A red cube", "id": "cube"}])
    (batch.out / "cube.json").write_text('{"somebody": "else"}')

    played = batch.clear()

    assert "line 1: " in played.error
    assert batch.posts() == 1


def test_what_a_try_that_died_left_of_the_batchs_own_files_is_removed(batch):
    batch.out.mkdir()
    left = batch.out / f".manifest.jsonl.{batch.identity[:16]}.1.part"
    left.write_text("half")

    assert all_kept(batch, batch.play())
    assert not left.exists()


def test_generation_that_another_row_has_is_not_taken(batch, monkeypatch):
    """Two rows look for one generation at once, and the list does not say whose it is."""
    monkeypatch.setattr(shared.SharedQueue, "is_anothers", lambda self, row, stem: False)
    batch.hub.fail(Fault("drop_before", on="enqueue"))
    batch.hub.fail(Fault("drop_after", on="enqueue"))

    played = batch.play(
        prompts=["A red cube"] * 2,
        on_unknown_outcome="adopt",
        on_error="continue",
        max_in_flight=2,
        **SMALL,
    )

    assert played.state == "success"
    assert sorted(line["status"] for line in batch.manifest) == ["generated", "unknown"]
    assert "belongs to another row" in next(line["error"] for line in batch.manifest if "error" in line)


@pytest.fixture
def broken_log() -> Iterator[None]:
    """A log handler that fails: then ``logging`` prints the errors that are being handled, as they are."""
    handler = logging.StreamHandler(io.StringIO())
    handler.stream.close()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


@pytest.mark.usefixtures("broken_log")
@pytest.mark.parametrize("mode", ["polled"])
def test_books_that_cannot_be_kept_do_not_hide_what_went_wrong(batch, monkeypatch):
    def broken(*arguments: Any) -> None:
        raise ValueError("no sum at https://store.example/a.png?X-Amz-Signature=not-for-a-log")

    monkeypatch.setattr(RowWorker, "_bill", broken)
    batch.hub.fail(Fault("status", on="enqueue", status=422))

    played = batch.play(on_error="continue")

    assert played.result["failed"] == 1
    assert "422" in played.result["failures"][0]["error"]
    assert "The cost of this row could not be read: ValueError: no sum at" in batch.logged
    assert "not-for-a-log" not in str(batch.logged)
