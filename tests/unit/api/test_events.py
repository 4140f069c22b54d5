"""The stream of events over a real socket, and what a hub may answer in its place."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from airflow_provider_oxen.api import errors, queue
from airflow_provider_oxen.api import events as stream
from airflow_provider_oxen.api.client import AsyncClient
from airflow_provider_oxen.api.events import events, read_message
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.sse import Message, Parser
from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub

from .conftest import HUB, KEY, LINK, Drip, leaks_nothing

ENDED = "media_generation_completed"
TOLD = {"generation_id": "a", "status": "succeeded", "media_type": "image", "model": "m", "url": LINK}


class TestReading:
    def test_success(self):
        told = read_message(Message(ENDED, json.dumps(TOLD)))

        assert told is not None
        assert (told.generation_id, told.status, told.model, told.result_url) == ("a", "succeeded", "m", LINK)
        assert LINK not in repr(told)

    def test_failure_tells_no_model(self):
        data = {"generation_id": "a", "status": "failed", "error": "Insufficient credits"}

        told = read_message(Message(ENDED, json.dumps(data)))

        assert told is not None
        assert (told.status, told.error_message, told.model) == ("failed", "Insufficient credits", None)

    @pytest.mark.parametrize(
        ("event", "data"),
        [
            ("message", json.dumps(TOLD)),
            ("repository_pushed", "{}"),
            (ENDED, "{"),
            (ENDED, "[]"),
            (ENDED, "{}"),
            (ENDED, '{"generation_id": true}'),
            (ENDED, "[" * 100_000),
        ],
    )
    def test_anything_else_is_ignored(self, event, data):
        assert read_message(Message(event, data)) is None


class TestRealSocket:
    @pytest.fixture
    def hub(self):
        with LocalHub(HubSettings(key=KEY, default_size=(16, 16))) as running:
            yield running

    @pytest.fixture
    async def client(self, hub) -> AsyncIterator[AsyncClient]:
        async with AsyncClient(Settings(base_url=hub.url, api_key=KEY, max_retries=0)) as client:
            yield client

    async def order(self, client: AsyncClient) -> str:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube")
        return (await client.send(queue.enqueue(request)))[0].generation_id

    async def test_what_ends_is_told(self, client, caplog):
        caplog.set_level(logging.DEBUG)
        async with events(client) as told:
            ids = [await self.order(client), await self.order(client)]
            assert [(await anext(told)).generation_id, (await anext(told)).generation_id] == ids
        # Airflow's logs are for what people can use.
        assert not [item for item in caplog.records if "receive_response" in item.getMessage()]

    async def test_a_stream_that_is_cut_off_is_an_error_without_a_leak(self, hub, client, caplog):
        caplog.set_level(logging.DEBUG)
        async with events(client) as told:
            await self.order(client)
            await anext(told)
            hub.drop_streams()
            with pytest.raises(
                errors.OxenServerError, match="did not answer the request to listen"
            ) as caught:
                await anext(told)

        leaks_nothing(caught.value)
        assert KEY not in caplog.text
        assert "signature" not in caplog.text

    async def test_silence_is_an_error(self, client, monkeypatch):
        monkeypatch.setattr(stream, "SILENCE", 0.05)

        async with events(client) as told:
            with pytest.raises(errors.OxenServerError, match="ReadTimeout"):
                await anext(told)

    async def test_keep_alive_breaks_the_silence(self, hub, client, monkeypatch):
        monkeypatch.setattr(stream, "SILENCE", 2.0)
        hub.settings.keep_alive = 0.02
        pieces: list[bytes] = []

        class Counted(Parser):
            def feed(self, piece: bytes) -> list[Message]:
                pieces.append(piece)
                assert super().feed(piece) == []
                if len(pieces) == 5:
                    raise ValueError("that is enough")
                return []

        monkeypatch.setattr(stream, "Parser", Counted)
        async with events(client) as told:
            with pytest.raises(errors.OxenServerError, match="enough"):
                await anext(told)
        assert set(b"".join(pieces).split(b"\n\n")) == {b": keep-alive", b""}

    async def test_it_has_a_lifetime(self, hub, client, monkeypatch):
        monkeypatch.setattr(stream, "LIFETIME", 0.05)
        hub.settings.keep_alive = 0.01

        async with events(client) as told:
            assert [generation async for generation in told] == []

    async def test_bytes_that_make_no_line_do_not_keep_it_alive(self, monkeypatch):
        monkeypatch.setattr(stream, "SILENCE", 0.1)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
        with Drip(head) as hub:
            async with AsyncClient(Settings(hub.url, KEY)) as client, events(client) as told:
                with pytest.raises(errors.OxenServerError, match="no line came"):
                    async with asyncio.timeout(10):
                        await anext(told)

    async def test_it_must_be_opened_in_time(self):
        with Drip() as hub:
            async with AsyncClient(Settings(hub.url, KEY, timeout=0.1)) as client:
                with pytest.raises(errors.OxenError, match="Timeout"):
                    await events(client).__aenter__()

    async def test_what_comes_in_its_place_must_come_in_time(self):
        with Drip(b"HTTP/1.1 500 Error\r\n\r\n") as hub:
            async with AsyncClient(Settings(hub.url, KEY, timeout=0.1)) as client:
                with pytest.raises(errors.OxenError, match="Timeout"):
                    await events(client).__aenter__()

    async def test_a_wrong_key(self, hub):
        settings = Settings(base_url=hub.url, api_key="another-key")
        async with AsyncClient(settings) as client:
            with pytest.raises(errors.OxenAuthenticationError):
                await events(client).__aenter__()

    async def test_a_hub_without_the_route(self, hub, client):
        hub.fail(Fault("status", on="events", status=404, shape="html"))
        with pytest.raises(errors.OxenRouteNotFound):
            await events(client).__aenter__()

    async def test_nobody_there(self, hub, client):
        hub.close()
        with pytest.raises(errors.OxenConnectionError, match="Could not reach"):
            await events(client).__aenter__()

    async def test_a_redirect_is_not_followed(self, hub, client):
        with LocalHub() as elsewhere:
            hub.fail(Fault("redirect", on="events", location=f"{elsewhere.url}/api/events"))
            with pytest.raises(errors.OxenRouteNotFound, match="redirect"):
                await events(client).__aenter__()
            assert elsewhere.requests() == []


class Pieces(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.is_closed = True


async def opened(pieces: Pieces, kind: str = "text/event-stream", status: int = 200) -> list[str]:
    """Return the ids that a hub's answer tells."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["accept"] == "text/event-stream"
        return httpx.Response(status, headers={"content-type": kind}, stream=pieces)

    client = AsyncClient(Settings(base_url=HUB, api_key=KEY), transport=httpx.MockTransport(answer))
    async with client, events(client) as told:
        return [generation.generation_id async for generation in told]


