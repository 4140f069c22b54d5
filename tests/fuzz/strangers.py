"""What the hub answers: every kind of answer, by both clients and the one for long answers, and what is then
made of the result."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from random import Random
from typing import Any

import httpx

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.bulk import BulkClient, TooLong, list_unfinished
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.events import events
from airflow_provider_oxen.api.models import GenerateAnswer, GenerateRequest, Generation, HistoryPage, Model
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.catalogue.check import check
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.images import fetch, fetched
from airflow_provider_oxen.jobs import evidence
from airflow_provider_oxen.jobs.request import settle
from airflow_provider_oxen.tasks.generations import candidates
from airflow_provider_oxen.tasks.runtime import BlockingRuntime
from airflow_provider_oxen.triggers.events import ended_event, generation_event
from airflow_provider_oxen.waiting.cursor import Cursor
from airflow_provider_oxen.waiting.polling import Poll
from tests.fuzz.mutate import KEY, LINK, as_json, bent, bytes_of, odd

__all__ = ["answer", "close", "download", "history", "stream"]

SETTINGS = Settings(base_url="https://hub.example", api_key=KEY, max_retries=0)
REQUEST = GenerateRequest(model="z-image-turbo", prompt="A red cube", seed=42, aspect_ratio="1:1")

ROW = {
    "generation_id": "0b9c6e3a-1111-4222-8333-444455556666",
    "model_name": "z-image-turbo",
    "prompt": "A red cube",
    "media_type": "image",
    "status": "succeeded",
    "result_url": LINK,
    "error_message": None,
    "error_retryable": None,
    "enqueued_at": 1780000000,
    "started_at": 1780000001.5,
    "completed_at": 1780000009,
    "target_namespace": "ox",
    "seed": 42,
    "aspect_ratio": "1:1",
}
FAILED = {**ROW, "status": "failed", "result_url": None, "error_message": f"422 - flagged, see {LINK}"}
RUNNING = {"generation_id": "a1", "status": "processing"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "$defs": {"size": {"type": "object", "properties": {"width": {"type": "integer", "multipleOf": 8}}}},
    "properties": {
        "prompt": {"type": "string", "maxLength": 2000},
        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 8, "x-order": 1},
        "seed": {"type": "integer", "nullable": True, "minimum": 0, "maximum": 2**32 - 1},
        "aspect_ratio": {"enum": ["1:1", "16:9"], "default": "1:1", "pattern": "^[0-9]+:[0-9]+$"},
        "image_size": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/size"}]},
        "input_images": {"type": "array", "items": {"type": "string", "format": "uri"}, "maxItems": 4},
        "guidance": {"allOf": [{"type": "number"}, {"minimum": 0}, {"exclusiveMaximum": 20}]},
        "num_images": {"type": "integer", "default": 1},
    },
}
MODEL = {
    "id": "z-image-turbo",
    "object": "model",
    "display_name": "Z-Image Turbo",
    "model_type": "custom",
    "capabilities": {"input": ["text"], "output": ["image"]},
    "can_run_inference": True,
    "deprecated": False,
    "pricing": {
        "method": "per_image",
        "cost_per_image": 0.01,
        "cost_per_image_grid": {"low": {"1K": 0.004, "4K": "0.02"}, "high": 1.13},
    },
    "deployments": [{"status": "active"}],
    "developer": {"name": "Tongyi"},
    "request_schema": SCHEMA,
}
CLASSIC = {"name": "z-image-turbo", "json_request_schema": SCHEMA, "capabilities": {"output": ["image"]}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PAGES = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
    b"",
    b" ",
    b"{}",
    b"[]",
    b"null",
    b"1",
    b"Bad gateway",
    b"\x89PNG\r\n\x1a\n",
    PNG.encode(),
    LINK.encode(),
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"<title>" * 3000,
    f"no access for {KEY} to {LINK}".encode(),
    b"<title " + b"a" * 100_000,
    b"{" * 50_000,
)
ERRORS = (
    {"error": {"type": "unauthenticated", "title": "No", "detail": f"for {KEY}"}, "status": "error"},
    {"error": {"message": "Model not found: z-image-turbo"}},
    {"error": f"You have run out of credits, see {LINK}", "generations": []},
    {"error": {"type": "upstream"}, "status": 502},
    {
        "error": {"type": "update_required", "title": "Update", "detail": "0.36"},
        "status_message": "update_required",
    },
)

PAID = (
    (
        calls.generate(REQUEST),
        (
            {"model": "z-image-turbo", "created": 1780000000, "images": [{"url": LINK}]},
            {"images": [{"b64_json": PNG, "revised_prompt": "A cube"}, {"url": LINK}]},
            {"image_url": LINK},
            {"data": [{"url": LINK}]},
            {"output": {"images": [LINK]}},
        ),
    ),
    (queue.enqueue(REQUEST), ({"generations": [RUNNING]}, {"generation_ids": ["a1", 2]}, {"id": "a1"})),
)
FREE = (
    (queue.get_generation("a1"), (ROW, FAILED, RUNNING)),
    (queue.get_history("a1"), ({"generation": {**ROW, "cost": "0.0100"}}, {**FAILED, "cost": None})),
    (queue.cancel("a1"), ({"status": "success", "generation_id": "a1"},)),
    (queue.list_queue("ox"), ({"count": 2, "generations": [RUNNING, ROW]}, [ROW])),
    (
        queue.list_history("ox"),
        (
            {
                "count": 1,
                "generations": [{**ROW, "cost": "0.01"}, FAILED],
                "page_number": 1,
                "page_size": 1000,
                "total_pages": 1,
                "total_entries": 2,
                "total_cost": "0.01",
            },
        ),
    ),
    (calls.list_models(), ({"object": "list", "data": [MODEL, CLASSIC]}, {"models": [CLASSIC]})),
    (calls.get_model("z-image-turbo"), (MODEL, {"data": MODEL}, CLASSIC)),
    (
        calls.whose_key()[0],
        ({"user": {"name": "ox", "email": "ox@example.com"}}, {"user": {"username": "ox"}}),
    ),
    (list_unfinished("ox"), ({"count": 2, "generations": [RUNNING, ROW]},)),
)
STATUSES = (
    200,
    200,
    200,
    200,
    200,
    200,
    200,
    201,
    202,
    204,
    206,
    301,
    302,
    400,
    401,
    402,
    403,
    404,
    408,
    422,
    426,
    429,
    500,
    502,
    503,
    504,
    599,
    999,
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"application/json; charset=nonsense"),
    (b"content-type", "caf\u00e9".encode("latin-1")),
    (b"content-type", b"text/html"),
    (b"x-request-id", "\u00e9\U0001f4a5".encode()),
    (b"x-request-id", KEY.encode()),
    (b"x-request-id", b"r" * 5000),
    (b"x-request-id", b"\xff\xfe"),
    (b"server", "Zür\u00efch".encode("latin-1")),
    (b"retry-after", b"5"),
    (b"retry-after", b"9" * 400),
    (b"retry-after", b"-1"),
    (b"retry-after", b"NaN"),
    (b"retry-after", b"Wed, 21 Oct 99999 07:28:00 GMT"),
    (b"retry-after", "\u0663".encode()),
    (b"date", b"Wed, 21 Oct 2026 07:28:00 GMT"),
    (b"date", b"\xff"),
    (b"date", b"Fri, 31 Feb 0000 99:99:99 +9999"),
    (b"content-length", b"7"),
    (b"content-length", b"9" * 5000),
    (b"content-length", "\u0663".encode()),
    (b"location", LINK.encode()),
    (b"location", b"http://[::1"),
    (b"location", b"\xff\xfe//"),
    (b"location", b"//"),
    (b"location", b"http://xn--/\x80"),
    (b"location", b"https://" + b"a" * 70_000),
    (b"location", b"javascript:1"),
    (b"set-cookie", b"a=b; expires=Fri, 99 Zzz 99999"),
    (b"set-cookie", b"\xff=\xff; domain=.example"),
    (b"link", LINK.encode()),
    (b"x-link", LINK.encode("utf-16")),
    (b"content-encoding", b"identity"),
    (b"content-encoding", b"br"),
    (b"content-encoding", b"zstd"),
    (b"content-encoding", b"gzip"),
    (b"content-encoding", b"x-gzip, deflate"),
    (b"content-encoding", b"\xff"),
    (b"transfer-encoding", b"chunked"),
    (b"etag", b'"d41d8cd98f00b204e9800998ecf8427e"'),
    (b"content-md5", b"nonsense"),
    (b"x-amz-request-id", b"1"),
    (b"digest", b"sha-256=,md5=\xff"),
    (b"repr-digest", b"sha-256=:" + b"A" * 44 + b":"),
    (b"age", b"1"),
)


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes bit by bit; counts what was taken of it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


@cache
def _bomb(kind: str) -> bytes:
    """Return a small body that unpacks to hundreds of megabytes, or what it holds to gigabytes of objects."""
    unit = {
        "zeros": b"\0",
        "spaces": b" ",
        "lists": b"[],",
        "objects": b'{"id":"a"},',
        "open": b"[",
        "digits": b"7",
        "images": b'{"url":"/a"},',
        "text": b"a",
    }[kind]
    start = {"lists": b"[", "objects": b'{"generations":[', "images": b'{"images":[', "text": b'{"prompt":"'}
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    head = packer.compress(start.get(kind, b"")) + packer.flush(zlib.Z_FULL_FLUSH)
    # What was flushed so can stand there as often as one likes.
    block = packer.compress(unit * (1024 * 1024 // len(unit))) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * 400 + packer.flush()


BOMBS = ("zeros", "spaces", "lists", "objects", "open", "digits", "images", "text")


def _packed(rng: Random, body: bytes) -> tuple[bytes, bytes]:
    """Return a body as it travels, and the name of its encoding."""
    name, packed = rng.choice(
        (
            (b"gzip", gzip.compress(body, 1)),
            (b"deflate", zlib.compress(body, 1)),
            (b"x-gzip", gzip.compress(body, 1)),
            (b"deflate", zlib.compressobj(1, wbits=-15).compress(body)),
            (b"br", body),
            (b"zstd", body),
            (b"gzip, gzip", gzip.compress(gzip.compress(body, 1), 1)),
            (b"GZIP", gzip.compress(body, 1)),
            (b"gzip", gzip.compress(body, 1) + gzip.compress(body, 1)),
            (b"gzip", gzip.compress(body, 1) + b"more"),
            (b"gzip", body),
            (b"deflate", body),
            (b", ", body),
            (b"gzip," * 40 + b"gzip", gzip.compress(body, 1)),
        )
    )
    return (bytes_of(rng, packed) if rng.random() < 0.2 else packed), name


def _response(rng: Random, good: Any) -> httpx.Response:
    status, draw = rng.choice(STATUSES), rng.random()
    if draw < 0.8:
        body = as_json(rng, bent(rng, good))
    elif draw < 0.9:
        body = as_json(rng, bent(rng, rng.choice(ERRORS)))
    else:
        body = rng.choice(PAGES)
    headers = [(b"content-type", b"application/json")]
    for _ in range(rng.choice((0, 0, 0, 1, 2, 4))):
        headers.append(rng.choice(HEADERS))
    if rng.random() < 0.06:
        body, encoding = _packed(rng, body)
        headers.append((b"content-encoding", encoding))
    elif rng.random() < 0.002:
        body = _bomb(rng.choice(BOMBS))
        headers.append((b"content-encoding", b"deflate"))
    return _streamed(rng, status, headers, body)


def _streamed(rng: Random, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
    size = rng.choice((len(body) or 1, len(body) or 1, 4096, max(1, len(body) // 7)))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return httpx.Response(status, headers=headers, stream=Pieces(pieces))


class _Hub:
    """Both clients, and what they are answered."""

    def __init__(self) -> None:
        self.answer: Callable[[httpx.Request], httpx.Response] = lambda request: httpx.Response(204)
        transport = httpx.MockTransport(lambda request: self.answer(request))
        self.sync = Client(SETTINGS, transport=transport, sleep=lambda seconds: None)
        self.many = AsyncClient(SETTINGS, transport=transport, sleep=_at_once)
        self.bulk = BulkClient(SETTINGS, transport=transport, sleep=_at_once)
        self.loop = asyncio.new_event_loop()

    def send(self, draw: float, call: calls.Call[Any]) -> Any:
        if draw < 0.6:
            return self.sync.send(call)
        client = self.bulk if not call.paid and draw < 0.85 else self.many
        try:
            return self.loop.run_until_complete(client.send(call))
        except TooLong:
            return None

    def close(self) -> None:
        """Leave nothing behind."""
        self.sync.close()
        for client in (self.many, self.bulk):
            self.loop.run_until_complete(client.aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def close() -> None:
    """Forget the hub, and what it has answered last."""
    _hub().close()
    _hub.cache_clear()


async def _at_once(seconds: float) -> None:
    return None


@cache
def _hub() -> _Hub:
    return _Hub()


def answer(rng: Random) -> Callable[[], object]:
    """Any call, and any answer to it."""
    call, goods = rng.choice(PAID + FREE if rng.random() < 0.7 else PAID)
    good = rng.choice(goods)
    # Of a route that is not there the other layout is asked.
    responses = [_response(rng, good) for _ in range(2)]
    draw = rng.random()

    def case() -> None:
        hub = _hub()
        hub.answer = lambda request: responses.pop()
        _use(hub.send(draw, call))

    return case


def _use(result: Any) -> None:
    """Do with a result what is done with it."""
    if isinstance(result, GenerateAnswer):
        for item in result.images:
            if item.b64_json:
                fetched.from_item(
                    partial(fetch.from_url, _hub().sync), item.model_copy(update={"url": None})
                ).close()
            else:
                fetched.absolute(SETTINGS, str(item.url))
    elif isinstance(result, HistoryPage):
        _rows(result.generations)
        int(result.total_pages or 0)
    elif isinstance(result, Generation):
        _rows([result])
    elif isinstance(result, frozenset):
        sorted(result)
    elif isinstance(result, list) and result:
        if isinstance(result[0], Generation):
            _rows(result)
        else:
            for model in result[:100]:
                _model(model)
    elif isinstance(result, Model):
        _model(result)
    repr(result)


def _rows(rows: list[Generation]) -> None:
    cursor, body = Cursor(1779990000.0), REQUEST.body()
    evidence.look(body, [row for row in rows if evidence.is_candidate(body, row)], 1780000000.0, unique=True)
    found = [row for row in rows if cursor.is_new(row)]
    cursor.note_unfinished(rows)
    cursor.take(found, 1780001000.0)
    for row in rows[:100]:
        cursor.mark_reported(row)
        evidence.is_another(body, row)
        queue.location(SETTINGS.base_url, row.generation_id)
        end = Poll(deadline=1780000500.0).seen(row, 1780000600.0)
        told = [ended_event(row, None, SETTINGS.redact)]
        if end is not None:
            told.append(generation_event(row.generation_id, end.status, "", end.retryable))
            end.final  # noqa: B018
        _plain(told)
        row.charged  # noqa: B018
    _plain(cursor.as_json())


def _plain(value: Any) -> None:
    """What leaves us is JSON as everybody reads it."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def _model(model: Model) -> None:
    parameters = {"prompt": "A red cube", "num_inference_steps": "8", "quality": "low", "aspect_ratio": "3:2"}
    check(model, parameters)
    price(model, parameters)
    settled = settle(GenerateRequest(model="m", **parameters), model.request_schema, "job")
    _plain(settled)


