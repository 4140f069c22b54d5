"""A batch whose workers do not see one folder: nothing is paid for twice, and the task says what is wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenRecordError
from airflow_provider_oxen.batch.account import KEY, MARK
from airflow_provider_oxen.batch.deferral import Deferral, read_deferral
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.triggers import batch_record

from .batch_scene import PROMPTS, Batch, Life, all_kept
from .scene import MODEL, STORE, Store, all_modes, by_queue

by_deferral = pytest.mark.parametrize("mode", ["deferred"])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_record, "PAUSES", ())


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    return cast_batch()


with_store = pytest.mark.parametrize("store", STORE)


@pytest.fixture
def remembering(batch: Batch, store: str) -> Batch:
    """A batch on an Airflow that has a task state store."""
    batch.store = Store()
    return batch


class Disks:
    """Two workers' own disks behind one path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.other = path.with_name("other disk")

    def swap(self) -> None:
        """Let the next process run on the other worker."""
        aside = self.path.with_name("aside")
        if self.path.exists():
            self.path.rename(aside)
        if self.other.exists():
            self.other.rename(self.path)
        if aside.exists():
            aside.rename(self.other)


@pytest.fixture
def disks(batch: Batch) -> Disks:
    return Disks(batch.out)


def on_resume(batch: Batch, change: Callable[[], Any]) -> None:
    """Let something happen to the folder before the task comes back from the triggerer, each time."""

    def happen(event: Any) -> Any:
        change()
        return event

    batch.meanwhile = happen


@by_deferral
def test_worker_that_does_not_see_the_folder_of_the_deferral_pays_for_nothing(batch, disks):
    on_resume(batch, disks.swap)

    played = batch.play()

    assert played.state == "failed"
    assert len(played.errors) == 1
    assert "Not tried again." in played.error
    assert "is not there. 6 generations were submitted before this task was deferred ($0.06" in played.error
    assert "clear the task: it looks for what was paid for" in played.error
    assert batch.posts() == 6
    disks.swap()
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@by_deferral
def test_folder_that_is_gone_at_each_deferral_is_not_paid_for_without_end(batch):
    on_resume(batch, lambda: shutil.rmtree(batch.out))

    played = batch.play(max_cost=0.06)

    assert played.state == "failed"
    assert len(played.errors) == 1
    assert batch.posts() == 6


@by_deferral
def test_folder_that_is_gone_is_begun_anew_once_where_that_is_wanted(batch):
    on_resume(batch, lambda: shutil.rmtree(batch.out))

    played = batch.play(on_unknown_outcome="resubmit")

    assert played.state == "failed"
    assert "This try has started the folder again once already, and does not do so twice." in played.error
    assert "on_unknown_outcome='resubmit': the batch starts again in this folder" in batch.logged
    assert batch.posts() == 12


@by_deferral
def test_max_cost_counts_what_was_spent_in_a_folder_that_is_gone(batch):
    on_resume(batch, lambda: shutil.rmtree(batch.out))

    played = batch.play(on_unknown_outcome="resubmit", max_cost=0.11)

    assert played.state == "failed"
    assert "beside the $0.06 that this task has spent already, and max_cost is $0.11" in played.error
    assert batch.posts() == 6


@by_deferral
def test_record_that_alone_is_gone_stops_too_and_a_clear_goes_on(batch):
    def lose() -> None:
        for path in batch.out.glob(".batch-*.jsonl"):
            path.unlink()

    on_resume(batch, lose)

    played = batch.play()

    assert played.state == "failed"
    assert "is not there. 6 generations were submitted" in played.error
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@by_deferral
def test_row_whose_own_record_is_gone_goes_on_by_the_batchs(batch):
    def lose() -> None:
        for path in batch.out.glob(".*.job.json"):
            path.unlink()

    on_resume(batch, lose)

    played = batch.play()

    assert all_kept(batch, played)
    paid = {entry["generation_id"]: entry["seed"] for entry in batch.hub.ledger()}
    assert {line["generation_id"]: line["seed"] for line in batch.manifest} == paid
    assert played.result["cost"] == 0.06


@by_deferral
def test_record_that_somebody_altered_spends_nothing(batch):
    def alter() -> None:
        path = next(batch.out.glob(".batch-*.jsonl"))
        path.write_text(path.read_text().replace("A red cube", "A blue ball"))

    on_resume(batch, alter)

    played = batch.play()

    assert "its sha256 is another" in played.error
    assert "Not tried again." in played.error
    assert batch.posts() == 6
    batch.meanwhile = lambda event: event
    assert all_kept(batch, batch.clear())


