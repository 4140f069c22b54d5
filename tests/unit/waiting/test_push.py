"""The stream of events wakes who waits, and spares the list; whatever it tells, the rows decide."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.bulk import BulkClient
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenServerError
from airflow_provider_oxen.api.events import read_message
from airflow_provider_oxen.api.models import GenerateRequest, Generation
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.sse import Message
from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from airflow_provider_oxen.waiting import listener, poller, registry, trust, wakeups
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.follower import Filter, GenerationFollower
from airflow_provider_oxen.waiting.polling import LINKLESS, TOLERATED, Poll
from airflow_provider_oxen.waiting.registry import KnownConnection
from airflow_provider_oxen.waiting.wakeups import Wakeups

KEY = "key-that-must-not-leak"
TICK = 0.02
NEVER = 3600.0

Order = Callable[..., list[str]]


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Jobs that are not told otherwise take longer than any test.
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16), latency=3600)) as running:
        yield running


@pytest.fixture
def connection(hub: LocalHub) -> KnownConnection:
    return KnownConnection("oxen_default", Settings(base_url=hub.url, api_key=KEY, max_retries=0))


@pytest.fixture
def order(hub: LocalHub) -> Order:
    """Put jobs into the queue and return their ids."""

    def order(number: int = 1, latency: float = 3600, **parameters: Any) -> list[str]:
        hub.settings.latency = latency
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube", **parameters)
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]

    return order


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "GATHER", 0.01)
    monkeypatch.setattr(listener, "FIRST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    text = "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
    assert KEY not in text
    assert "signature=" not in text


class Stream:
    """A stream that tells what the test wants.

    :ivar opened: how often it was opened.
    """

    def __init__(self) -> None:
        self.opened = 0
        self._told: asyncio.Queue[Generation | None] = asyncio.Queue()

    @asynccontextmanager
    async def __call__(self, client: Any) -> AsyncIterator[AsyncIterator[Generation]]:
        self.opened += 1
        yield self._read()

    async def _read(self) -> AsyncIterator[Generation]:
        while generation := await self._told.get():
            yield generation
        raise OxenServerError("no line came for 45 s")

    def tell(self, *ids: str, status: str = "succeeded", **facts: Any) -> None:
        for id in ids:
            data = {"generation_id": id, "status": status, "media_type": "image", **facts}
            generation = read_message(Message("media_generation_completed", json.dumps(data)))
            assert generation is not None
            self._told.put_nowait(generation)

    def is_read(self) -> bool:
        return self._told.empty()

    def lose(self) -> None:
        self._told.put_nowait(None)


@pytest.fixture
async def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    monkeypatch.setattr(listener, "events", stream)
    return stream


def wait(
    connection: Any, id: str, *, namespace: str | None = None, interval: float = TICK, **poll: Any
) -> asyncio.Task[End]:
    return asyncio.create_task(
        registry.wait(connection, id, namespace=namespace, interval=interval, poll=Poll(**poll)), name=id
    )


def finish_quick(hub: LocalHub) -> None:
    """Let those jobs end that take seconds, and not those that take an hour."""
    hub.settings.clock_ahead += 20


def finish(hub: LocalHub) -> None:
    """Let all jobs end."""
    hub.settings.clock_ahead += 7200


def lists(hub: LocalHub) -> int:
    return sum(seen["method"] == "GET" and seen["path"] == "/api/ai/queue" for seen in hub.requests())


def rows(hub: LocalHub) -> int:
    return sum(
        seen["method"] == "GET" and seen["path"].startswith("/api/ai/queue/") for seen in hub.requests()
    )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(TICK / 4)


async def ticks(hub: LocalHub, number: int = 3) -> None:
    """Return after so many lists from now on."""
    wanted = lists(hub) + number
    await until(lambda: lists(hub) >= wanted)


def the_poller() -> poller.QueuePoller:
    [found] = registry.current().pollers.values()
    return found


async def idle(number: int = 5) -> None:
    """Return after so many ticks at which nothing may have been asked."""
    found = the_poller()
    for _ in range(number):
        began = found._began
        await until(lambda: found._began > began)  # noqa: B023


@pytest.fixture
async def trusted(hub: LocalHub, connection: Any, order: Order, stream: Stream) -> AsyncIterator[str]:
    """A poller that trusts its stream, and one job that it goes on waiting for."""
    [quick], [slow] = order(latency=10), order()
    ended, waiting = wait(connection, quick, interval=NEVER), wait(connection, slow, interval=NEVER)
    await until(lambda: stream.opened)
    finish_quick(hub)
    stream.tell(quick)
    assert await ended == End("succeeded")
    yield slow
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.fixture
async def ticking(hub: LocalHub, connection: Any, order: Order, trusted: str) -> AsyncIterator[None]:
    """The same, with short ticks; the list was read, and will not be for a minute."""
    waiting = wait(connection, trusted)
    await ticks(hub, 1)
    await idle(2)
    yield
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


class TestWaking:
    async def test_an_event_wakes_long_before_the_next_tick(self, hub, connection, order):
        [id] = order()
        waiting = wait(connection, id, interval=NEVER)
        await until(hub.streams)

        finish(hub)

        assert await waiting == End("succeeded")
        assert (lists(hub), rows(hub)) == (0, 1)

    async def test_many_that_end_together_are_read_as_pages(
        self, hub, connection, order, stream, monkeypatch
    ):
        monkeypatch.setattr(poller, "PAGES_FROM", 4)
        jobs = order(8)
        waiting = [wait(connection, id, interval=NEVER) for id in jobs]
        await until(lambda: stream.opened)
        finish(hub)
        stream.tell(*jobs)

        assert set(await asyncio.gather(*waiting)) == {End("succeeded")}
        assert (lists(hub), rows(hub)) == (0, 0)

    async def test_the_row_decides_and_the_link_of_an_event_is_not_used(self, hub, connection, order, stream):
        hub.fail(Fault(on="enqueue", kind="fails", message="the GPU caught fire"))
        [id] = order()
        waiting = wait(connection, id, interval=NEVER)
        await until(lambda: stream.opened)
        finish(hub)

        stream.tell(id, status="succeeded", url="https://f.example/a.png?signature=s")

        assert await waiting == End("failed", "the GPU caught fire")

    async def test_a_hub_without_a_stream_is_polled_without_a_warning(self, hub, connection, order, caplog):
        hub.fail(Fault("status", on="events", status=404, shape="html", times=None))
        waiting = wait(connection, order()[0])
        await ticks(hub)
        finish(hub)

        assert await waiting == End("succeeded")
        assert [item for item in caplog.records if item.levelno >= logging.WARNING] == []


class TestSparingTheList:
    @pytest.mark.usefixtures("trusted")
    async def test_a_trusted_stream_does_for_the_list(self, hub, connection, order, stream, caplog):
        [quick], [slow] = order(latency=10), order()
        first, second = wait(connection, quick), wait(connection, slow)
        await idle()
        assert lists(hub) == 1
        finish_quick(hub)
        stream.tell(quick)
        assert await first == End("succeeded")
        finish(hub)
        stream.tell(slow)

        assert await second == End("succeeded")
        assert lists(hub) == 1
        assert "The hub's event stream works: its list is read only every 60 s." in caplog.text

    @pytest.mark.usefixtures("trusted", "stream")
    async def test_what_is_not_told_is_seen_by_the_list(self, hub, connection, order, monkeypatch):
        monkeypatch.setattr(poller, "RARELY", 0.1)
        [id] = order()
        waiting = wait(connection, id)
        await ticks(hub, 1)
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            client.send(queue.cancel(id))

        assert (await waiting).status == "cancelled"
        # The stream tells no cancellations: that is none of its faults.
        assert the_poller()._trust.holds(time.monotonic() + 60)

    @pytest.mark.usefixtures("ticking", "stream")
    async def test_who_comes_after_the_event_is_looked_at_by_row(self, hub, connection, order):
        [id] = order(latency=0)
        asked = lists(hub), rows(hub)

        assert await wait(connection, id) == End("succeeded")
        assert (lists(hub), rows(hub)) == (asked[0], asked[1] + 1)

    @pytest.mark.usefixtures("ticking", "stream")
    async def test_unknown_id_is_looked_for_some_times(self, hub, connection, order):
        asked = lists(hub), rows(hub)

        assert (await wait(connection, "nobody-knows")).status == "unknown"
        assert (lists(hub), rows(hub)) == (asked[0], asked[1] + TOLERATED)

    @pytest.mark.usefixtures("ticking", "stream")
    async def test_finished_without_a_link_is_looked_at_some_times(self, hub, connection, order):
        hub.fail(Fault(on="enqueue", kind="without_url"))
        [id] = order(latency=0)
        asked = lists(hub), rows(hub)

        assert (await wait(connection, id)).status == "succeeded"
        assert (lists(hub), rows(hub)) == (asked[0], asked[1] + LINKLESS)

    @pytest.mark.usefixtures("ticking", "stream")
    async def test_the_last_look_before_a_deadline_is_at_the_row(self, hub, connection, order):
        asked = lists(hub)
        deadline = time.time() + 0.1

        assert await wait(connection, order()[0], deadline=deadline) == End("timed_out")
        assert lists(hub) == asked

    @pytest.mark.usefixtures("ticking")
    async def test_a_row_that_cannot_be_read_is_asked_for_again(self, hub, connection, order, stream):
        [id] = order()
        waiting = wait(connection, id)
        await idle(2)
        finish(hub)
        hub.fail(Fault(on="job", kind="status", status=500, times=2))
        stream.tell(id)

        assert await waiting == End("succeeded")

    @pytest.mark.usefixtures("trusted")
    async def test_a_stream_that_is_lost_is_no_longer_trusted(self, hub, connection, order, stream, caplog):
        waiting = wait(connection, order()[0])
        await idle()

        stream.lose()

        await ticks(hub)
        assert "its list is read at each poll again" in caplog.text
        await until(lambda: stream.opened == 2)
        # Opened anew, it has to prove itself anew.
        await ticks(hub)
        finish(hub)
        assert await waiting == End("succeeded")


class TestLies:
    """A stream may say what it likes: it costs a look."""

    @pytest.mark.usefixtures("trusted")
    async def test_ids_that_nobody_waits_for_cost_nothing(self, hub, connection, order, stream):
        waiting = wait(connection, order()[0])
        await idle()
        asked = len(hub.requests())

        stream.tell(*(f"id-{number}" for number in range(1_000)), url="https://f.example/?signature=s")

        await idle()
        assert len(hub.requests()) == asked
        waiting.cancel()

    @pytest.mark.usefixtures("ticking")
    async def test_an_end_that_is_none_costs_some_looks(self, hub, connection, order, stream):
        [id] = order()
        waiting = wait(connection, id)
        asked = lists(hub), rows(hub)

        for _ in range(20):
            stream.tell(id)

        await until(lambda: rows(hub) == asked[1] + 1 + poller.PREMATURE)
        stream.tell(id)
        await idle()
        assert (lists(hub), rows(hub)) == (asked[0], asked[1] + 1 + poller.PREMATURE)
        assert not waiting.done()
        waiting.cancel()

    async def test_an_end_that_is_told_before_the_row_shows_it(self, hub, connection, order, stream):
        [id] = order()
        waiting = wait(connection, id, interval=0.2)
        await until(lambda: stream.opened)
        stream.tell(id)
        await until(lambda: rows(hub))

        finish(hub)

        assert await waiting == End("succeeded")

    async def test_an_event_that_is_ahead_of_the_list_is_not_forgotten(self, hub, connection, order, stream):
        """The list that comes between the event and the look shows the job unfinished."""
        [id] = order()
        waiting = wait(connection, id, interval=0.1)
        await until(lambda: stream.opened)
        the_poller()._trust.reported(id, is_waited_for=True)
        the_poller()._urgent.add(id)

        await ticks(hub, 1)

        await until(lambda: rows(hub))
        waiting.cancel()

    @pytest.mark.usefixtures("trusted")
    async def test_one_that_leaves_an_end_out_is_not_trusted_until_it_is_opened_anew(
        self, hub, connection, order, stream, monkeypatch, caplog
    ):
        monkeypatch.setattr(poller, "RARELY", 0.1)
        monkeypatch.setattr(trust, "WITHIN", 0.05)
        [quick], [later], [slow] = order(latency=10), order(latency=100), order()
        left_out, told, waiting = (wait(connection, id) for id in (quick, later, slow))
        judged = the_poller()._trust
        await until(lambda: quick in judged._expected)

        finish_quick(hub)
        assert await left_out == End("succeeded")

        monkeypatch.setattr(poller, "RARELY", 60.0)
        await until(lambda: judged.is_false)
        hub.settings.clock_ahead += 100
        stream.tell(later)
        assert await told == End("succeeded")
        await ticks(hub)
        assert "The hub's event stream is not reliable now" in caplog.text

        stream.lose()
        await until(lambda: stream.opened == 2)
        [another] = order()
        proof = wait(connection, another)
        hub.settings.clock_ahead += 7200
        stream.tell(another)
        assert await proof == End("succeeded")
        assert not judged.is_false
        waiting.cancel()


class TestEnding:
    """anyio may keep a cancellation to itself that comes in the moment in which a connection is made."""

    async def test_a_stream_that_was_cancelled_while_it_connected_ends(self, connection, monkeypatch):
        connecting = asyncio.Event()

        class Deaf(Stream):
            @asynccontextmanager
            async def __call__(self, client: Any) -> AsyncIterator[AsyncIterator[Generation]]:
                connecting.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                yield self._read()

        monkeypatch.setattr(listener, "events", Deaf())
        following = Wakeups(registry.current().listener(connection))
        waiting = asyncio.create_task(anext(following))
        await connecting.wait()

        async with asyncio.timeout(10):
            await following.aclose()

        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("oxen-events")]
        waiting.cancel()

    @pytest.mark.usefixtures("stream")
    async def test_a_poller_that_was_cancelled_while_it_connected_ends(self, connection, monkeypatch):
        connecting = asyncio.Event()

        class Deaf(BulkClient):
            async def send(self, *_: Any, **__: Any) -> Any:
                connecting.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                return frozenset({"a"})

        monkeypatch.setattr(poller, "BulkClient", Deaf)
        waiting = wait(connection, "a")
        await connecting.wait()

        the_poller()._task.cancel()

        async with asyncio.timeout(10):
            assert (await waiting).status == "unreachable"


class TestSharing:
    async def test_all_who_wait_and_follow_share_one_stream(self, hub, connection, order):
        [id], [other] = order(), order(target_namespace="local-org")
        waiting = [
            wait(connection, id, interval=NEVER),
            wait(connection, other, namespace="local-org", interval=NEVER),
        ]
        await until(hub.streams)
        wakeups = Wakeups(registry.current().listener(connection))
        follower = GenerationFollower(Filter(None, frozenset(), frozenset({"succeeded"})), Cursor(0))
        # It is told that the stream is open already.
        assert (await anext(wakeups)).connected

        finish(hub)

        assert await asyncio.gather(*waiting) == [End("succeeded")] * 2
        found: set[str] = set()
        async with asyncio.timeout(10):
            while found != {id, other}:
                found |= {row.generation_id for row in await follower.follow(await anext(wakeups))}
        assert [seen["path"] for seen in hub.requests()].count("/api/events") == 1
        await wakeups.aclose()

    async def test_who_comes_while_the_last_one_leaves_has_a_stream(self, connection, stream):
        shared = registry.current().listener(connection)
        first, second = Wakeups(shared), Wakeups(shared)
        assert (await anext(first)).connected
        leaving = asyncio.create_task(first.aclose())
        await asyncio.sleep(0)

        async with asyncio.timeout(10):
            assert (await anext(second)).connected

        await leaving
        assert stream.opened == 2
        await second.aclose()

    async def test_a_flood_is_bounded(self, connection, stream, monkeypatch):
        monkeypatch.setattr(wakeups, "MAX_EVENTS", 3)
        monkeypatch.setattr(listener, "BURST", 2)
        following = Wakeups(registry.current().listener(connection))
        await anext(following)

        stream.tell(*"abcdefg")
        await until(stream.is_read)

        wakeup = await anext(following)
        # What was left out is in the history.
        assert (len(wakeup.ended), wakeup.connected) == (3, True)
        await following.aclose()
