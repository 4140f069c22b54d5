"""The two ways in which a try asks, fetches, waits and blocks: one by one, and on an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from airflow_provider_oxen.api.blocking import Threads, unsuspended
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.errors import OxenDownloadError
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images.fetch import MAX_BYTES
from airflow_provider_oxen.images.fetched import Fetched
from airflow_provider_oxen.tasks.runtime import BlockingRuntime, LoopRuntime

HUB = "https://hub.example"
SETTINGS = Settings(base_url=HUB, max_retries=0)
LINK, GONE = f"{HUB}/there.png", f"{HUB}/gone.png"


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200 if str(request.url) == LINK else 404, content=b"bytes")


@pytest_asyncio.fixture
async def runtime() -> AsyncIterator[LoopRuntime]:
    transport, threads = httpx.MockTransport(answer), Threads(2, "test-runtime")
    async with AsyncClient(SETTINGS, transport=transport) as client:
        yield LoopRuntime(client, client, threads)
    threads.shutdown()


@pytest.mark.asyncio
async def test_loop_goes_on_while_something_blocks(runtime):
    go_on = threading.Event()
    blocked = asyncio.create_task(runtime.blocking(lambda: go_on.wait(10)))
    await asyncio.sleep(0)
    go_on.set()

    assert await blocked


@pytest.mark.asyncio
async def test_links_are_fetched_before_a_thread_works_on_their_bytes(runtime):
    async with runtime.downloads([LINK, GONE], MAX_BYTES) as download:
        got = download(LINK)
        assert got.file.read() == b"bytes"
        got.close()
        with pytest.raises(OxenDownloadError):
            download(GONE)


@pytest.mark.asyncio
async def test_link_that_nobody_foresaw_is_fetched_all_the_same(runtime):
    async with runtime.downloads([], MAX_BYTES) as download:
        got = await runtime.blocking(lambda: download(LINK))

    assert got.file.read() == b"bytes"
    got.close()


@pytest.mark.asyncio
async def test_bytes_that_nobody_took_are_let_go(runtime, monkeypatch):
    closed, close = [], Fetched.close

    def note(self: Fetched) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Fetched, "close", note)
    async with runtime.downloads([LINK, GONE], MAX_BYTES):
        pass

    assert len(closed) == 1


@pytest.mark.asyncio
async def test_link_that_stands_twice_is_fetched_once_beforehand():
    asked: list[str] = []

    def counting(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return answer(request)

    async with (
        AsyncClient(SETTINGS, transport=httpx.MockTransport(counting)) as client,
        LoopRuntime(client, client, Threads(1, "test-runtime")).downloads([LINK, LINK], MAX_BYTES),
    ):
        pass

    assert asked == [LINK]


@pytest.mark.asyncio
async def test_work_beside_goes_on_meanwhile_and_ends_with_its_context(runtime):
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await runtime.sleep(60)

    async with runtime.beside(work()) as task:
        await asyncio.wait_for(begun.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_deadline_holds_on_the_loop(runtime):
    with pytest.raises(httpx.ReadTimeout):
        async with runtime.within(Deadline(0.001)):
            await runtime.sleep(60)


class TestLastLook:
    """Where it is taken: on the loop only as long as that is quick."""

    @pytest_asyncio.fixture
    async def looked(self, monkeypatch) -> AsyncIterator[Callable[..., Awaitable[str]]]:
        async def send(call: Any, guard: Any) -> str:
            await guard()
            return "sent"

        transport, threads = httpx.MockTransport(answer), Threads(2, "test-runtime")
        async with AsyncClient(SETTINGS, transport=transport) as client:
            monkeypatch.setattr(client, "send", send)
            runtime = LoopRuntime(client, client, threads, looks_are_quick=True)

            async def looked(seconds: float = 0.0, *, is_quick: bool = True) -> str:
                names: list[str] = []

                def guard() -> None:
                    names.append(threading.current_thread().name)
                    time.sleep(seconds)

                call: Any = None
                assert await runtime.send_once(call, guard=guard, is_quick=lambda: is_quick) == "sent"
                return names[0]

            yield looked
        threads.shutdown()

    @pytest.mark.asyncio
    async def test_quick_look_goes_to_no_thread(self, looked, monkeypatch):
        monkeypatch.setattr("airflow_provider_oxen.tasks.runtime._QUICK", 60.0)
        assert [await looked() for _ in range(3)] == [threading.current_thread().name] * 3

    @pytest.mark.asyncio
    async def test_look_that_asks_airflow_too_holds_up_nobody(self, looked):
        assert (await looked(is_quick=False)).startswith("test-runtime")

    @pytest.mark.asyncio
    async def test_slow_place_holds_up_the_loop_once(self, looked):
        assert await looked(0.05) == threading.current_thread().name
        assert (await looked()).startswith("test-runtime")


def test_one_by_one_nothing_suspends():
    with Client(replace(SETTINGS), transport=httpx.MockTransport(answer)) as client:
        runtime = BlockingRuntime(client)

        async def work() -> bytes:
            await runtime.sleep(0)
            async with runtime.beside(runtime.sleep(0)) as slept:
                await slept
            async with runtime.within(Deadline(60)), runtime.downloads([LINK], MAX_BYTES) as download:
                with closing(await runtime.blocking(lambda: download(LINK))) as got:
                    return got.file.read()

        assert unsuspended(work()) == b"bytes"
        assert runtime.settings is client.settings
        assert runtime.clock is client.clock
