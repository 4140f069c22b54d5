"""The trigger of a batch: one event and one list request a tick for all its jobs, whatever happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.localhub import Fault, LocalHub
from airflow_provider_oxen.triggers import batch_record as records
from airflow_provider_oxen.triggers import batches
from airflow_provider_oxen.triggers.batches import OxenBatchTrigger
from airflow_provider_oxen.triggers.events import BATCH, BatchEnd, read_batch_event
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger
from airflow_provider_oxen.waiting import poller, registry
from airflow_provider_oxen.waiting.polling import TOLERATED

from .conftest import KEY, events, rebuilt

TICK = 0.02
IDENTITY = "5e" * 32
NAME = f".batch-{IDENTITY[:16]}.jsonl"

Orders = Callable[..., list[str]]
Batch = Callable[..., OxenBatchTrigger]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PAUSES", (0.0, 0.0))


@pytest.fixture
def orders(hub: LocalHub) -> Orders:
    """Put jobs into the queue and return their ids."""

    def orders(number: int, namespace: str | None = None) -> list[str]:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube", target_namespace=namespace)
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]

    return orders


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Write the record of a batch, and return the trigger that a task defers to."""

    def batch(ids: Sequence[str], namespace: str | None = None, **kwargs: Any) -> OxenBatchTrigger:
        rows = [{"generation": id, "namespace": namespace} for id in ids]
        name = kwargs.get("record", NAME)
        written(tmp_path / name, rows)
        given = {"record": name, "folder": str(tmp_path), "identity": IDENTITY, "jobs": len(rows)}
        return OxenBatchTrigger(**{**given, "poll_interval": TICK, **kwargs})

    return batch


def written(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    header = {"format": records.FORMAT, "identity": IDENTITY, "rows": len(rows)}
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *rows)))


def finish(hub: LocalHub) -> None:
    """Let all jobs end."""
    hub.settings.clock_ahead += 7200


def asked(hub: LocalHub) -> int:
    """How often the queue's list was asked for."""
    return sum(seen["method"] == "GET" and seen["path"] == "/api/ai/queue" for seen in hub.requests())


async def ticks(hub: LocalHub, number: int = 2) -> None:
    """Return after so many lists from now on."""
    wanted = asked(hub) + number
    await until(lambda: asked(hub) >= wanted)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(TICK / 4)


async def told_by(trigger: OxenBatchTrigger) -> dict[str, Any]:
    """Run a trigger and return its one event, which is understood."""
    async with asyncio.timeout(20):
        [event] = await events(trigger)
    assert set(event) == {"event", "record", "status", "message", "jobs", "ended"}
    assert event["event"] == BATCH
    assert event["jobs"] == trigger.jobs
    assert read_batch_event(event, trigger.record) == BatchEnd(event["status"], event["message"])
    return event


def waited_for() -> list[str]:
    """The ids that are waited for in this loop."""
    return [id for shared in registry.current().pollers.values() for id in shared.waiters.by_id]


class TestArguments:
    def test_they_survive_airflows_serialization(self):
        kwargs: dict[str, Any] = {
            "record": NAME,
            "folder": "s3://bucket/out",
            "identity": IDENTITY,
            "jobs": 10_000,
            "storage_conn_id": "aws_default",
            "oxen_conn_id": "another",
            "poll_interval": 2.5,
            "deadline": 1780000000.25,
            "patience": 1770000000.0,
            "deferred_at": 1760000000.5,
        }

        trigger = rebuilt(OxenBatchTrigger(**kwargs))

        assert type(trigger) is OxenBatchTrigger
        assert trigger.serialize()[1] == kwargs

    def test_unset_ones_survive_it_too(self):
        trigger = OxenBatchTrigger(NAME, "/out", IDENTITY, 3)

        assert rebuilt(trigger).serialize() == trigger.serialize()

    def test_they_are_as_small_for_ten_thousand_jobs_and_without_the_key(self, connected, batch):
        _, kwargs = batch([f"{number:036}" for number in range(10_000)]).serialize()

        text = json.dumps(kwargs)
        assert json.loads(text) == kwargs
        assert len(text) < 1_000
        assert KEY not in text

    def test_those_of_the_first_version_stay_loadable(self):
        # What stands in databases out there; add to it, take nothing away.
        first: dict[str, Any] = {
            "record": NAME,
            "folder": "/out",
            "identity": IDENTITY,
            "jobs": 3,
            "storage_conn_id": None,
            "oxen_conn_id": "oxen_default",
            "poll_interval": 5.0,
            "deadline": None,
            "patience": 0.0,
        }

        assert OxenBatchTrigger(**first).jobs == 3
        assert OxenBatchTrigger(record=NAME, folder="/out", identity=IDENTITY, jobs=3).serialize()[1] == {
            **first,
            "deferred_at": None,
        }


