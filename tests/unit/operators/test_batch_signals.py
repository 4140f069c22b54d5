"""Signals reach a busy batch in the main thread, and end the loop that its rows are on."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_oxen.batch import engine
from airflow_provider_oxen.batch.progress import Progress
from airflow_provider_oxen.localhub import Fault

from .batch_scene import PROMPTS, Batch, all_kept
from .scene import Struck

BUSY = 4

busy = pytest.mark.parametrize("mode", ["polled", "synchronous"])


@pytest.fixture
def batch(cast_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch whose answers, or whose generations, do not come."""
    monkeypatch.setattr(engine, "GRACE", 0.2)
    made = cast_batch(max_in_flight=BUSY, on_unknown_outcome="resubmit")
    made.retries = made.max_tries = 0
    made.slow()
    return made


@pytest.fixture
def on_signal() -> Iterator[Callable[[int, Callable[..., Any]], None]]:
    """Have something done in the main thread at a signal."""
    former: dict[int, Any] = {}

    def handled(number: int, handler: Callable[..., Any]) -> None:
        former[number] = signal.signal(number, handler)

    yield handled
    for number, handler in former.items():
        signal.signal(number, handler)


@contextmanager
def struck(
    batch: Batch, number: int, posts: int = BUSY, meanwhile: Callable[[], Any] = lambda: None
) -> Iterator[None]:
    """Send this process a signal as soon as the batch is busy, if it ever is."""
    over = threading.Event()

    def wait() -> None:
        while batch.posts() < posts:
            meanwhile()
            if over.wait(0.005):
                return
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def threads() -> list[str]:
    """The names of the threads that a batch begins."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("oxen-batch", "oxen-resolve", "asyncio"))]


def loops() -> list[str]:
    return [name for name in threads() if name == "oxen-batch-loop"]


def strike_out(number: int, frame: object) -> None:
    raise Struck("AirflowTaskTimeout")


@busy
def test_execution_timeout_ends_the_loop_and_the_next_try_goes_on(batch, on_signal):
    on_signal(signal.SIGALRM, strike_out)

    with struck(batch, signal.SIGALRM):
        played = batch.once()

    assert isinstance(played.errors[0], Struck)
    assert loops() == []
    assert batch.summary["finished"] is False
    assert len(batch.manifest) == len(PROMPTS)
    batch.quick()
    if batch.mode == "polled":
        assert all_kept(batch, batch.clear())


@busy
def test_kill_ends_the_loop_and_the_next_try_goes_on(batch, on_signal):
    on_signal(signal.SIGTERM, lambda *_: batch.operator.on_kill())

    with struck(batch, signal.SIGTERM):
        played = batch.once()

    assert "the task was stopped" in played.error
    assert loops() == []
    assert batch.posts() == BUSY
    batch.quick()
    if batch.mode == "polled":
        assert all_kept(batch, batch.clear())


@busy
def test_kill_whose_handler_takes_long_ends_the_loop(batch, on_signal):
    def handler(*_: Any) -> None:
        # On a busy machine, or where Airflow's own handler writes its log to a store.
        time.sleep(2 * engine.TICK)
        batch.operator.on_kill()

    on_signal(signal.SIGTERM, handler)

    with struck(batch, signal.SIGTERM):
        played = batch.once()

    assert "the task was stopped" in played.error
    assert loops() == []


@pytest.mark.parametrize("mode", ["polled"])
def test_many_rows_at_once_take_few_threads(batch, on_signal, monkeypatch):
    # However long it takes them all to end.
    monkeypatch.setattr(engine, "GRACE", 60)
    on_signal(signal.SIGTERM, lambda *_: batch.operator.on_kill())
    most: list[int] = []

    with struck(batch, signal.SIGTERM, 512, lambda: most.append(len(threads()))):
        played = batch.once(
            prompts=[f"A red cube, number {number}" for number in range(600)], max_in_flight=512
        )

    assert "the task was stopped" in played.error
    assert batch.posts() == 512
    # Beside them there are the main thread and, for an object store, those of its driver.
    assert 2 <= max(most) <= 16


@busy
def test_rows_whose_images_are_still_to_come_keep_no_other_from_the_hub(cast_batch, mode):
    batch = cast_batch(max_in_flight=BUSY)
    on: Any = "generate" if mode == "synchronous" else "enqueue"
    batch.hub.fail(Fault("not_yet", on=on, looks=10_000, times=BUSY))
    over = threading.Event()

    def release() -> None:
        while not over.wait(0.005):
            if batch.posts() > BUSY:
                batch.hub.release_images()

    thread = threading.Thread(target=release)
    thread.start()
    try:
        assert all_kept(batch, batch.once())
    finally:
        over.set()
        thread.join()


def test_garbage_collection_leaves_what_was_there_before_alone(cast_batch):
    batch = cast_batch(max_in_flight=1)
    frozen: list[int] = []
    tick = Progress.tick

    def looking(progress: Progress) -> None:
        frozen.append(gc.get_freeze_count())
        tick(progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "tick", looking)
        assert batch.once().state == "success"

    assert min(frozen) > 0
    assert gc.get_freeze_count() == 0


def test_what_others_have_frozen_stays_so(cast_batch):
    gc.freeze()
    try:
        assert cast_batch().once().state == "success"
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