@by_deferral
def test_deferral_of_an_earlier_version_is_resumed(batch):
    def old(deferral: Any) -> Any:
        # It named its record by the task alone, and told neither the name nor the sha256.
        name = f".batch-{batch.identity[:16]}.jsonl"
        [path] = batch.out.glob(".batch-*.jsonl")
        path.rename(batch.out / name)
        deferral.trigger.record = name
        told = ("folder", "storage_conn_id", "spent", "spent_unknown")
        deferral.kwargs = {"batch": {key: deferral.kwargs["batch"][key] for key in told}}
        return deferral

    resume = batch._resume
    batch.__dict__["_resume"] = lambda deferral: resume(old(deferral))

    assert all_kept(batch, batch.play())


@by_deferral
def test_deferral_of_which_airflow_kept_the_event_alone_is_resumed(batch):
    """As in ``dag.test()``."""

    def forget(deferral: Any) -> Any:
        deferral.kwargs = {}
        return deferral

    resume = batch._resume
    batch.__dict__["_resume"] = lambda deferral: resume(forget(deferral))

    assert all_kept(batch, batch.play())


def smuggle(batch: Batch, **facts: Any) -> None:
    """Put a row of a stranger's into the record of a deferred batch."""
    [path] = batch.out.glob(".batch-*.jsonl")
    header, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    row = {
        **rows[0],
        "line": 7,
        "stem": "theirs",
        "state": 1,
        "request": {"model": MODEL, "prompt": "Theirs"},
    }
    row = {name: value for name, value in {**row, **facts}.items() if value is not None}
    lines = [{**header, "rows": len(rows) + 1}, *rows, row]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


SMUGGLED = {
    "without a job": ({"generation": None}, None),
    "with a job": ({}, "lists 7 generations, but 6 were submitted"),
    "in another place": ({"stem": "../theirs"}, "'../theirs' is the name of no file"),
}


@by_deferral
@pytest.mark.parametrize(("facts", "told"), SMUGGLED.values(), ids=list(SMUGGLED))
def test_row_that_is_smuggled_in_where_nobody_vouches_for_the_record_is_not_worked_on(batch, facts, told):
    resume = batch._resume

    def forget(deferral: Any) -> Any:
        deferral.kwargs = {}
        return resume(deferral)

    batch.__dict__["_resume"] = forget
    on_resume(batch, lambda: smuggle(batch, **facts))
    batch.retries = batch.max_tries = 0

    played = batch.play()

    assert batch.posts() == 6
    assert not list(batch.out.parent.glob("**/theirs*"))
    assert batch.asked == Counter(PROMPTS)
    if told:
        assert told in played.error
    else:
        assert batch.summary["unknown"] == 1


@by_deferral
def test_row_that_is_smuggled_into_a_record_is_found_by_its_checksum(batch):
    on_resume(batch, lambda: smuggle(batch, generation=None))

    assert "its sha256 is another" in batch.play().error
    assert batch.posts() == 6


@by_deferral
def test_record_that_lost_a_row_is_damaged(batch):
    def lose() -> None:
        [path] = batch.out.glob(".batch-*.jsonl")
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    resume = batch._resume

    def forget(deferral: Any) -> Any:
        deferral.kwargs = {}
        return resume(deferral)

    batch.__dict__["_resume"] = forget
    on_resume(batch, lose)
    batch.retries = batch.max_tries = 0

    assert "it has 5 rows, and its first line says 6" in batch.play().error


@by_deferral
def test_deferral_that_names_a_file_elsewhere_is_refused(batch):
    def elsewhere(deferral: Any) -> Any:
        deferral.kwargs = {"batch": {**deferral.kwargs["batch"], "record": "../summary.json"}}
        return deferral

    resume = batch._resume
    batch.__dict__["_resume"] = lambda deferral: resume(elsewhere(deferral))
    batch.retries = batch.max_tries = 0

    played = batch.play()

    assert "it names the record of another task" in played.error
    assert batch.posts() == 6


@pytest.mark.parametrize(
    "wrong", [{"jobs": -1}, {"spent": "much"}, {"sha256": "x"}, {"record": 7}, {"held": float("nan")}]
)
def test_deferral_that_is_damaged_is_refused(wrong):
    with pytest.raises(Exception, match=f"cannot be used \\({next(iter(wrong))}\\)"):
        read_deferral({"record": ".batch-0123456789abcdef.jsonl", **wrong}, None, "0123456789abcdef" * 4)


def test_deferral_that_is_no_mapping_is_refused():
    kept: Any = ["a list"]

    with pytest.raises(OxenRecordError, match="it is no mapping"):
        read_deferral(kept, None, "0123456789abcdef" * 4)