class TestEnd:
    """One event, whatever becomes of the jobs."""

    async def test_all_ended_after_rebuilding(self, connected, orders, batch):
        trigger = rebuilt(batch(orders(5)))
        running = asyncio.create_task(told_by(trigger))
        await ticks(connected)
        assert not running.done()
        finish(connected)

        assert await running == {
            "event": BATCH, "record": NAME, "status": "ended", "message": "", "jobs": 5, "ended": 5,
        }  # fmt: skip

    async def test_it_waits_for_the_last(self, connected, orders, batch):
        quick = orders(3)
        finish(connected)
        running = asyncio.create_task(told_by(batch(quick + orders(1))))
        await ticks(connected, 5)
        assert not running.done()
        finish(connected)

        assert (await running)["ended"] == 4

    async def test_what_became_of_each_is_not_told(self, connected, orders, batch):
        connected.fail(Fault(on="enqueue", kind="fails", message="the GPU caught fire"))
        connected.fail(Fault(on="enqueue", kind="is_cancelled"))
        connected.settings.latency = 0

        event = await told_by(batch([*orders(4), "nobody-knows"]))

        assert event["status"] == "ended"
        assert event["ended"] == 5
        assert event["message"] == ""

    async def test_deadline_tells_how_many_had_ended(self, connected, orders, batch):
        quick = orders(3)
        finish(connected)

        event = await told_by(batch(quick + orders(2), deadline=time.time()))

        assert event["status"] == "timed_out"
        assert event["ended"] == 3
        assert event["message"] == "3 of 5 generations had ended by the deadline."

    async def test_what_ended_while_the_triggerer_was_away_counts_after_the_deadline_too(
        self, connected, orders, batch
    ):
        connected.settings.latency = 0

        assert (await told_by(batch(orders(3), deadline=time.time() - 3600)))["status"] == "ended"

    async def test_patience_is_had_with_ids_that_the_hub_does_not_know_yet(self, connected, orders, batch):
        connected.settings.detail_delay, connected.settings.latency = 3600, 0
        [id] = orders(1)

        waiting = asyncio.ensure_future(told_by(batch([id], patience=time.time() + 3600)))
        while sum(seen["path"] == f"/api/ai/queue/{id}" for seen in connected.requests()) <= TOLERATED:
            assert not waiting.done()
            await asyncio.sleep(0.01)
        connected.settings.detail_delay = 0

        assert (await waiting)["status"] == "ended"

    async def test_batch_of_no_jobs(self, connected, batch):
        event = await told_by(batch([]))

        assert event["status"] == "ended"
        assert connected.requests() == []

    async def test_several_namespaces_are_each_looked_at(self, connected, orders, batch, tmp_path):
        own, others = orders(2), orders(3, "local-org")
        trigger = batch(own + others)
        rows = [{"generation": id, "namespace": None} for id in own]
        written(tmp_path / NAME, rows + [{"generation": id, "namespace": "local-org"} for id in others])
        running = asyncio.create_task(told_by(trigger))
        await ticks(connected, 6)
        lists = [seen for seen in connected.requests() if seen["path"] == "/api/ai/queue"]
        assert {tuple(seen["query_keys"]) for seen in lists if seen["method"] == "GET"} == {
            (), ("namespace",),
        }  # fmt: skip
        assert not any(seen["path"].startswith("/api/ai/queue/") for seen in connected.requests())
        finish(connected)

        assert (await running)["ended"] == 5

    async def test_namespace_of_the_connection_is_looked_at_where_the_record_names_none(
        self, hub, connect, orders, batch
    ):
        connect(host=hub.url, extra={"max_retries": 0, "target_namespace": "local-org"})
        running = asyncio.create_task(told_by(batch(orders(2, "local-org"))))
        await ticks(hub)
        assert not any(seen["path"].startswith("/api/ai/queue/") for seen in hub.requests())
        finish(hub)

        assert (await running)["ended"] == 2


