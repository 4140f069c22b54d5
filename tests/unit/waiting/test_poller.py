"""The shared watch: one list a tick for all, every end told, and nobody harmed by another."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api import body, bulk, queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from airflow_provider_oxen.waiting import asking, poller, registry, waiters
from airflow_provider_oxen.waiting.polling import LINKLESS, TOLERATED, Poll

KEY = "key-that-must-not-leak"
TICK = 0.02

Order = Callable[..., list[str]]


class Hook:
    """A connection to the hub.

    :ivar reads: how often it was read for those who wait.
    """

    def __init__(self, hub: LocalHub, conn_id: str = "oxen_default", **settings: Any) -> None:
        self.oxen_conn_id = conn_id
        self.reads = 0
        self.given = {"base_url": hub.url, "api_key": KEY, "max_retries": 0, **settings}

    async def asettings(self) -> Settings:
        # The stream reads it by itself, each time that it is opened.
        task = asyncio.current_task()
        self.reads += task is not None and not task.get_name().startswith("oxen-events")
        await asyncio.sleep(0)
        return Settings(**self.given)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Jobs that are not told otherwise take longer than any test.
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16), latency=3600)) as running:
        yield running


@pytest.fixture
def hook(hub: LocalHub) -> Hook:
    return Hook(hub)


@pytest.fixture
def order(hub: LocalHub) -> Order:
    """Put jobs into the queue and return their ids."""

    def order(number: int = 1, **parameters: Any) -> list[str]:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube", **parameters)
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]

    return order


@pytest.fixture(autouse=True)
def _key_is_not_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[bulk.BulkClient]:
    """The clients that watches have made."""
    made: list[bulk.BulkClient] = []

    class Client(bulk.BulkClient):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings)
            made.append(self)

    monkeypatch.setattr(poller, "BulkClient", Client)
    return made


def finish(hub: LocalHub) -> None:
    """Let all jobs end."""
    hub.settings.clock_ahead += 7200


def wait(
    hook: Any, id: str, *, namespace: str | None = None, interval: float = TICK, **poll: Any
) -> asyncio.Task[End]:
    return asyncio.create_task(
        registry.wait(hook, id, namespace=namespace, interval=interval, poll=Poll(**poll)), name=id
    )


def asked(hub: LocalHub, path: str = "/api/ai/queue") -> int:
    return sum(seen["method"] == "GET" and seen["path"] == path for seen in hub.requests())


def rows_asked(hub: LocalHub) -> int:
    return sum(
        seen["method"] == "GET" and seen["path"].startswith("/api/ai/queue/") for seen in hub.requests()
    )


async def ticks(hub: LocalHub, number: int = 3) -> None:
    """Return after so many lists from now on."""
    wanted = asked(hub) + number
    await until(lambda: asked(hub) >= wanted)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(TICK / 4)


def watches() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("oxen-poller")]


class TestEnds:
    """What becomes of a job is told as it is."""

    async def test_success(self, hub, hook, order):
        [id] = order()
        waiting = wait(hook, id)
        await ticks(hub)
        assert not waiting.done()
        finish(hub)

        assert await waiting == End("succeeded")
        assert rows_asked(hub) == 1

    async def test_failure_with_the_hubs_reason(self, hub, hook, order):
        hub.fail(Fault(on="enqueue", kind="fails", message="the GPU caught fire"))
        [id] = order()
        finish(hub)

        assert await wait(hook, id) == End("failed", "the GPU caught fire")

    async def test_reason_is_told_without_key_and_signature(self, hub, hook, order):
        hub.fail(Fault(on="enqueue", kind="fails", message=f"{KEY} https://f.example/a.png?sig=secret"))
        [id] = order()
        finish(hub)

        end = await wait(hook, id)

        assert "https://f.example/a.png" in end.message
        assert KEY not in end.message
        assert "secret" not in end.message

    async def test_cancelled(self, hub, hook, order):
        [id] = order()
        waiting = wait(hook, id)
        await ticks(hub, 1)
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            client.send(queue.cancel(id))

        assert (await waiting).status == "cancelled"

    async def test_unknown_id_is_looked_for_some_times(self, hub, hook):
        end = await wait(hook, "nobody-knows")

        assert end.status == "unknown"
        assert "Generation not found: nobody-knows" in end.message
        assert rows_asked(hub) == TOLERATED

    async def test_id_that_is_known_a_moment_later_is_waited_for(self, hub, hook, order):
        hub.settings.detail_delay, hub.settings.latency = 0.3, 0
        [id] = order()

        assert await wait(hook, id, not_found_until=time.time() + 60) == End("succeeded")

    async def test_finished_without_a_link_is_looked_at_some_times(self, hub, hook, order):
        hub.fail(Fault(on="enqueue", kind="without_url"))
        [id] = order()
        finish(hub)

        assert (await wait(hook, id)).status == "succeeded"
        assert rows_asked(hub) == LINKLESS

    async def test_deadline(self, hub, hook, order):
        [id] = order()

        assert await wait(hook, id, deadline=time.time() + 3 * TICK) == End("timed_out")

    async def test_deadline_holds_however_long_the_hub_takes(self, hub, hook, order, monkeypatch):
        monkeypatch.setattr(waiters, "LAST", 0.02)
        hub.fail(Fault(on="queue", kind="hold", seconds=60, times=None))
        [id] = order()

        # Well before the request itself would be given up.
        async with asyncio.timeout(10):
            assert await wait(hook, id, deadline=time.time() + 3 * TICK) == End("timed_out")

    async def test_deadline_between_two_looks_is_that_of_the_last(self, hub, hook, order):
        one, other = order(2)
        waiting = wait(hook, one, interval=3600, deadline=time.time() + 0.2)
        finish(hub)

        assert await waiting == End("succeeded")
        assert await wait(hook, other, interval=3600, deadline=time.time() + 0.01) == End("succeeded")

    async def test_late_one_is_looked_for_once_if_that_is_told_in_time(self, hub, hook, order, monkeypatch):
        [id] = order()
        assert await wait(hook, id, deadline=1.0) == End("timed_out")
        assert asked(hub) == 1

        monkeypatch.setattr(waiters, "LOOK", 0.02)
        hub.fail(Fault(on="queue", kind="hold", seconds=60, times=None))
        async with asyncio.timeout(10):
            assert await wait(hook, id, deadline=1.0) == End("timed_out")

    async def test_clock_that_is_set_back_gives_more_time(self, hub, hook, order, monkeypatch):
        """Told as it is: when it begins, at the deadline, and when the last look is late."""
        times = [10.0, 10.04, 10.04, 10.1, 10.04, 10.04, 10.1]
        clock = SimpleNamespace(time=lambda: times.pop(0) if len(times) > 1 else times[0])
        for module in (poller, waiters):
            monkeypatch.setattr(module, "time", clock)
        for name in ("LAST", "LOOK"):
            monkeypatch.setattr(waiters, name, 0.01)
        hub.fail(Fault(on="queue", kind="hold", seconds=60, times=None))
        [id] = order()

        waiting = wait(hook, id, interval=3600, deadline=10.05)

        async with asyncio.timeout(10):
            assert await waiting == End("timed_out")
        assert times == [10.1]

    async def test_job_that_is_in_no_list_is_asked_for_by_its_row(self, hub, hook, order):
        hub.settings.list_delay = 1_000_000
        [id] = order()
        waiting = wait(hook, id)
        await until(lambda: rows_asked(hub) > 1)
        assert not waiting.done()
        finish(hub)

        assert await waiting == End("succeeded")

    async def test_two_who_wait_for_the_same_job_are_both_told(self, hub, hook, order):
        [id] = order()
        first, second = wait(hook, id), wait(hook, id)
        await ticks(hub, 1)
        finish(hub)

        assert list(await asyncio.gather(first, second)) == [End("succeeded")] * 2
        assert rows_asked(hub) == 1


class TestTrouble:
    """Five failed looks in a row are waited out; what asking again does not mend ends the wait at once."""

    async def test_five_failed_lists_are_waited_out(self, hub, hook, order):
        hub.settings.latency = 0
        hub.fail(Fault(on="queue", kind="status", status=500, times=TOLERATED))
        [id] = order()

        assert await wait(hook, id) == End("succeeded")
        # The watch may have looked once more meanwhile.
        assert asked(hub) in (TOLERATED + 1, TOLERATED + 2)

    async def test_sixth_failed_list_in_a_row_tells_everybody(self, hub, hook, order):
        hub.fail(Fault(on="queue", kind="status", status=502, times=None))

        ends = await asyncio.gather(*(wait(hook, id) for id in order(3)))

        assert {end.status for end in ends} == {"unreachable"}
        assert "HTTP 502" in ends[0].message
        assert asked(hub) == TOLERATED + 1

    async def test_list_that_is_read_makes_up_for_those_that_were_not(self, hub, hook, order):
        [id] = order()
        waiting = wait(hook, id)

        for _ in range(3):
            hub.fail(Fault(on="queue", kind="drop_before", times=TOLERATED))
            await ticks(hub, TOLERATED + 1)

        assert not waiting.done()
        finish(hub)
        assert await waiting == End("succeeded")

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(on="job", kind="status", status=500),
            Fault(on="job", kind="status", status=429, headers={"Retry-After": "0"}),
            Fault(on="job", kind="drop_before"),
            Fault(on="job", kind="broken_json"),
            Fault(on="job", kind="empty"),
            Fault(on="queue", kind="broken_json"),
            Fault(on="queue", kind="error_in_200"),
            Fault(on="queue", kind="html"),
            Fault(on="queue", kind="empty"),
        ],
        ids=lambda fault: f"{fault.on}_{fault.kind}_{fault.status}",
    )
    async def test_passing_trouble_is_waited_out(self, hub, hook, order, fault):
        hub.settings.latency = 0
        hub.fail(fault)
        [id] = order()

        assert await wait(hook, id) == End("succeeded")

    async def test_row_that_cannot_be_had_ends_the_wait_for_that_job_only(self, hub, hook, order):
        hub.settings.list_delay = 1_000_000
        [lost] = order()
        hub.settings.list_delay = 0
        hub.fail(Fault(on="job", kind="status", status=500, times=None))
        [listed] = order()
        hub.settings.latency, waiting = 0, wait(hook, listed)

        end = await wait(hook, "not-in-the-list")

        assert end.status == "unreachable"
        assert not waiting.done()
        assert lost != listed

    async def test_wrong_key_ends_all_waits_at_once(self, hub, order):
        hook = Hook(hub, api_key="another-key-that-must-not-leak")

        ends = await asyncio.gather(*(wait(hook, id) for id in order(3)))

        assert {end.status for end in ends} == {"unreachable"}
        assert "The API key is missing or wrong" in ends[0].message
        assert "another-key" not in ends[0].message
        assert asked(hub) == 1

    async def test_hub_that_restarts_is_waited_for(self, hub, hook, order):
        [id] = order()
        waiting = wait(hook, id)
        await ticks(hub, 1)

        await asyncio.to_thread(hub.restart)

        await ticks(hub, 1)
        finish(hub)
        assert await waiting == End("succeeded")

    async def test_slow_answer_about_one_job_holds_up_no_other(self, hub, hook, order):
        hub.fail(Fault(on="job", kind="hold", seconds=60))
        slow, quick = order(2)
        waiting = wait(hook, slow)
        await ticks(hub, 1)
        finish(hub)
        await until(lambda: rows_asked(hub))

        assert await wait(hook, quick) == End("succeeded")
        assert not waiting.done()

    async def test_ca_bundle_that_cannot_be_read_is_told_to_all(self, hub, tmp_path):
        hook = Hook(hub, verify=str(tmp_path / "gone.pem"))

        ends = await asyncio.gather(wait(hook, "a"), wait(hook, "b"))

        assert {end.status for end in ends} == {"unreachable"}
        assert "The CA bundle" in ends[0].message

    async def test_broken_watch_wakes_everybody_with_the_truth(self, hub, hook, order, monkeypatch):
        async def tick(*_: Any) -> None:
            raise TypeError("no such https://f.example/a.png?sig=secret")

        monkeypatch.setattr(poller.QueuePoller, "_tick", tick)

        ends = await asyncio.gather(*(wait(hook, id) for id in order(3)))

        assert {end.status for end in ends} == {"unreachable"}
        assert "TypeError: no such https://f.example/a.png" in ends[0].message
        assert "secret" not in ends[0].message

    async def test_broken_look_wakes_who_waits_for_that_job(self, hub, hook, order, monkeypatch):
        def get_generation(id: str) -> None:
            raise TypeError("no such thing")

        monkeypatch.setattr(queue, "get_generation", get_generation)
        [id] = order()
        finish(hub)

        end = await wait(hook, id)

        assert end.status == "unreachable"
        assert "TypeError: no such thing" in end.message

    async def test_cancelled_watch_wakes_everybody(self, hub, hook, order):
        waiting = [wait(hook, id) for id in order(2)]
        await ticks(hub, 1)

        [task] = watches()
        task.cancel()

        assert {end.status for end in await asyncio.gather(*waiting)} == {"unreachable"}


class TestSharing:
    """All who wait in this process for one connection and namespace ask together."""

    async def test_one_list_request_a_tick_serves_all(self, hub, hook, order, clients):
        waiting = [wait(hook, id) for id in order(40)]
        await ticks(hub, 1)
        before, start = asked(hub), time.monotonic()
        await asyncio.sleep(10 * TICK)

        assert asked(hub) - before <= (time.monotonic() - start) / TICK + 1
        assert rows_asked(hub) == 0
        finish(hub)
        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}
        assert rows_asked(hub) == 40
        assert len(clients) == 1

    async def test_connection_is_read_once_for_all(self, hub, hook, order):
        hub.settings.latency = 0

        await asyncio.gather(*(wait(hook, id) for id in order(5)))
        await wait(hook, order()[0])

        assert hook.reads == 1

    async def test_connection_is_read_again_when_it_is_no_longer_fresh(self, hub, hook, order, monkeypatch):
        monkeypatch.setattr(registry, "FRESH", 0)
        hub.settings.latency = 0

        await wait(hook, order()[0])
        await wait(hook, order()[0])

        assert hook.reads == 2

    async def test_connection_that_cannot_be_read_is_told_and_read_again(self, hub, hook, order, monkeypatch):
        hub.settings.latency = 0
        good = hook.asettings

        async def bad() -> Settings:
            raise OxenSettingsError("what a host")

        monkeypatch.setattr(hook, "asettings", bad)
        failed = await asyncio.gather(wait(hook, "a"), wait(hook, "b"), return_exceptions=True)
        monkeypatch.setattr(hook, "asettings", good)

        assert [getattr(error, "message", None) for error in failed] == ["what a host"] * 2
        assert await wait(hook, order()[0]) == End("succeeded")

    async def test_who_is_cancelled_while_the_connection_is_read_leaves_the_others(self, hub, hook, order):
        hub.settings.latency = 0
        [id] = order()
        first, second = wait(hook, "a"), wait(hook, id)
        await asyncio.sleep(0)

        first.cancel()

        assert await second == End("succeeded")
        assert hook.reads == 1

    async def test_one_cancelled_waiter_leaves_the_others(self, hub, hook, order):
        one, *others = [wait(hook, id) for id in order(5)]
        await ticks(hub, 1)

        one.cancel()

        await ticks(hub, 2)
        finish(hub)
        assert set(await asyncio.gather(*others)) == {End("succeeded")}
        assert one.cancelled()

    async def test_job_that_nobody_waits_for_any_more_is_not_asked_for(self, hub, hook, order, monkeypatch):
        monkeypatch.setattr(asking, "AT_ONCE", 1)
        hub.fail(Fault(on="job", kind="hold", seconds=0.3))
        waiting = [wait(hook, id) for id in order(3)]
        await ticks(hub, 1)
        finish(hub)
        await until(lambda: rows_asked(hub))

        asked = [seen["path"] for seen in hub.requests() if "/queue/" in seen["path"]][-1]
        next(task for task in waiting if not asked.endswith(task.get_name())).cancel()

        await asyncio.gather(*waiting, return_exceptions=True)
        assert rows_asked(hub) == 2

    async def test_another_namespace_or_connection_has_a_watch_of_its_own(self, hub, hook, order):
        finish(hub)
        hub.settings.latency = 0
        another = Hook(hub, "another")
        waiting = [
            wait(hook, order()[0]),
            wait(another, order()[0]),
            wait(hook, order(target_namespace="local-org")[0], namespace="local-org"),
        ]

        await until(lambda: len(watches()) == 3)

        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}

    async def test_connections_own_namespace_is_asked_for(self, hub, order):
        hook = Hook(hub, target_namespace="local-org")
        waiting = wait(hook, order(target_namespace="local-org")[0])
        await ticks(hub, 3)

        assert not waiting.done()
        assert rows_asked(hub) == 0
        assert next(
            seen for seen in hub.requests() if seen["path"] == "/api/ai/queue" and seen["method"] == "GET"
        )["query_keys"] == ["namespace"]

    async def test_changed_settings_have_a_watch_of_their_own(self, hub, hook, order, monkeypatch):
        monkeypatch.setattr(registry, "FRESH", 0)
        waiting = [wait(hook, order()[0])]
        await ticks(hub, 1)
        hook.given["timeout"] = 17
        waiting.append(wait(hook, order()[0]))

        await until(lambda: len(watches()) == 2)

        finish(hub)
        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}

    async def test_shortest_interval_sets_the_pace(self, hub, hook, order):
        patient, hasty = order(2)
        waiting = wait(hook, patient, interval=3600)
        await until(watches)
        await asyncio.sleep(TICK)
        assert asked(hub) == 0
        finish(hub)

        async with asyncio.timeout(10):
            assert await wait(hook, hasty, interval=TICK) == End("succeeded")
            assert await waiting == End("succeeded")

    async def test_wait_of_no_seconds_is_no_busy_loop(self, hub, hook, order):
        waiting = wait(hook, order()[0], interval=0)
        await asyncio.sleep(20 * poller.SHORTEST)

        assert 1 <= asked(hub) <= 21
        assert not waiting.done()

    async def test_watch_logs_into_no_task(self, hub, hook, order, monkeypatch):
        from contextvars import ContextVar

        task_log: ContextVar[str] = ContextVar("task_log", default="nobody's")
        seen: list[str] = []
        tick = poller.QueuePoller._tick

        async def noting(self: poller.QueuePoller, client: Any) -> None:
            seen.append(task_log.get())
            await tick(self, client)

        monkeypatch.setattr(poller.QueuePoller, "_tick", noting)
        hub.settings.latency = 0
        task_log.set("the first one's")
        await wait(hook, order()[0])

        assert set(seen) == {"nobody's"}


class TestLife:
    """A watch lives while somebody waits, and a tick longer."""

    async def test_last_waiter_closes_it(self, hub, hook, order, clients):
        hub.settings.latency = 0
        await wait(hook, order()[0])
        assert watches()

        await until(lambda: not watches())

        [client] = clients
        assert client.http.is_closed
        assert not registry.current().pollers

    async def test_it_asks_nothing_while_nobody_waits(self, hub, hook, order):
        hub.settings.latency = 0
        await wait(hook, order()[0])
        before = len(hub.requests())

        await until(lambda: not watches())

        # A look may be under way when the last one leaves, on a busy machine.
        assert len(hub.requests()) <= before + 1

    async def test_who_comes_within_a_tick_finds_it_still_there(self, hub, hook, order, clients):
        hub.settings.latency = 0
        for _ in range(3):
            await wait(hook, order()[0])

        assert len(clients) == 1

    async def test_who_comes_later_begins_another(self, hub, hook, order, clients):
        hub.settings.latency = 0
        await wait(hook, order()[0])
        await until(lambda: not watches())

        assert await wait(hook, order()[0]) == End("succeeded")
        assert len(clients) == 2

    async def test_open_questions_end_with_it(self, hub, hook, order, clients):
        hub.fail(Fault(on="job", kind="hold", seconds=60))
        waiting = wait(hook, order()[0])
        await ticks(hub, 1)
        finish(hub)
        await until(lambda: rows_asked(hub))

        waiting.cancel()
        await until(lambda: not watches())

        assert asyncio.all_tasks() == {asyncio.current_task()} | {waiting} - {waiting}
        assert clients[0].http.is_closed

    async def test_fork_drops_it(self, hub, hook, order, monkeypatch, clients):
        first = wait(hook, order()[0])
        await ticks(hub, 1)
        monkeypatch.setattr(os, "getpid", lambda: -1)

        second = wait(hook, order()[0])

        await until(lambda: len(watches()) == 2)
        finish(hub)
        assert list(await asyncio.gather(first, second)) == [End("succeeded")] * 2
        await until(lambda: not watches())
        assert len(clients) == 2

    @pytest.mark.usefixtures("own_garbage")
    def test_loop_that_is_gone_is_forgotten(self, hub, hook, order):
        hub.settings.latency = 0
        loop = asyncio.new_event_loop()
        gone = weakref.ref(loop)
        [id] = order()
        loop.run_until_complete(registry.wait(hook, id, namespace=None, interval=TICK, poll=Poll()))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

        del loop, task
        gc.collect()

        assert gone() is None


class TestManyAtOnce:
    """Where many leave the list at once, or it is too long to be read, pages of the history are read."""

    @pytest.fixture(autouse=True)
    def _few_are_many(self, monkeypatch):
        monkeypatch.setattr(poller, "PAGES_FROM", 4)
        monkeypatch.setattr(queue, "PAGE_SIZE", 8)

    async def test_many_that_leave_at_once_are_read_from_the_history(self, hub, hook, order, caplog):
        waiting = [wait(hook, id) for id in order(8)]
        await ticks(hub, 1)
        finish(hub)

        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}
        assert asked(hub, "/api/ai/generations") == 1
        assert rows_asked(hub) == 0
        assert "8 generations are not in the queue's list: reading the history's pages." in caplog.text

    async def test_every_page_is_read_while_many_are_missing(self, hub, hook, order):
        waiting = [wait(hook, id) for id in order(20)]
        await ticks(hub, 1)
        finish(hub)

        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}
        # 8, 8, and the 4 that are left are few.
        assert asked(hub, "/api/ai/generations") == 2
        assert rows_asked(hub) == 4

    async def test_those_the_history_does_not_know_are_asked_for_one_by_one(self, hub, hook, order):
        hub.settings.latency = 0
        known = order(3)

        ends = await asyncio.gather(*(wait(hook, id) for id in (*known, *"abcdef")))

        assert [end.status for end in ends] == ["succeeded"] * 3 + ["unknown"] * 6

    async def test_history_that_cannot_be_read_is_a_failed_look(self, hub, hook, order):
        hub.settings.latency = 0
        hub.fail(Fault(on="history", kind="status", status=500, times=2))

        ends = await asyncio.gather(*(wait(hook, id) for id in order(8)))

        assert set(ends) == {End("succeeded")}
        assert rows_asked(hub) == 0

    async def test_history_that_cannot_be_read_harms_no_job_that_is_listed(self, hub, hook, order):
        running = wait(hook, order()[0])
        await ticks(hub, 1)
        hub.settings.latency = 0
        hub.fail(Fault(on="history", kind="status", status=500, times=None))

        ends = await asyncio.gather(*(wait(hook, id) for id in order(8)))

        assert {end.status for end in ends} == {"unreachable"}
        assert not running.done()
        finish(hub)
        assert await running == End("succeeded")

    async def test_page_that_is_too_long_is_left_for_the_rows(self, hub, hook, order, monkeypatch):
        hub.settings.latency = 0
        monkeypatch.setattr(body, "MAX_FREE_BYTES", 2_000)

        ends = await asyncio.gather(*(wait(hook, id) for id in order(8)))

        assert set(ends) == {End("succeeded")}
        assert rows_asked(hub) == 8

    async def test_list_that_is_too_long_is_left_for_the_history(self, hub, hook, order, caplog, monkeypatch):
        monkeypatch.setattr(body, "MAX_FREE_BYTES", 5_000)
        waiting = [wait(hook, id) for id in order(20)]
        await until(lambda: asked(hub, "/api/ai/generations") > 9)
        assert not any(task.done() for task in waiting)
        finish(hub)

        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}
        assert asked(hub) == 1
        assert caplog.text.count("The queue's list is longer than what is read of one answer") == 1

    async def test_list_that_was_too_long_is_tried_again(self, hub, hook, order, caplog, monkeypatch):
        monkeypatch.setattr(asking, "LIST_AGAIN", 2 * TICK)
        monkeypatch.setattr(body, "MAX_FREE_BYTES", 5_000)
        waiting = [wait(hook, id) for id in order(20)]
        await ticks(hub, 3)
        monkeypatch.setattr(body, "MAX_FREE_BYTES", 50_000)
        await ticks(hub, 1)
        before = asked(hub, "/api/ai/generations")
        await ticks(hub, 2)

        assert asked(hub, "/api/ai/generations") <= before + 2
        assert caplog.text.count("The queue's list is longer") == 1
        assert not any(task.done() for task in waiting)

    async def test_waking_many_leaves_the_loop_its_turn(self, hub, hook, order, monkeypatch):
        monkeypatch.setattr(waiters, "STEP", 1)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        waiting = [wait(hook, id) for id in order(8)]
        await ticks(hub, 1)
        seen: list[int] = []
        for task in waiting:
            task.add_done_callback(lambda _: seen.append(turns))
        turning = asyncio.create_task(other())
        finish(hub)
        await asyncio.gather(*waiting)
        turning.cancel()

        assert len(set(seen)) == 8
