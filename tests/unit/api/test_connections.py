"""Connections of an event loop are used again where they may be, and closed where not, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import httpcore
import httpx
import pytest

from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.connections import Connections
from airflow_provider_oxen.api.settings import Settings

pytestmark = pytest.mark.asyncio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request on a connection; a context.

    :param answer: sent for each request.
    :ivar connected: how many connections were made.
    :ivar open: how many are open.
    """

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer
        self.connected = self.open = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        self.open += 1
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(self.answer)
                await writer.drain()
        self.open -= 1
        writer.close()

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        await until(lambda: not self.open)

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.hang_up()


async def until(holds) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def connections(most: int | None = None, idle: int | None = None, expiry: float | None = None) -> Connections:
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=idle, keepalive_expiry=expiry)
    return Connections(httpcore.AnyIOBackend(), ssl.create_default_context(), limits)


async def opened(taken: Connections, url: str, **timeouts: float) -> httpcore.Response:
    request = httpcore.Request("GET", url, headers={"Host": "h"}, extensions={"timeout": timeouts})
    return await taken.handle_async_request(request)


async def asked(taken: Connections, url: str) -> bytes:
    response = await opened(taken, url)
    try:
        return await response.aread()
    finally:
        await response.aclose()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as server:
        yield server


async def test_connection_serves_one_request_after_the_other(server):
    taken = connections()

    assert [await asked(taken, server.url) for _ in range(5)] == [b"ok"] * 5
    assert server.connected == 1
    await taken.aclose()
    await until(lambda: not server.open)


async def test_requests_side_by_side_have_a_connection_each_and_as_many_are_kept_as_may_be(server):
    taken = connections(idle=2)

    responses = [await opened(taken, server.url) for _ in range(4)]
    assert server.connected == 4
    for response in responses:
        await response.aread()
        await response.aclose()

    await until(lambda: server.open == 2)
    await asyncio.gather(*(asked(taken, server.url) for _ in range(2)))
    assert server.connected == 4
    await taken.aclose()


async def test_paid_request_leaves_no_connection_behind(server):
    taken = connections(idle=0)

    assert await asked(taken, server.url) == b"ok"
    await until(lambda: not server.open)


async def test_connection_that_the_server_has_closed_is_not_used(server):
    taken = connections()
    await asked(taken, server.url)
    await server.hang_up()

    assert await asked(taken, server.url) == b"ok"
    assert server.connected == 2
    await taken.aclose()


async def test_connection_that_was_idle_for_too_long_is_closed(server):
    taken = connections(expiry=0.0)
    first = await opened(taken, server.url)
    assert await asked(taken, server.url) == b"ok"
    await until(lambda: server.open == 1)

    await first.aread()
    await first.aclose()
    await until(lambda: not server.open)


async def test_each_host_has_connections_of_its_own(server):
    taken = connections()
    async with Server() as other:
        for url in (server.url, other.url, server.url):
            assert await asked(taken, url) == b"ok"
        assert (server.connected, other.connected) == (1, 1)
        await taken.aclose()


async def test_who_finds_no_connection_free_waits_and_not_for_ever(server):
    taken = connections(most=1)
    first = await opened(taken, server.url)
    with pytest.raises(httpcore.PoolTimeout, match="no connection was free"):
        await opened(taken, server.url, pool=0.01)

    second = asyncio.create_task(asked(taken, server.url))
    await first.aread()
    await first.aclose()
    await first.aclose()

    assert await second == b"ok"
    assert server.connected == 1
    await taken.aclose()


async def test_place_is_given_back_by_who_could_not_connect(server):
    taken = connections(most=1)
    for _ in range(3):
        with pytest.raises(httpcore.ConnectError):
            await opened(taken, "http://127.0.0.1:1/")

    assert await asked(taken, server.url) == b"ok"
    await taken.aclose()


async def test_answer_that_was_not_read_to_its_end_closes_its_connection():
    async with Server(ANSWER.replace(b"2", b"9")) as server:
        taken = connections()
        response = await opened(taken, server.url)
        await response.aclose()

        await until(lambda: not server.open)
        await opened(taken, server.url)
        assert server.connected == 2
        await taken.aclose()


async def test_end_closes_what_is_still_used_and_keeps_nothing_that_comes_back(server):
    taken = connections()
    response = await opened(taken, server.url)
    await response.aread()

    await taken.aclose()
    await until(lambda: not server.open)
    await response.aclose()

    assert await asked(taken, server.url) == b"ok"
    assert server.connected == 2
    await taken.aclose()


async def test_clients_of_an_event_loop_take_them(server):
    async with AsyncClient(Settings(server.url, allow_http=True)) as client:
        for _ in range(3):
            assert (await client.http.get(server.url)).text == "ok"

    assert server.connected == 1
