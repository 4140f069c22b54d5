"""Long answers: read up to a limit, off the event loop, and understood like any other."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api import body, calls, errors
from airflow_provider_oxen.api.bulk import BulkClient, TooLong, list_unfinished
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.settings import Settings

from .conftest import FREE, HUB, KEY, MODEL, answer, leaks_nothing, trouble

QUEUED = {"generation_id": "a", "status": "queued", "prompt": "A red cube"}
RUNNING = {"generation_id": "b", "status": "processing", "prompt": "A red cube"}
ENDED = [{"generation_id": status, "status": status} for status in ("succeeded", "failed", "cancelled")]


@pytest.fixture
async def client(hub) -> AsyncIterator[BulkClient]:
    async def sleep(seconds: float) -> None:
        hub.slept.append(seconds)

    settings = Settings(base_url=HUB, api_key=KEY)
    async with BulkClient(settings, transport=httpx.MockTransport(hub.answer), sleep=sleep) as client:
        yield client


def listing(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"count": len(rows), "generations": list(rows), **more}


class TestUnfinished:
    """Ids of what is still to do, and nothing else of the list."""

    async def test_what_waits_and_what_runs(self, client, hub):
        hub.says(answer(json=listing(QUEUED, RUNNING)))

        assert await client.send(list_unfinished()) == {"a", "b"}
        assert str(hub.asked[0].url) == f"{HUB}/api/ai/queue"
        assert hub.asked[0].headers["authorization"] == f"Bearer {KEY}"

    async def test_namespace_is_asked_for(self, client, hub):
        hub.says(answer(json=listing()))

        assert await client.send(list_unfinished("team")) == set()
        assert str(hub.asked[0].url) == f"{HUB}/api/ai/queue?namespace=team"

    async def test_rows_that_have_ended_do_not_count(self, client, hub):
        hub.says(answer(json=listing(QUEUED, *ENDED)))

        assert await client.send(list_unfinished()) == {"a"}

    async def test_statuses_that_the_hub_has_added_do_count(self, client, hub):
        hub.says(answer(json=listing({"generation_id": "a", "status": "upscaling"})))

        assert await client.send(list_unfinished()) == {"a"}

    @pytest.mark.parametrize(
        "prompt",
        [
            '", "status": "succeeded", "x": "',
            '{"generation_id": "c", "status": "queued"}',
            ']}\\"\n\t\u2028\x00 é 🐂',
            "\ud800",
            "x" * 100_000,
        ],
        ids=["quotes", "a_row", "escapes", "lone_surrogate", "long"],
    )
    async def test_prompts_may_hold_anything(self, client, hub, prompt):
        hub.says(answer(content=json.dumps(listing({**QUEUED, "prompt": prompt}, ENDED[0])).encode()))

        assert await client.send(list_unfinished()) == {"a"}

    @pytest.mark.parametrize("odd", [None, 5, {}, {"generation_id": None, "status": "queued"}], ids=repr)
    async def test_one_odd_row_does_not_hide_the_others(self, client, hub, odd):
        hub.says(answer(json=listing(odd, QUEUED, {"generation_id": "c"}, *ENDED)))

        assert await client.send(list_unfinished()) == {"a", "c"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b"[]",
            b"{}",
            b'{"generations": null}',
            b'{"generations": [',
            b'{"generations": [5]}',
        ],
        ids=repr,
    )
    async def test_what_is_no_list_is_asked_for_again_and_then_an_error(self, client, hub, body):
        hub.says(answer(content=body))

        with pytest.raises(errors.OxenServerError):
            await client.send(list_unfinished())

        assert len(hub.asked) == 4

    async def test_error_in_a_200_is_an_error(self, client, hub):
        hub.says(answer(json=listing(QUEUED, error={"message": f"bad key {KEY}"})))

        with pytest.raises(errors.OxenError, match="bad key") as caught:
            await client.send(list_unfinished())

        leaks_nothing(caught.value)


class TestAsTheBase:
    """What is no list is sent and understood as by any client."""

    async def test_other_calls(self, client, hub):
        hub.says(answer(json=MODEL))

        assert (await client.send(FREE)).id == MODEL["id"]

    async def test_trouble_that_passes_is_repeated(self, client, hub):
        hub.says(answer(503), trouble(httpx.ReadTimeout), answer(json=listing(QUEUED)))

        assert await client.send(list_unfinished()) == {"a"}
        assert len(hub.slept) == 2

    async def test_wrong_key(self, client, hub):
        hub.says(answer(401, json={"error": {"type": "unauthenticated"}}))

        with pytest.raises(errors.OxenAuthenticationError):
            await client.send(list_unfinished())

    async def test_hub_that_is_not_reached(self, client, hub):
        hub.says(trouble(httpx.ConnectError, f"Bearer {KEY}"))

        with pytest.raises(errors.OxenConnectionError) as caught:
            await client.send(list_unfinished())

        leaks_nothing(caught.value)

    async def test_redirect_is_not_followed_and_told(self, client, hub):
        hub.says(answer(307, headers={"location": "https://elsewhere.example/"}))

        with pytest.raises(errors.OxenRouteNotFound, match=r"https://elsewhere\.example"):
            await client.send(list_unfinished())


class Slowly(httpx.AsyncByteStream):
    """A body in parts.

    :ivar read: how many parts were asked for.
    """

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.read += 1
            yield part

    async def aclose(self) -> None:
        self.closed = True


class TestLimit:
    @pytest.fixture(autouse=True)
    def _low(self, monkeypatch):
        monkeypatch.setattr(body, "MAX_FREE_BYTES", 1000)

    def says(self, hub: Any, stream: Slowly, **headers: str) -> None:
        hub.says(lambda request: httpx.Response(200, headers=headers, stream=stream))

    async def test_announced_length_is_enough_to_refuse(self, client, hub):
        stream = Slowly(b"x" * 2000)
        self.says(hub, stream, **{"content-length": "2000"})

        with pytest.raises(TooLong, match="longer than"):
            await client.send(list_unfinished())

        assert (stream.read, stream.closed, len(hub.asked)) == (0, True, 1)

    async def test_unannounced_length_is_counted(self, client, hub):
        stream = Slowly(*[b"x" * 400] * 10)
        self.says(hub, stream)

        with pytest.raises(TooLong):
            await client.send(list_unfinished())

        assert (stream.read, stream.closed) == (3, True)

    async def test_what_counts_is_the_length_after_unpacking(self, client, hub):
        self.says(hub, Slowly(gzip.compress(b"x" * 2000)), **{"content-encoding": "gzip"})

        with pytest.raises(TooLong):
            await client.send(list_unfinished())

    async def test_packed_answer_is_read(self, client, hub):
        body = gzip.compress(json.dumps(listing(QUEUED)).encode())
        self.says(hub, Slowly(body[:20], body[20:]), **{"content-encoding": "gzip"})

        assert await client.send(list_unfinished()) == {"a"}

    async def test_length_that_is_no_number_is_passed_over(self, client, hub):
        self.says(hub, Slowly(json.dumps(listing(QUEUED)).encode()), **{"content-length": "many"})

        assert await client.send(list_unfinished()) == {"a"}


class TestThreads:
    """Only a long answer is worth a thread."""

    @pytest.fixture
    def reader(self) -> tuple[Call[str], list[threading.Thread]]:
        threads: list[threading.Thread] = []

        def read(body: bytes) -> str:
            threads.append(threading.current_thread())
            return "read"

        call = calls.whose_key()[1]
        return Call(name="x", method="GET", paths=call.paths, parse=str, read=read), threads

    async def test_long_answer_is_read_off_the_loop(self, client, hub, reader):
        hub.says(answer(content=b"x" * 100_000))
        call, threads = reader

        assert await client.send(call) == "read"
        assert threads != [threading.current_thread()]

    async def test_short_answer_is_read_at_once(self, client, hub, reader):
        hub.says(answer(content=b"x"))
        call, threads = reader

        assert await client.send(call) == "read"
        assert threads == [threading.current_thread()]
        assert asyncio.get_running_loop()