def test_deferral_survives_airflows_way():
    deferral = Deferral(record=".batch-0123456789abcdef.2-ab12.jsonl", sha256="0" * 64, jobs=3, spent=0.03)
    kept = json.loads(json.dumps(deferral.model_dump(mode="json")))

    assert read_deferral(kept | {"later": "more"}, None, "0123456789abcdef" * 4) == deferral


@by_deferral
def test_each_try_has_a_record_of_its_own_and_the_last_tidies(batch):
    seen = []

    def look(event: Any) -> Any:
        seen.append({path.name for path in batch.out.glob(".batch-*.jsonl")})
        if len(seen) == 1:
            raise RuntimeError("the triggerer is away")
        return event

    batch.meanwhile = look

    assert all_kept(batch, batch.play())
    [first], both = seen
    assert len(both) == 2
    assert first in both


# Without a deferral: the worker dies, and the next try runs elsewhere.


def dies_in_the_middle(batch: Batch, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Any]) -> None:
    """Let the first try die after some requests, and something happen before the second."""
    life = Life(monkeypatch)
    life.ends_at(LocalFolder, "put", 3, after=True, when=lambda this, name, *_: name.endswith(".job.json"))

    def between() -> None:
        life.begins_again()
        then()

    batch.between = between


@with_store
@by_queue
def test_retry_on_another_disk_pays_for_nothing_and_says_why(remembering, disks, monkeypatch):
    batch = remembering
    dies_in_the_middle(batch, monkeypatch, disks.swap)

    played = batch.play()

    assert played.state == "failed"
    assert len(played.errors) == 2
    assert "Not tried again." in played.error
    assert "started its batch: each worker has its own disk, or the folder was removed" in played.error
    assert len(batch.asked) == sum(batch.asked.values())
    sent = batch.posts()
    assert batch.clear().state == "failed"
    assert batch.posts() == sent
    disks.swap()
    assert all_kept(batch, batch.clear())


@with_store
def test_retry_on_a_disk_that_another_run_has_used_pays_for_nothing(remembering, disks, monkeypatch):
    batch = remembering
    disks.swap()
    assert batch.next_run().state == "success"
    disks.swap()
    batch.store = Store()
    dies_in_the_middle(batch, monkeypatch, disks.swap)
    sent = batch.posts()

    played = batch.next_run(prompts=[*PROMPTS, "A blue ball"])

    assert "is another folder than the folder in which this task started its batch" in played.error
    assert batch.asked["A blue ball"] <= 1
    assert batch.posts() <= sent + 7


