"""The stream is kept open, whatever happens, and each ring says what there is to look at."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api import events as stream
from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenAuthenticationError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from airflow_provider_oxen.waiting import listener as module
from airflow_provider_oxen.waiting import wakeups
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.follower import Filter, GenerationFollower
from airflow_provider_oxen.waiting.listener import EventListener
from airflow_provider_oxen.waiting.wakeups import Wakeup, Wakeups

KEY = "key-that-must-not-leak"

Order = Callable[..., list[str]]


class Hook:
    """A connection to the hub, which may change."""

    oxen_conn_id = "oxen_default"

    def __init__(self, hub: LocalHub, **settings: Any) -> None:
        self.given: dict[str, Any] = {"base_url": hub.url, "api_key": KEY, **settings}
        self.problem: Exception | None = None
        self.reads = 0

    async def asettings(self) -> Settings:
        self.reads += 1
        if self.problem:
            raise self.problem
        return Settings(**self.given)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16))) as running:
        yield running


@pytest.fixture
def hook(hub: LocalHub) -> Hook:
    return Hook(hub)


@pytest.fixture
async def listener(hook: Any) -> AsyncIterator[EventListener]:
    listener = EventListener(hook)
    yield listener
    for subscriber in list(listener._subscribers):
        await listener.unsubscribe(subscriber)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("oxen-events")]


@pytest.fixture
def rings(listener: EventListener) -> Wakeups:
    return Wakeups(listener)


@pytest.fixture
def order(hub: LocalHub) -> Order:
    """Put jobs into the queue, which end at once, and return their ids."""

    def order(number: int = 1) -> list[str]:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube")
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]

    return order


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "GATHER", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    text = "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
    assert KEY not in text
    assert "signature=" not in text


def ids(ring: Wakeup) -> list[str]:
    return [told.generation_id for told in ring.ended]


async def until(rings: Wakeups, condition: Callable[[Wakeup], bool]) -> Wakeup:
    async with asyncio.timeout(10):
        async for ring in rings:
            if condition(ring):
                return ring
    raise AssertionError


async def connected(rings: Wakeups) -> Wakeup:
    return await until(rings, lambda ring: ring.connected)


class TestRings:
    async def test_the_first_says_that_something_may_have_been_missed(self, rings):
        ring = await anext(rings)

        assert (ring.connected, ring.ended) == (True, ())

    async def test_what_ends_together_rings_once(self, rings, order):
        await connected(rings)

        wanted = order(3)
        heard: list[str] = []
        while len(heard) < 3:
            ring = await anext(rings)
            heard += ids(ring)
            assert not ring.connected

        assert heard == wanted

    async def test_one_may_be_asked_for(self, rings):
        await connected(rings)

        rings.again(60)
        rings.again(0)
        rings.again(0.001)
        async with asyncio.timeout(10):
            ring = await anext(rings)

        assert (ring.connected, ring.ended) == (False, ())

    async def test_an_early_one_is_not_put_off(self, rings):
        await connected(rings)

        rings.again(0.001)
        rings.again(60)
        async with asyncio.timeout(10):
            await anext(rings)

    async def test_rows_and_pages_are_asked_for_once_for_all(self, hub, rings, order):
        first = await connected(rings)
        [id] = order()
        before = len(hub.requests())

        rows = await asyncio.gather(first.row(id), first.row(id), first.page(None, 1), first.page(None, 1))

        assert {row.generation_id for row in rows[:2]} == {id}
        assert [row.generation_id for row in rows[2].generations] == [id]
        assert rows[2] is rows[3]
        assert len(hub.requests()) == before + 2
        await first.page(None, wakeups.SHARED_PAGES + 1)
        await first.page(None, wakeups.SHARED_PAGES + 1)
        assert len(hub.requests()) == before + 4
        assert await first.listener.namespace() is None

    async def test_one_who_is_cancelled_takes_nothing_from_the_others(self, hub, rings, order):
        ring = await connected(rings)
        [id] = order()
        hub.fail(Fault("hold", on="record", seconds=0.1))

        one, other = (asyncio.create_task(ring.row(id)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()

        assert (await other).generation_id == id
        assert one.cancelled()

    @pytest.mark.usefixtures("own_garbage")
    async def test_a_failure_that_nobody_waits_for_is_not_talked_about(self, hub, rings):
        ring = await connected(rings)
        said: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        hub.fail(Fault("hold", on="record", seconds=0.05))
        asking = asyncio.create_task(ring.row("nobody-knows"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait(list(ring._asked.values()))
        await asyncio.gather(asking, return_exceptions=True)
        del asking
        ring._asked.clear()
        gc.collect()

        assert said == []

    async def test_a_text_of_the_hubs_is_made_fit(self, listener, rings):
        assert listener.redact("https://h/a?sig=1") == "https://h/a"
        ring = await connected(rings)

        assert ring.listener.redact(f"{KEY} https://h/a?sig=1") == "*** https://h/a"


class TestReconnecting:
    async def test_exactly_what_was_missed_is_found(self, hub, rings, order):
        """The stream is cut in the middle; what ends before it is open again is in the history only."""
        follower = GenerationFollower(Filter(None, frozenset(), frozenset({"succeeded"})), Cursor(0))
        told: list[str] = []

        async def hear(until: list[str]) -> None:
            async with asyncio.timeout(10):
                while not set(until) <= set(told):
                    told.extend(row.generation_id for row in await follower.follow(await anext(rings)))

        before = order(2)
        await hear(before)
        live = order(2)
        await hear(live)
        hub.fail(Fault("status", on="events", status=503, times=2))
        hub.drop_streams()
        while hub.streams():
            await asyncio.sleep(0.005)
        missed = order(3)
        await hear(missed)
        after = order(1)
        await hear(after)

        # Nothing else, and nothing twice.
        assert sorted(told) == sorted(before + live + missed + after)

    async def test_a_hub_that_was_away(self, hub, rings, order):
        await connected(rings)
        await asyncio.to_thread(hub.restart)

        await connected(rings)
        [id] = order()
        assert ids(await until(rings, lambda ring: bool(ring.ended))) == [id]

    async def test_a_hub_that_ends_the_stream_in_good_order(self, rings, monkeypatch, caplog):
        monkeypatch.setattr(module, "events", Ended)

        await connected(rings)
        await connected(rings)

        assert "The stream of events has ended. Listening again in 0.0 s" in caplog.text

    async def test_a_stream_at_the_end_of_its_lifetime_is_opened_anew(self, hub, rings, monkeypatch):
        monkeypatch.setattr(stream, "LIFETIME", 0.05)
        for _ in range(3):
            await connected(rings)

        assert [seen["path"] for seen in hub.requests()].count("/api/events") >= 3

    async def test_a_stream_that_has_worked_is_no_failure(self, hub, rings, monkeypatch, caplog):
        monkeypatch.setattr(module, "STEADY", 0.0)
        await connected(rings)
        hub.drop_streams()
        await connected(rings)

        levels = {item.levelname for item in caplog.records if "Listening again" in item.getMessage()}
        assert levels == {"INFO"}

    async def test_failures_are_not_all_told(self, rings, hook, monkeypatch, caplog):
        monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
        hook.problem = RuntimeError("see https://f.example/a?signature=s")
        waiting = asyncio.create_task(anext(rings))
        async with asyncio.timeout(10):
            while hook.reads < module.LOG_EVERY + 2:
                await asyncio.sleep(0.005)
        hook.problem = None
        assert (await waiting).connected

        warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
        assert len(warnings) == 4
        assert warnings[0].startswith("RuntimeError: see https://f.example/a Listening again in 0.0 s; ")

    async def test_a_hub_without_the_route_is_looked_at_all_the_same(self, hub, rings):
        hub.fail(Fault("status", on="events", status=404, shape="html", times=None))

        await connected(rings)
        await connected(rings)
        assert hub.streams() == 0

    async def test_a_wrong_key_rings_nobody(self, hub, rings, hook):
        hook.given["api_key"] = "another-key"
        waiting = asyncio.create_task(anext(rings))
        async with asyncio.timeout(10):
            while hook.reads < 3:
                await asyncio.sleep(0.005)
        assert not waiting.done()

        hook.given["api_key"] = KEY
        async with asyncio.timeout(10):
            assert (await waiting).connected

    @pytest.mark.parametrize(("seconds", "pause"), [("7", "7.0"), ("7777", "300.0")])
    async def test_the_hub_is_heard_when_it_asks_for_time(self, hub, rings, caplog, seconds, pause):
        hub.fail(Fault("status", on="events", status=429, headers={"Retry-After": seconds}))

        # It answers, so that its history may be looked at meanwhile.
        assert (await anext(rings)).connected

        assert f"Listening again in {pause} s" in caplog.text

    def test_pauses_grow_to_a_limit_and_differ(self, monkeypatch):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.5)
        assert 0.25 <= module._pause(0) <= 0.5
        assert all(30 <= module._pause(failures) <= 60 for failures in (7, 1000, 10**6))
        assert len({module._pause(9) for _ in range(9)}) > 1


class Ended:
    """A stream that is at its end as soon as it was opened."""

    def __init__(self, client: Any) -> None:
        pass

    async def __aenter__(self) -> Ended:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Ended:
        return self

    async def __anext__(self) -> None:
        raise StopAsyncIteration


class TestConnection:
    async def test_a_key_that_has_changed_is_read_anew(self, hub, rings, hook, order):
        ring = await connected(rings)
        [id] = order()
        hub.settings.key = hook.given["api_key"] = "key-that-must-not-leak-2"

        assert (await ring.row(id)).generation_id == id

    async def test_a_key_that_is_wrong_is_an_error(self, hub, rings):
        ring = await connected(rings)
        hub.settings.key = "another"

        with pytest.raises(OxenAuthenticationError):
            await ring.row("a")

    async def test_the_key_goes_to_no_other_host(self, hub, rings):
        with LocalHub() as elsewhere:
            hub.fail(Fault("redirect", on="events", location=f"{elsewhere.url}/api/events"))
            await connected(rings)
            assert elsewhere.requests() == []

    async def test_one_that_never_listened_can_be_closed(self, hook):
        await Wakeups(EventListener(hook)).aclose()
