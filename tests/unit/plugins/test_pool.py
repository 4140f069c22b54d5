"""Originals are opened a few at a time, and whoever waits for one gives the place back, however that ends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, nullcontext
from threading import Event
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="Airflow 2.11 has no place for the view")

from starlette.requests import ClientDisconnect

from airflow_provider_oxen.plugins import pool as module
from airflow_provider_oxen.plugins.originals import Original, Prefix
from airflow_provider_oxen.plugins.pool import Busy, OriginalPool, OriginalResponse

FOLDER = Prefix("/data/")


class Store:
    """A store that answers when it is told to.

    :ivar begun: paths that were asked for.
    :ivar files: that it has given.
    """

    def __init__(self) -> None:
        self.answers = Event()
        self.given_up = False
        self.begun: list[str] = []
        self.files: list[io.BytesIO] = []

    def read(self, path: str, prefix: Prefix, given_up: Callable[[], bool]) -> Original:
        self.begun.append(path)
        assert self.answers.wait(60)
        self.given_up |= given_up()
        file = io.BytesIO(b"pixels")
        self.files.append(file)
        return Original(file, "image/png", 6)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    slow = Store()
    monkeypatch.setattr(module, "read_original", slow.read)
    yield slow
    slow.answers.set()


async def stays() -> dict[str, Any]:
    """Be a client that waits."""
    await asyncio.Event().wait()
    return {}


def leaves() -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return a client that goes away when it has asked."""
    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    return receive


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def open_one(pool: OriginalPool, receive: Callable[[], Awaitable[dict[str, Any]]] = stays) -> Original:
    async with pool.open("/data/a.png", FOLDER, receive) as original:
        assert not original.file.closed
        return original


def test_an_original_is_closed_when_it_was_used(store):
    store.answers.set()
    original = asyncio.run(open_one(OriginalPool()))

    assert (original.media_type, original.size, original.file.closed) == ("image/png", 6, True)


def test_beyond_a_few_nobody_waits_and_few_are_read_at_once(store):
    async def ask() -> None:
        pool = OriginalPool()
        waiting = [asyncio.create_task(open_one(pool)) for _ in range(module.PLACES)]
        await until(lambda: len(store.begun) == module.THREADS)
        with pytest.raises(Busy):
            await open_one(pool)
        assert len(store.begun) == module.THREADS
        store.answers.set()
        await asyncio.gather(*waiting)
        await open_one(pool)

    asyncio.run(ask())


def test_a_store_that_is_too_slow_is_not_waited_for(store, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.01)

    async def ask() -> None:
        pool = OriginalPool()
        for _ in range(module.PLACES + 1):
            with pytest.raises(Busy):
                await open_one(pool)
        # What it gives in the end is closed, and nothing is read for those who were still in the queue.
        store.answers.set()
        await until(lambda: len(store.files) == module.THREADS and all(file.closed for file in store.files))
        assert store.given_up
        assert len(store.begun) == module.THREADS

    asyncio.run(ask())


def test_a_client_that_goes_away_frees_its_place(store):
    async def ask() -> None:
        pool = OriginalPool()
        for _ in range(module.PLACES + 1):
            with pytest.raises(Busy):
                await open_one(pool, leaves())
        assert len(store.begun) <= module.THREADS
        store.answers.set()
        assert (await open_one(pool)).size == 6

    asyncio.run(ask())


@pytest.mark.parametrize("ends", ["sent", "slow", "broken"])
def test_an_original_is_closed_however_its_sending_ends(store, monkeypatch, ends):
    monkeypatch.setattr(module, "SENDING", 60 if ends != "slow" else 0.05)
    monkeypatch.setattr(module, "PLACES", 1)
    store.answers.set()
    sent: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if ends == "slow":
            await asyncio.Event().wait()
        if ends == "broken":
            raise ConnectionResetError

    async def respond() -> None:
        pool = OriginalPool()
        async with AsyncExitStack() as opening:
            original = await opening.enter_async_context(pool.open("/data/a.png", FOLDER, stays))
            response = OriginalResponse(original, opening.pop_all())
        raises = pytest.raises(ClientDisconnect) if ends == "broken" else nullcontext()
        with raises:
            await response({"type": "http", "asgi": {"spec_version": "2.4"}}, stays, send)
        assert original.file.closed
        await open_one(pool)

    asyncio.run(respond())
    assert (b"pixels" in sent) == (ends == "sent")