@with_store
def test_folder_that_is_gone_for_good_is_begun_anew_where_that_is_wanted(remembering):
    batch = remembering
    assert batch.play().state == "success"
    shutil.rmtree(batch.out)

    assert "the folder was removed" in batch.clear().error
    played = batch.clear(on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert set(batch.asked.values()) == {2}
    shutil.rmtree(batch.out)
    assert "the folder was removed" in batch.clear(on_unknown_outcome="fail").error


@with_store
def test_cleared_batch_whose_storage_path_changed_pays_only_where_that_is_wanted(remembering, tmp_path):
    batch = remembering
    assert batch.play().state == "success"
    elsewhere = str(tmp_path / "elsewhere")

    played = batch.clear(storage_path=elsewhere)

    assert "This task started its batch in" in played.error
    assert "Not tried again." in played.error
    assert batch.posts() == 6
    assert batch.clear(on_changed_request="submit").state == "success"
    assert batch.posts() == 12


@with_store
def test_what_was_spent_is_remembered_apart_from_the_folder(remembering):
    batch = remembering
    batch.hub.fail(Fault("fails", on="enqueue", prompt="number 6"))
    batch.between = lambda: shutil.rmtree(batch.out)

    played = batch.play(on_error="continue", max_failures=0, on_unknown_outcome="resubmit", max_cost=0.11)

    assert "beside the $0.06 that this task has spent already" in played.error
    assert batch.posts() == 6
    assert batch.store.get(KEY)["held"] == 0.06


@with_store
def test_store_that_was_discarded_is_made_good_by_the_folder(remembering, disks):
    batch = remembering
    batch.slow()
    batch.play(timeout=0.05)
    batch.quick()
    batch.store.values.clear()

    assert all_kept(batch, batch.clear(timeout=60))
    assert batch.posts() == 6
    assert "looked up on the hub before" not in batch.logged


@with_store
def test_store_that_does_not_take_the_account_lets_nothing_be_sent(remembering):
    batch = remembering
    batch.retries = batch.max_tries = 0

    def fails(done: str, value: Any) -> None:
        if done == "set" and value["mark"]:
            raise OSError("no answer")

    batch.store.failing = fails

    played = batch.play()

    assert "This task's record of its batch could not be written: OSError: no answer" in played.error
    assert batch.posts() == 0
    batch.store.failing = lambda done, value: None
    assert all_kept(batch, batch.clear())


@with_store
def test_sums_that_the_store_does_not_take_in_the_end_are_no_error(remembering):
    batch = remembering
    written = []

    def fails(done: str, value: Any) -> None:
        written.append(done)
        if written.count("set") > 3:
            raise OSError("no answer")

    batch.store.failing = fails

    assert batch.play().state == "success"
    assert "could not be written: OSError: no answer" in batch.logged


def test_folder_of_an_earlier_version_gets_a_mark_with_the_next_request(batch):
    assert all_kept(batch, batch.play(prompts=PROMPTS[:5]), PROMPTS[:5])
    (batch.out / MARK).unlink()

    assert batch.next_run().state == "success"
    assert not (batch.out / MARK).exists()
    assert batch.next_run(prompts=PROMPTS).state == "success"
    assert (batch.out / MARK).exists()


def test_runs_that_share_a_folder_share_its_mark(batch):
    batch.play(prompts=PROMPTS[:5])
    before = (batch.out / MARK).read_bytes()

    assert all_kept(batch, batch.next_run(prompts=PROMPTS))
    assert (batch.out / MARK).read_bytes() == before


@all_modes
def test_try_of_an_earlier_version_is_gone_on_with(batch, monkeypatch):
    """It left no account, but a summary that names the task."""
    dies_in_the_middle(
        batch, monkeypatch, lambda: (batch.out / f".account-{batch.identity[:16]}.json").unlink()
    )

    played = batch.play(on_unknown_outcome="resubmit")

    assert played.state == "success"
    assert "looked up on the hub before" not in batch.logged


def test_second_try_that_finds_nothing_of_the_first_asks_before_it_pays(batch, disks, monkeypatch):
    """Before Airflow 3.3, on another disk. The model takes no seed: what is found could be another's."""
    dies_in_the_middle(batch, monkeypatch, disks.swap)

    played = batch.play(model="gpt-image-2", max_in_flight=1)

    assert "This is try 2, but " in batch.logged
    assert played.state == "failed"
    assert "may have been sent" in played.error
    assert set(batch.asked.values()) == {1}


@by_queue
def test_second_try_on_another_disk_finds_what_the_first_has_paid_for(batch, disks, monkeypatch):
    """Before Airflow 3.3: the seeds are derived, and so derived again."""
    dies_in_the_middle(batch, monkeypatch, disks.swap)

    played = batch.play()

    assert "looked up on the hub before" in batch.logged
    assert all_kept(batch, played)


@with_store
def test_folder_that_is_gone_for_good_is_made_good_from_the_hubs_lists(remembering):
    batch = remembering
    assert batch.play().state == "success"
    shutil.rmtree(batch.out)

    played = batch.clear(on_unknown_outcome="adopt")

    assert all_kept(batch, played)


def test_prompts_that_are_all_looked_up_wait_for_one_grace(batch, disks, monkeypatch):
    """The first try died before its first request: there is nothing to be found, and all is sent."""
    life = Life(monkeypatch)
    life.ends_at(LocalFolder, "create", 2)
    paused: list[float] = []
    real = WorkerEffects.pause

    async def pause(self: Any, seconds: float) -> float:
        paused.append(seconds)
        return await real(self, seconds)

    monkeypatch.setattr(WorkerEffects, "pause", pause)

    def between() -> None:
        life.begins_again()
        disks.swap()

    batch.between = between

    played = batch.play(max_in_flight=1, validate="off")

    assert all_kept(batch, played)
    assert "looked up on the hub before" in batch.logged
    assert len(paused) == 6
    # Where the look itself takes as long as the grace, nothing is left to wait for.
    assert sum(seconds > 0 for seconds in paused) <= 1


@by_deferral
def test_what_was_refused_before_the_deferral_is_told_after_it(batch):
    batch.hub.fail(Fault("status", on="enqueue", status=422, prompt="number 2", times=None))

    played = batch.play(on_error="continue")

    assert played.state == "success"
    assert [line["status"] for line in batch.manifest].count("failed") == 1
    assert [line["prompt"] for line in batch.manifest] == PROMPTS


@by_deferral
def test_account_that_is_gone_at_the_resume_costs_nothing_twice(batch):
    on_resume(batch, lambda: [path.unlink() for path in batch.out.glob(".account-*")])

    assert all_kept(batch, batch.play())