def history(rng: Random) -> Callable[[], object]:
    """The lists, read to their end, with pages that never end."""
    good = {"generations": [{**ROW, "generation_id": "{}"}], "total_pages": 10**9}
    page = bent(rng, good, rng.choice((0, 1)))
    names = rng.choice((lambda n: "same", str, lambda n: str(n // 2), lambda n: str(n % 3)))

    def case() -> None:
        hub, count = _hub(), iter(range(10**9))
        body = json.dumps(page)

        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=body.replace('"{}"', json.dumps(names(next(count)))))

        hub.answer = answer
        unsuspended(candidates(BlockingRuntime(hub.sync), None, [REQUEST.body()]))

    return case


def download(rng: Random) -> Callable[[], object]:
    """A link, and what is behind it."""
    picture = rng.choice(PAGES)
    link = rng.choice((LINK, "/files/a.png", "//other.example/a.png", odd(rng), bent(rng, LINK, 2)))
    seed, bomb = rng.random(), _bomb("zeros") if rng.random() < 0.003 else None

    def case() -> None:
        hub, own = _hub(), Random(seed)

        def answer(request: httpx.Request) -> httpx.Response:
            headers = [own.choice(HEADERS) for _ in range(own.choice((0, 1, 2)))]
            body, status = picture, own.choice(STATUSES)
            if own.random() < 0.1:
                body, encoding = _packed(own, body)
                headers.append((b"content-encoding", encoding))
            elif bomb:
                body = bomb
                headers.append((b"content-encoding", b"deflate"))
            return _streamed(own, status, headers, body)

        hub.answer = answer
        fetch.from_url(hub.sync, link if isinstance(link, str) else LINK, 50_000_000).close()

    return case


EVENT = (
    b": keep-alive\n\nevent: media_generation_completed\n"
    b'data: {"generation_id": "a1", "status": "succeeded", "media_type": "image", "model": "m", "url": "'
    + LINK.encode()
    + b'"}\n\n'
)
LINES = (
    b"data\n" * 30_000,
    b"data:" + b"x" * 2_000_000,
    b"event: " + b"e" * 100_000 + b"\n",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n\r\n",
    b"data: [" * 5000 + b"\n\n",
    b"id: 1\nretry: 99999999999\n",
    b":" + b"c" * 100_000,
    b"\n" * 50_000,
    b"event: media_generation_completed\ndata: " + b"[" * 50_000 + b"\n\n",
    b"\x00",
    b"data: {}\n\n" * 3000,
    b'event: media_generation_completed\ndata: {"generation_id": "' + b"g" * 900_000 + b'"}\n\n',
)


def stream(rng: Random) -> Callable[[], object]:
    """The stream of events."""
    told = {"generation_id": "a1", "status": "failed", "media_type": "image", "error": f"at {LINK}"}
    body = b""
    for _ in range(rng.choice((1, 2, 5))):
        draw = rng.random()
        if draw < 0.6:
            body += b"event: media_generation_completed\ndata: " + as_json(rng, bent(rng, told)) + b"\n\n"
        elif draw < 0.8:
            body += bytes_of(rng, EVENT.replace(LINK.encode(), b"/a.png"))
        else:
            body += rng.choice(LINES)
    headers = [(b"content-type", b"text/event-stream")]
    if rng.random() < 0.2:
        headers.append(rng.choice(HEADERS))
    if rng.random() < 0.05:
        body, encoding = _packed(rng, body)
        headers.append((b"content-encoding", encoding))
    elif rng.random() < 0.004:
        body = _bomb(rng.choice(("zeros", "text")))
        headers.append((b"content-encoding", b"deflate"))
    status = rng.choice((200, 200, 200, 200, 200, 200, 401, 404, 426, 500))
    size = rng.choice((1 if len(body) < 5000 or rng.random() < 0.02 else 64, 7, 1000, 65_536, len(body) or 1))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    def case() -> None:
        hub = _hub()
        hub.answer = lambda request: httpx.Response(status, headers=headers, stream=Pieces(pieces))

        async def listen() -> None:
            async with events(hub.bulk) as told:
                async for row in told:
                    _rows([row])

        hub.loop.run_until_complete(listen())

    return case
