"""The stream is kept open, whatever happens, and each ring says what there is to look at."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenAuthenticationError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs import listening
from airflow_provider_oxen.jobs.cursor import Cursor
from airflow_provider_oxen.jobs.following import Follower, Wanted
from airflow_provider_oxen.jobs.listening import Listener, Ring
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub

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
async def listener(hook: Any) -> AsyncIterator[Listener]:
    listener = Listener(hook)
    yield listener
    await listener.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("oxen-events")]


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
    monkeypatch.setattr(listening, "GATHER", 0.02)
    monkeypatch.setattr(listening, "FIRST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    text = "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
    assert KEY not in text
    assert "signature=" not in text


def ids(ring: Ring) -> list[str]:
    return [told.generation_id for told in ring.ended]


async def until(rings: AsyncIterator[Ring], condition: Callable[[Ring], bool]) -> Ring:
    async with asyncio.timeout(10):
        async for ring in rings:
            if condition(ring):
                return ring
    raise AssertionError


async def connected(rings: AsyncIterator[Ring]) -> Ring:
    return await until(rings, lambda ring: ring.connected)


class TestRings:
    async def test_the_first_says_that_something_may_have_been_missed(self, listener):
        ring = await anext(listener.rings())

        assert (ring.connected, ring.ended) == (True, ())

    async def test_what_ends_together_rings_once(self, listener, order):
        rings = listener.rings()
        await connected(rings)

        wanted, heard = order(3), []
        while len(heard) < 3:
            ring = await anext(rings)
            heard += ids(ring)
            assert not ring.connected

        assert heard == wanted

    async def test_one_may_be_asked_for(self, listener):
        rings = listener.rings()
        await connected(rings)

        listener.again(60)
        listener.again(0)
        listener.again(0.001)
        async with asyncio.timeout(10):
            ring = await anext(rings)

        assert (ring.connected, ring.ended) == (False, ())

    async def test_an_early_one_is_not_put_off(self, listener):
        rings = listener.rings()
        await connected(rings)

        listener.again(0.001)
        listener.again(60)
        async with asyncio.timeout(10):
            await anext(rings)

    async def test_rows_and_pages_are_asked_for_once_for_all(self, hub, listener, order):
        rings = listener.rings()
        first = await connected(rings)
        [id] = order()
        before = len(hub.requests())

        rows = await asyncio.gather(first.row(id), first.row(id), first.page(None, 1), first.page(None, 1))

        assert {row.generation_id for row in rows[:2]} == {id}
        assert [row.generation_id for row in rows[2].generations] == [id]
        assert rows[2] is rows[3]
        assert len(hub.requests()) == before + 2
        await first.page(None, listening.KEPT + 1)
        await first.page(None, listening.KEPT + 1)
        assert len(hub.requests()) == before + 4
        assert await first.namespace() is None

    async def test_one_who_is_cancelled_takes_nothing_from_the_others(self, hub, listener, order):
        ring = await connected(listener.rings())
        [id] = order()
        hub.fail(Fault("hold", on="record", seconds=0.1))

        one, other = (asyncio.create_task(ring.row(id)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()

        assert (await other).generation_id == id
        assert one.cancelled()

    async def test_a_failure_that_nobody_waits_for_is_not_talked_about(self, hub, listener):
        ring = await connected(listener.rings())
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

    async def test_a_text_of_the_hubs_is_made_fit(self, listener):
        assert listener.hide("https://h/a?sig=1") == "https://h/a"
        ring = await connected(listener.rings())

        assert ring.hide(f"{KEY} https://h/a?sig=1") == "*** https://h/a"


class TestReconnecting:
    async def test_exactly_what_was_missed_is_found(self, hub, listener, order):
        """The stream is cut in the middle; what ends before it is open again is in the history only."""
        follower = Follower(Wanted(None, frozenset(), frozenset({"succeeded"})), Cursor(0))
        rings, told = listener.rings(), []

        async def hear(until: list[str]) -> None:
            async with asyncio.timeout(10):
                while not set(until) <= set(told):
                    told.extend(row.generation_id for row in await follower.hear(await anext(rings)))

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

    async def test_a_hub_that_was_away(self, hub, listener, order):
        rings = listener.rings()
        await connected(rings)
        await asyncio.to_thread(hub.restart)

        await connected(rings)
        [id] = order()
        assert ids(await until(rings, lambda ring: bool(ring.ended))) == [id]

    async def test_a_hub_that_ends_the_stream_in_good_order(self, listener, monkeypatch, caplog):
        monkeypatch.setattr(listening, "events", Ended)

        rings = listener.rings()
        await connected(rings)
        await connected(rings)

        assert "The hub ended the stream of events. Listening again in 0.0 s" in caplog.text

    async def test_a_stream_that_has_worked_is_no_failure(self, hub, listener, monkeypatch, caplog):
        monkeypatch.setattr(listening, "STEADY", 0.0)
        rings = listener.rings()
        await connected(rings)
        hub.drop_streams()
        await connected(rings)

        levels = {item.levelname for item in caplog.records if "Listening again" in item.getMessage()}
        assert levels == {"INFO"}

    async def test_failures_are_not_all_told(self, listener, hook, monkeypatch, caplog):
        monkeypatch.setattr(listening, "LONGEST_PAUSE", 0.02)
        hook.problem = RuntimeError("see https://f.example/a?signature=s")
        rings = listener.rings()
        waiting = asyncio.create_task(anext(rings))
        async with asyncio.timeout(10):
            while hook.reads < listening.TELL + 2:
                await asyncio.sleep(0.005)
        hook.problem = None
        assert (await waiting).connected

        warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
        assert len(warnings) == 4
        assert warnings[0].startswith("RuntimeError: see https://f.example/a Listening again in 0.0 s; ")

    async def test_a_hub_without_the_route_is_looked_at_all_the_same(self, hub, listener):
        hub.fail(Fault("status", on="events", status=404, shape="html", times=None))
        rings = listener.rings()

        await connected(rings)
        await connected(rings)
        assert hub.streams() == 0

    async def test_a_wrong_key_rings_nobody(self, hub, listener, hook):
        hook.given["api_key"] = "another-key"
        waiting = asyncio.create_task(anext(listener.rings()))
        async with asyncio.timeout(10):
            while hook.reads < 3:
                await asyncio.sleep(0.005)
        assert not waiting.done()

        hook.given["api_key"] = KEY
        async with asyncio.timeout(10):
            assert (await waiting).connected

    async def test_the_hub_is_heard_when_it_asks_for_time(self, hub, listener, monkeypatch):
        slept = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await asyncio.Event().wait()

        hub.fail(Fault("status", on="events", status=429, headers={"Retry-After": "7"}))
        hub.fail(Fault("status", on="events", status=429, headers={"Retry-After": "7777"}))
        monkeypatch.setattr(listening.asyncio, "sleep", sleep)
        for _ in range(2):
            reading = asyncio.create_task(listener._listen())
            while not reading.done() and not slept:
                await asyncio.wait([reading], timeout=0.01)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert slept.pop() in (7.0, 300.0)

    def test_pauses_grow_to_a_limit_and_differ(self, monkeypatch):
        monkeypatch.setattr(listening, "FIRST_PAUSE", 0.5)
        assert 0.25 <= listening._pause(0) <= 0.5
        assert all(30 <= listening._pause(failures) <= 60 for failures in (7, 1000, 10**6))
        assert len({listening._pause(9) for _ in range(9)}) > 1


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
    async def test_a_key_that_has_changed_is_read_anew(self, hub, listener, hook, order):
        ring = await connected(listener.rings())
        [id] = order()
        hub.settings.key = hook.given["api_key"] = "key-that-must-not-leak-2"

        assert (await ring.row(id)).generation_id == id

    async def test_a_key_that_is_wrong_is_an_error(self, hub, listener):
        ring = await connected(listener.rings())
        hub.settings.key = "another"

        with pytest.raises(OxenAuthenticationError):
            await ring.row("a")

    async def test_the_key_goes_to_no_other_host(self, hub, listener):
        with LocalHub() as elsewhere:
            hub.fail(Fault("redirect", on="events", location=f"{elsewhere.url}/api/events"))
            await connected(listener.rings())
            assert elsewhere.requests() == []

    async def test_one_that_never_listened_can_be_closed(self, hook):
        await Listener(hook).aclose()