async def failure(pieces: Pieces, **options) -> errors.OxenError:
    with pytest.raises(errors.OxenError) as caught:
        await opened(pieces, **options)
    leaks_nothing(caught.value)
    assert pieces.is_closed
    return caught.value


class TestAnswers:
    async def test_a_stream_that_ends_is_at_its_end(self):
        whole = f"event: {ENDED}\ndata: {json.dumps(TOLD)}\n\n".encode()
        pieces = Pieces(whole[:20], whole[20:], b"event: x\ndata: {}\n\n", whole[:30])

        assert await opened(pieces, "Text/Event-Stream; charset=utf-8") == ["a"]
        assert pieces.is_closed

    async def test_a_message_without_an_end(self):
        error = await failure(Pieces(b"data: ", b"x" * 2**20))

        assert isinstance(error, errors.OxenServerError)
        assert "longer than 65,536 bytes" in str(error)

    async def test_a_page_in_its_place(self):
        error = await failure(Pieces(b"<html>Log in</html>"), kind="text/html")

        assert "not JSON (text/html)" in str(error)

    async def test_json_in_its_place(self):
        error = await failure(Pieces(b"{}"), kind="application/json")

        assert "with something else (application/json)" in str(error)

    async def test_an_endless_answer_is_not_read_to_its_end(self):
        error = await failure(Pieces(*[b"x" * 2**19] * 3, AssertionError()), kind="")

        assert isinstance(error, errors.OxenServerError)
        assert "it is longer than the 1 MB that are read" in str(error)

    async def test_an_error_that_is_cut_off(self):
        error = await failure(Pieces(httpx.ReadError(f"see {LINK}")), kind="text/html", status=502)

        assert "did not answer the request to listen to the events: ReadError" in str(error)
