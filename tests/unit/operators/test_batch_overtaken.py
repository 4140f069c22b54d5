"""A try that was frozen, and wakes beside its successor, leaves manifest and record as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.batch import engine
from airflow_provider_oxen.batch.engine import Engine
from airflow_provider_oxen.batch.limits import Gate
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.jobs.filestore import FileRecordStore
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.running import Clocks, Running

from .batch_scene import PROMPTS, Batch
from .scene import all_modes


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tries that Airflow does not run any more."""
    over: list[int] = []

    def check(self: Any, **_: Any) -> None:
        if self._ti.try_number in over:
            raise OxenOvertaken("Airflow no longer runs this try.")

    monkeypatch.setattr(Running, "check", check)
    return over


def books(batch: Batch) -> dict[str, bytes]:
    names = ("manifest.jsonl", "summary.json", "index.html")
    kept = {name: (batch.out / name).read_bytes() for name in names if (batch.out / name).exists()}
    return kept | {path.name: path.read_bytes() for path in batch.out.glob(".batch-*")}


@all_modes
def test_frozen_try_overwrites_nothing_of_its_successors(
    cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, overtaken: list[int]
) -> None:
    frozen, next_one = cast_batch(), cast_batch()
    next_one.try_number = 1
    real = Engine.run
    seen: list[dict[str, bytes]] = []

    def run(self: Any, *rows: Any) -> None:
        real(self, *rows)
        if not seen:
            # Frozen when its last row was done; Airflow starts the next try meanwhile.
            seen.append({})
            overtaken.append(1)
            assert next_one.once().state == "success"
            seen[0] = books(next_one)

    monkeypatch.setattr(Engine, "run", run)

    tried = frozen.once()

    assert "Airflow no longer runs this try" in tried.error
    assert books(frozen) == seen[0]
    assert set(frozen.asked.values()) == {1}


@pytest.mark.parametrize("mode", ["deferred"])
def test_deferral_of_the_successor_is_resumed_whatever_a_frozen_try_does(
    cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, overtaken: list[int]
) -> None:
    frozen, next_one = cast_batch(), cast_batch()
    next_one.try_number = 1
    real = Results.save

    def save(self: Any) -> Any:
        # Frozen between the manifest and the record.
        if self.this_try.try_number == 1:
            overtaken.append(1)
        return real(self)

    monkeypatch.setattr(Results, "save", save)

    tried = frozen.once()

    assert "Airflow no longer runs this try" in tried.error
    assert books(frozen).keys() == {"manifest.jsonl", "summary.json", "index.html"}
    assert next_one.once().state == "success"
    assert set(next_one.asked.values()) == {1}


@pytest.mark.parametrize("mode", ["polled"])
def test_try_that_was_frozen_at_its_work_asks_and_stops(
    cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, overtaken: list[int]
) -> None:
    batch = cast_batch()
    seconds = iter([0.0, 0.1, 0.2])

    def clocks() -> Clocks:
        # Then half an hour has passed.
        now = next(seconds, 1800.0)
        if now == 1800.0 and 1 not in overtaken:
            overtaken.append(1)
        return Clocks(now, now)

    monkeypatch.setattr(engine, "clocks", clocks)
    batch.slow()

    tried = batch.once(timeout=60)

    assert "Airflow no longer runs this try. The next try finds what this one has paid for." in tried.error
    assert batch.summary["finished"] is False


@pytest.mark.parametrize("mode", ["polled"])
def test_airflow_that_cannot_be_asked_leaves_the_books_to_the_next_try(
    cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = cast_batch()
    real = Engine.run

    def run(self: Any, *rows: Any) -> None:
        real(self, *rows)

        def check(running: Any) -> None:
            raise OxenStoreUnavailable("Airflow could not be asked.")

        monkeypatch.setattr(Running, "check", check)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run", run)
        tried = batch.once()

    assert tried.state == "up_for_retry"
    assert "Airflow could not be asked. Its manifest was left as it was." in tried.error
    assert batch.summary["finished"] is False


@all_modes
def test_airflow_is_asked_before_a_rows_intent_is_written(cast_batch, monkeypatch):
    """What takes its time comes before it: who is killed after it cannot tell whether it was sent."""
    seen: list[str] = []

    def noting(kind: Any, method: str, what: str) -> None:
        real = getattr(kind, method)

        def noted(*arguments: Any, **more: Any) -> Any:
            seen.append(what)
            return real(*arguments, **more)

        monkeypatch.setattr(kind, method, noted)

    noting(Gate, "enter", "waits for its turn")
    noting(Running, "check", "asks")
    noting(FileRecordStore, "_intend", "intends")

    assert cast_batch(prompts=PROMPTS[:1]).play().state == "success"
    at = seen.index("intends")
    assert seen[at - 2 : at + 2] == ["waits for its turn", "asks", "intends", "asks"]


@all_modes
def test_row_whose_record_became_anothers_right_before_its_request_is_not_sent(cast_batch, monkeypatch):
    """The record is read back last, before the first byte."""
    batch = cast_batch(prompts=PROMPTS[:1])
    real = WorkerEffects.send

    async def sent(self: WorkerEffects, record: Any) -> Any:
        [path] = batch.out.glob(".*.job.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "nonce": "f" * 32}))
        return await real(self, record)

    monkeypatch.setattr(WorkerEffects, "send", sent)

    tried = batch.once()

    assert "belongs to another try now" in tried.error
    assert batch.posts() == 0
