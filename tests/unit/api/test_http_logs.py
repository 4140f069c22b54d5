"""What HTTP libraries log of our requests stays out of the log, and what they log of others' stays in."""

from __future__ import annotations

import asyncio
import logging
import threading
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.http_logs import suppress_http_logs
from airflow_provider_oxen.api.settings import Settings

from .conftest import KEY, LINK, MODEL, Loopback, answer

SEARCH = calls.list_models(LINK)


def libraries(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("http")]


def anybody_asks(server: Loopback, query: str) -> None:
    with httpx.Client(verify=False) as client:
        client.get(f"{server.url}/?{query}")


def test_requests_leave_no_trace_of_the_libraries(loopback, caplog):
    with loopback() as server, Client(Settings(server.url, KEY)) as client:
        client.send(SEARCH)
        client.send(SEARCH)

    assert quote(LINK, safe="") in server.asked[1]
    assert libraries(caplog) == []


@pytest.mark.asyncio
async def test_async_requests_leave_no_trace_of_the_libraries(loopback, caplog):
    with loopback() as server:
        async with AsyncClient(Settings(server.url, KEY)) as client:
            await client.send(SEARCH)
            await client.send(SEARCH)

    assert quote(LINK, safe="") in server.asked[1]
    assert libraries(caplog) == []


def test_others_see_what_the_libraries_log_of_theirs(loopback, caplog):
    with loopback() as server, Client(Settings(server.url, KEY)) as client:
        client.send(SEARCH)
        anybody_asks(server, "q=theirs")

    assert any("q=theirs" in line for line in libraries(caplog))
    assert {record.name for record in caplog.records} >= {"httpx", "httpcore.connection", "httpcore.http11"}


def test_others_see_theirs_while_ours_is_under_way(caplog):
    def asked_meanwhile(request: httpx.Request) -> httpx.Response:
        logging.getLogger("httpx").info("ours")
        thread = threading.Thread(target=logging.getLogger("httpx").info, args=("theirs",))
        thread.start()
        thread.join()
        return httpx.Response(200, json=MODEL)

    Client(Settings(), transport=httpx.MockTransport(asked_meanwhile)).send(calls.get_model("m"))

    assert libraries(caplog) == ["theirs"]


@pytest.mark.asyncio
async def test_other_tasks_see_theirs_while_ours_is_under_way(caplog):
    ours_asks, theirs_is_done = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        ours_asks.set()
        await theirs_is_done.wait()
        return httpx.Response(200, json=MODEL)

    async def theirs() -> None:
        await ours_asks.wait()
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer()), verify=False) as http:
            await http.get("https://elsewhere.example/?q=theirs")
        theirs_is_done.set()

    ours = AsyncClient(Settings(), transport=httpx.MockTransport(slow))
    await asyncio.gather(ours.send(calls.get_model("m")), theirs())

    [line] = libraries(caplog)
    assert "q=theirs" in line


def test_failure_ends_the_quiet(caplog):
    with pytest.raises(RuntimeError), suppress_http_logs():
        raise RuntimeError
    logging.getLogger("httpx").info("theirs")

    assert libraries(caplog) == ["theirs"]


def test_quiet_in_the_quiet_ends_with_the_outer_one(caplog):
    with suppress_http_logs():
        with suppress_http_logs():
            pass
        logging.getLogger("httpx").info("ours")

    assert libraries(caplog) == []


def test_every_logger_of_the_libraries_is_covered(caplog):
    """A filter of a logger does not see its children's records: what a newer version adds must be named."""
    known = list(logging.root.manager.loggerDict)
    names = [name for name in known if name == "httpx" or name.startswith(("httpx.", "httpcore."))]
    with suppress_http_logs():
        for name in names:
            logging.getLogger(name).warning("ours")

    assert {"httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"} <= set(names)
    assert libraries(caplog) == []