class TestTrouble:
    """What keeps the trigger from knowing is told, and never an error of the trigger."""

    async def test_hub_that_is_gone(self, hub, connect, batch):
        connect(host=hub.url)
        hub.close()

        event = await told_by(batch(["a", "b", "c"]))

        assert event["status"] == "unreachable"
        assert event["ended"] == 0
        assert "Could not reach" in event["message"]

    async def test_wrong_key(self, hub, connect, batch):
        connect(host=hub.url, password="another-key-that-must-not-leak")

        event = await told_by(batch(["a", "b"]))

        assert event["status"] == "unreachable"
        assert "The API key is missing or wrong" in event["message"]
        assert "another-key" not in event["message"]
        assert asked(hub) == 1

    async def test_job_that_nobody_could_ask_for_is_left_to_the_task_and_the_others_waited_for(
        self, connected, orders, batch
    ):
        connected.fail(Fault(on="job", kind="status", status=500, times=None))
        running = asyncio.create_task(told_by(batch(["not-in-the-list", *orders(2)])))
        await until(lambda: "not-in-the-list" in waited_for())
        await until(lambda: len(waited_for()) == 2)
        assert not running.done()
        connected.clear_faults()
        finish(connected)

        event = await running

        assert event["status"] == "ended"
        assert event["ended"] == 3
        assert event["message"].startswith("The status of 1 that count as ended could not be read: ")
        assert "HTTP 500" in event["message"]

    async def test_connection_that_does_not_exist(self, batch):
        event = await told_by(batch(["a"], oxen_conn_id="no_such"))

        assert event["status"] == "unreachable"
        assert "no_such" in event["message"]

    async def test_watch_that_ends_while_the_jobs_enter_it_loses_none(self, connected, batch, monkeypatch):
        async def run(self: poller.QueuePoller) -> None:
            self._retire()
            await self.waiters.judge(self.waiters.all(), poller._always(End("unreachable", "it broke")))

        monkeypatch.setattr(poller.QueuePoller, "_run", run)
        monkeypatch.setattr(registry, "STEP", 1)

        event = await told_by(batch(["a", "b", "c"]))

        assert event["status"] == "unreachable"
        assert event["message"] == "it broke"

    async def test_whatever_goes_wrong(self, connected, batch, monkeypatch):
        async def wait_for_all(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("no such https://f.example/a?X-Signature=s")

        monkeypatch.setattr(registry, "wait_for_all", wait_for_all)

        event = await told_by(batch(["a"]))

        assert event["status"] == "unreachable"
        assert event["message"] == "ZeroDivisionError: no such https://f.example/a"


class TestRecord:
    """Where the record cannot be read, the task is told why, and that it has to look itself."""

    async def test_record_that_is_not_there(self, connected, batch, tmp_path, logged):
        trigger = batch(["a"])
        (tmp_path / NAME).unlink()

        event = await told_by(trigger)

        assert event["status"] == "unreachable"
        assert event["ended"] == 0
        assert event["message"] == (
            "The triggerer does not know which generations to wait for. The record of the batch, "
            f"{tmp_path.as_uri()}/{NAME}, is not there. Put storage_path where the triggerer can read it: "
            "in object storage, or on a shared disk. The generations continue and may have been paid for: "
            "the task looks for them itself."
        )
        assert str(logged).count("is not there. Reading it again in 0 s.") >= 2
        assert connected.requests() == []

    async def test_folder_that_the_triggerer_does_not_have(self, connected):
        event = await told_by(OxenBatchTrigger(NAME, "/no/such/folder", IDENTITY, 3))

        assert event["status"] == "unreachable"
        assert "is not there. Put storage_path where the triggerer can read it" in event["message"]

    async def test_record_that_comes_to_be_seen_a_moment_later(
        self, connected, orders, batch, tmp_path, monkeypatch
    ):
        connected.settings.latency = 0
        trigger = batch(orders(2))
        (tmp_path / NAME).rename(tmp_path / "later")
        read, reads = records.read_waiting, []

        def reading(*given: Any) -> Any:
            reads.append(given)
            if len(reads) == 2:
                (tmp_path / "later").rename(tmp_path / NAME)
            return read(*given)

        monkeypatch.setattr(records, "read_waiting", reading)

        assert (await told_by(trigger))["status"] == "ended"
        assert len(reads) == 2

    async def test_damaged_record(self, connected, batch, tmp_path):
        trigger = batch(["a", "b"])
        (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:-10])

        event = await told_by(trigger)

        assert event["status"] == "unreachable"
        assert "is damaged: line 3 is not JSON. The generations continue" in event["message"]
        assert connected.requests() == []

    async def test_record_of_another_batch(self, connected, batch):
        event = await told_by(batch(["a"], identity="6f" * 32))

        assert event["status"] == "unreachable"
        assert "belongs to another batch" in event["message"]

    async def test_record_that_does_not_tell_what_the_task_told(self, connected, batch):
        event = await told_by(batch(["a", "b"], jobs=3))

        assert event["status"] == "unreachable"
        assert "lists 2 generations to wait for, but the task submitted 3." in event["message"]
        assert connected.requests() == []

    async def test_store_whose_driver_is_missing(self, connected):
        event = await told_by(OxenBatchTrigger(NAME, "gs://bucket/out", IDENTITY, 3))

        assert event["status"] == "unreachable"
        assert "pip install 'apache-airflow-providers-google' 'gcsfs>=2024.12'." in event["message"]

    async def test_record_in_a_store_that_airflow_opens(self, connected, orders, batch, tmp_path):
        connected.settings.latency = 0

        assert (await told_by(batch(orders(2), folder=tmp_path.as_uri())))["status"] == "ended"

    async def test_store_that_hangs_is_given_up(self, connected, batch, monkeypatch):
        hanging = threading.Event()
        monkeypatch.setattr(records, "read_waiting", lambda *_: hanging.wait(20))
        monkeypatch.setattr(records, "_READING", 5 * TICK)
        try:
            event = await told_by(batch(["a"]))
        finally:
            hanging.set()

        assert event["status"] == "unreachable"
        assert f"{NAME}, could not be read in 0.1 seconds." in event["message"]

    async def test_store_that_hangs_takes_no_thread_that_others_need(self, connected, batch, monkeypatch):
        hanging, begun = threading.Event(), []

        def read_waiting(*given: Any) -> None:
            begun.append(given)
            hanging.wait(20)

        monkeypatch.setattr(records, "read_waiting", read_waiting)
        running = [asyncio.create_task(events(batch(["a"]))) for _ in range(40)]
        try:
            await until(lambda: len(begun) == records._READERS)
            async with asyncio.timeout(5):
                await asyncio.to_thread(time.time)
        finally:
            hanging.set()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def test_store_can_ask_on_the_triggerers_own_loop(self, connected, batch, monkeypatch):
        # As Airflow 3.0 and 3.1 ask for a connection.
        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        seen: list[Any] = []

        def read_waiting(*_: Any) -> dict[str | None, list[str]]:
            seen.append(async_to_sync(loop)())
            return {}

        monkeypatch.setattr(records, "read_waiting", read_waiting)

        assert (await told_by(batch([])))["status"] == "ended"
        assert seen == [asyncio.get_running_loop()]


