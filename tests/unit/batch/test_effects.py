"""What a row's effects add to a single image's: pace, company, claims and costs; all else is passed on."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenImageError, OxenOutcomeUnknown, OxenPollError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.batch import shared
from airflow_provider_oxen.batch.effects import EffectsWrapper, SharedEffects
from airflow_provider_oxen.batch.shared import SharedLookup, SharedQueue
from airflow_provider_oxen.jobs.effects import Effects
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.tasks.arguments import TaskArguments
from airflow_provider_oxen.waiting.polling import LINKLESS, Poll
from airflow_provider_oxen.waiting.registry import KnownConnection

pytestmark = pytest.mark.asyncio

METHODS = [name for name in vars(Effects) if not name.startswith("_")]


class Noted:
    """Effects that note what they are asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def done(*arguments: Any) -> str:
            self.asked.append((name, *arguments))
            return "done"

        return done


@pytest.fixture
def do() -> Any:
    return Noted()


@pytest.fixture
def queue() -> SharedQueue:
    async def read(*_: Any) -> list[Any]:
        return [SimpleNamespace(generation_id="g")]

    return SharedQueue(KnownConnection("oxen_default", Settings()), SharedLookup(read), 0.01)


def join(do: Any, queue: SharedQueue, stem: str = "first") -> SharedEffects:
    arguments = TaskArguments.read({"deferrable": False, "timeout": None})
    return SharedEffects(do, queue, stem, [], arguments, unsure=False)


def record(**facts: Any) -> Record:
    return Record(
        phase="submitted",
        nonce="n",
        identity="i",
        time=0.0,
        endpoint="queue",
        body={},
        origin="",
        fingerprint="f",
        generation_id="g",
    ).to("submitted", **facts)


@pytest.mark.parametrize("name", METHODS)
async def test_what_is_not_changed_is_passed_on(do, name):
    parameters = list(inspect.signature(getattr(Effects, name)).parameters.values())[1:]
    arguments = [parameter.name for parameter in parameters]

    outcome = await getattr(EffectsWrapper(do), name)(*arguments)

    assert do.asked == [(name, *arguments)]
    assert outcome == ("done" if outcome is not None else None)


async def test_generation_of_another_row_is_neither_taken_nor_seen(do, queue, monkeypatch):
    assert queue.claim("g", "first")
    second = join(do, queue, "second")

    with pytest.raises(OxenOutcomeUnknown, match="belongs to another row"):
        await second.write(record())
    monkeypatch.setattr("airflow_provider_oxen.batch.shared.is_candidate", lambda body, row: True)
    assert await second.rows(record()) == []
    assert len(await join(do, queue).rows(record())) == 1


async def test_row_waits_for_an_image_only_while_the_batch_is_patient(do, queue):
    joined = join(do, queue)
    error = OxenImageError("Not there yet.")

    linger: Any = joined.linger
    assert await linger(1, error) == "done"
    queue.patient = False
    assert await joined.linger(1, error) is False


async def test_job_that_only_the_history_knows_is_waited_for_alone(do, queue):
    joined = join(do, queue)
    alone = record(endpoint="generate")

    await joined.wait(alone)

    assert do.asked == [("wait", alone)]


@pytest.mark.parametrize(("link", "asks"), [("https://files.example/i.png", 0), (None, 1)])
async def test_row_that_ended_the_waiting_is_asked_for_again_only_without_a_link(
    do, queue, monkeypatch, link, asks
):
    row = Generation(generation_id="g", status="succeeded", result_url=link)
    asked: list[str] = []

    async def ended(*_: Any, poll: Poll, **__: Any) -> Any:
        poll.linkless = LINKLESS
        return poll.seen(row, 0.0)

    async def again(generation_id: str) -> None:
        asked.append(generation_id)

    monkeypatch.setattr(shared, "wait", ended)
    do.__dict__["row"] = again
    joined = join(do, queue)

    assert (await joined.wait(record())).status == "succeeded"
    assert await joined.row("g") == (row if link else None)
    assert len(asked) == asks
    # Whoever asks later wants what is so by then.
    await joined.row("g")
    assert len(asked) == asks + 1


async def test_who_waits_is_told_of_the_stop_and_nobody_begins_to_wait_after_it(queue, monkeypatch):
    async def forever(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(shared, "wait", forever)
    waiting = asyncio.create_task(queue.wait("g", None, Poll()))
    await asyncio.sleep(0)

    queue.stop()

    with pytest.raises(OxenPollError, match="was stopped"):
        await waiting
    with pytest.raises(OxenPollError, match="was stopped"):
        await queue.wait("g", None, Poll())


async def test_row_that_is_called_off_while_it_waits_is_called_off(queue, monkeypatch):
    async def forever(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(shared, "wait", forever)
    waiting = asyncio.create_task(queue.wait("g", None, Poll()))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