class TestSharing:
    """All who wait in a process for one connection and namespace ask together, and harm no other."""

    async def test_batches_and_single_jobs_share_one_list_request_a_tick(self, connected, orders, batch):
        triggers = [
            batch(orders(20), record=".batch-1.jsonl"),
            batch(orders(20), record=".batch-2.jsonl"),
            *(OxenGenerationTrigger(id, poll_interval=TICK) for id in orders(3)),
        ]
        running = [asyncio.create_task(events(trigger)) for trigger in triggers]
        await until(lambda: len(waited_for()) == 43)
        await ticks(connected, 1)
        before, start = asked(connected), time.monotonic()
        await asyncio.sleep(10 * TICK)

        assert asked(connected) - before <= (time.monotonic() - start) / TICK + 1
        finish(connected)
        told = await asyncio.gather(*running)
        assert [event["status"] for [event] in told] == ["ended"] * 2 + ["succeeded"] * 3

    async def test_cancelling_it_is_no_event_cancels_no_job_and_harms_no_other(
        self, connected, orders, batch
    ):
        ids = orders(4)
        one = batch(ids[:3], record=".batch-1.jsonl")
        other = asyncio.create_task(told_by(batch(ids[2:], record=".batch-2.jsonl")))
        task = asyncio.create_task(events(one))
        await until(lambda: len(waited_for()) == 4)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waited_for() == ids[2:]
        await one.cleanup()

        await ticks(connected)
        assert {job["status"] for job in connected.jobs()} == {"processing"}
        finish(connected)
        assert (await other)["ended"] == 2
        assert {seen["method"] for seen in connected.requests()} == {"POST", "GET"}

    async def test_cancelling_it_while_its_jobs_enter_leaves_none_behind(
        self, connected, orders, batch, monkeypatch
    ):
        monkeypatch.setattr(registry, "STEP", 1)
        task = asyncio.create_task(events(batch(orders(50))))
        async with asyncio.timeout(10):
            while not waited_for():
                await asyncio.sleep(0)
        assert len(waited_for()) < 50

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert waited_for() == []

    async def test_beginning_to_wait_for_many_leaves_the_loop_its_turns(
        self, connected, orders, batch, monkeypatch
    ):
        monkeypatch.setattr(registry, "STEP", 5)
        task = asyncio.create_task(events(batch(orders(20))))
        seen: list[int] = []
        async with asyncio.timeout(10):
            while not seen or seen[-1] < 20:
                await asyncio.sleep(0)
                seen.append(len(waited_for()))

        assert set(seen) - {0} == {5, 10, 15, 20}
        finish(connected)
        await task

    async def test_it_makes_no_task_for_each_job(self, connected, orders, batch):
        task = asyncio.create_task(events(batch(orders(50))))
        await until(lambda: len(waited_for()) == 50)

        # The trigger, its poller and the stream, with what connects them.
        assert len(asyncio.all_tasks()) <= 10
        finish(connected)
        await task


class TestProgress:
    """People see how far it is, and are not told too often."""

    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    @pytest.fixture
    def tell(self, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[float, int], None]:
        """Look at a batch of 10,000 at so many seconds, when so many have ended."""

        class Log:
            def info(self, message: str, *given: Any) -> None:
                lines.append(message % given)

        now = [0.0]
        monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: now[0]))
        voice = batches._ProgressLog(Log())

        class Tally:
            jobs = 10_000
            ended = 0

        def tell(seconds: float, ended: int) -> None:
            now[0], Tally.ended = seconds, ended
            voice(Tally())  # type: ignore[arg-type]

        return tell

    def test_each_twentieth_has_a_line(self, tell, lines):
        for seconds, ended in ((10, 499), (20, 500), (30, 999), (40, 1_200), (50, 7_200)):
            tell(seconds, ended)

        assert lines == [
            "500 of 10,000 generations of the batch have ended.",
            "1,200 of 10,000 generations of the batch have ended.",
            "7,200 of 10,000 generations of the batch have ended.",
        ]

    def test_slow_batch_has_a_line_each_minute(self, tell, lines):
        for seconds in range(10, 200, 10):
            tell(seconds, seconds)

        assert lines == [
            f"{ended} of 10,000 generations of the batch have ended." for ended in (60, 120, 180)
        ]

    def test_nothing_new_is_no_line(self, tell, lines):
        for seconds in range(10, 1_000, 10):
            tell(seconds, 0)

        assert lines == []

    async def test_lines_stand_in_the_triggers_log(self, connected, orders, batch, monkeypatch, logged):
        monkeypatch.setattr(batches, "_LOG_EVERY", TICK)
        quick = orders(3)
        finish(connected)
        running = asyncio.create_task(told_by(batch(quick + orders(1))))

        await until(lambda: "3 of 4 generations of the batch have ended." in str(logged))

        assert "Waiting for 4 generations of the batch." in str(logged)
        finish(connected)
        await running

    async def test_no_line_comes_sooner_than_ten_seconds(self, connected, orders, batch, logged):
        quick = orders(3)
        finish(connected)
        running = asyncio.create_task(told_by(batch(quick + orders(1))))
        await ticks(connected, 5)
        finish(connected)
        await running

        assert batches._LOG_EVERY == 10
        assert "have ended." not in str(logged)


class TestKill:
    async def test_jobs_go_on(self, connected, orders, batch, logged):
        trigger = batch(orders(2))

        await rebuilt(trigger).on_kill()

        assert {job["status"] for job in connected.jobs()} == {"processing"}
        assert (
            "2 generations of the batch continue and may be paid for; the task's next try finds them."
            in str(logged)
        )
