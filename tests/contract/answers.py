"""Random answers that the document allows, made by Prism, read by the provider's own client."""

from __future__ import annotations

import asyncio
import collections
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.bulk import BulkClient, list_unfinished
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.models import GenerateAnswer, GenerateRequest, Generation, HistoryPage, Model
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.catalogue.check import check, near_names
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.images import download
from airflow_provider_oxen.waiting.polling import Poll

_REQUEST = GenerateRequest(model="z-image-turbo", prompt="A red cube", seed=42)
_PARAMETERS = {"prompt": "A red cube", "seed": 42, "quality": "high", "resolution": "2K", "num_images": 2}
_MANY = 10
"""One answer in so many is an error, where the document has one for the operation."""


class Question(NamedTuple):
    """An operation that answers something to read.

    :ivar error: status of an error that the document has for it.
    """

    operation: str
    call: Callable[[], Call[Any]]
    error: int | None = None


QUESTIONS = (
    Question("GET /api/ai/models", calls.list_models),
    Question("GET /api/ai/models/search", lambda: calls.list_models("cube")),
    Question("GET /api/ai/models/{id}", lambda: calls.get_model("z-image-turbo"), 404),
    Question("GET /api/ai/queue", queue.list_queue),
    Question("GET /api/ai/queue/{generation_id}", lambda: queue.get_generation(str(uuid.uuid4())), 404),
    Question("GET /api/ai/generations", lambda: queue.list_history(page=2)),
    Question("GET /api/ai/generations/{generation_id}", lambda: queue.get_history(str(uuid.uuid4())), 404),
    Question("POST /api/ai/images/generate", lambda: calls.generate(_REQUEST), 400),
    Question("POST /api/ai/queue", lambda: queue.enqueue(_REQUEST), 400),
    Question("DELETE /api/ai/queue/{generation_id}", lambda: queue.cancel(str(uuid.uuid4())), 404),
)


@dataclass
class Tally:
    """What became of the answers of one operation.

    :ivar errors: how many each :class:`OxenError` was for, by the name of its class.
    :ivar raw: what escaped, with the seed of the answer that it escaped from.
    """

    asked: int = 0
    read: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    raw: list[str] = field(default_factory=list)


def read_all(url: str, key: str, number: int, seed: str, scratch: Path) -> dict[str, Tally]:
    """Ask for so many answers, in turn of each operation, and read them.

    :param seed: the same seed brings the same answers.
    """
    tallies = {question.operation: Tally() for question in QUESTIONS}
    settings = Settings(base_url=url, api_key=key, api_layout="ai", max_retries=0)
    with _Preferring() as transport, Client(settings, transport=transport) as client:
        for index in range(number):
            turn, place = divmod(index, len(QUESTIONS))
            question = QUESTIONS[place]
            wrong = question.error is not None and turn % _MANY == _MANY - 1
            transport.prefer = f"dynamic=true, seed={seed}-{index}, code={question.error if wrong else 200}"
            tally = tallies[question.operation]
            _read(client, question, tally, f"{seed}-{index}", scratch)
            if question.call is queue.list_queue:
                # As those read it who wait together; the same answer, once more.
                _note(
                    tally, f"{seed}-{index}", lambda: asyncio.run(_read_in_bulk(settings, transport.prefer))
                )
    return tallies


def _read(client: Client, question: Question, tally: Tally, seed: str, scratch: Path) -> None:
    tally.asked += 1

    def read() -> None:
        result = client.send(question.call())
        tally.read += 1
        for use in _uses(client, result, scratch / seed):
            _note(tally, seed, use)

    _note(tally, seed, read)


def _note(tally: Tally, seed: str, act: Callable[[], Any]) -> None:
    try:
        act()
    except OxenError as error:
        tally.errors[type(error).__name__] += 1
    except Exception as error:
        tally.raw.append(f"seed {seed}: {type(error).__name__}: {error}")


async def _read_in_bulk(settings: Settings, prefer: str) -> None:
    async with _AsyncPreferring() as transport, BulkClient(settings, transport=transport) as client:
        transport.prefer = prefer
        await client.send(list_unfinished())


def _uses(client: Client, result: Any, path: Path) -> Iterator[Callable[[], Any]]:
    """Yield what the provider does with what it has read."""
    for item in result if isinstance(result, list) else [result]:
        if isinstance(item, Model):
            yield from (partial(price, item, _PARAMETERS), partial(check, item, _PARAMETERS))
            yield from (partial(getattr, item, "obstacle"), partial(near_names, "z-image", [item]))
        if isinstance(item, HistoryPage):
            for row in item.generations:
                yield from _uses(client, row, path)
        if isinstance(item, Generation):
            yield partial(_looks, item)
            yield from (partial(getattr, item, "charged"), item.echo)
            if item.result_url:
                yield partial(_fetch, client, {"url": item.result_url}, path)
        if isinstance(item, GenerateAnswer):
            for image in item.images[:1]:
                yield partial(_fetch, client, image, path)


def _looks(item: Generation) -> None:
    Poll(time.time() + 60).seen(item, time.time())


def _fetch(client: Client, image: Any, path: Path) -> None:
    download.to_path(client, image, path, overwrite=False)


class _Preferring(httpx.HTTPTransport):
    """Tells Prism which answer is wanted; the client knows nothing of it."""

    prefer = ""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Prefer"] = self.prefer
        return super().handle_request(request)


class _AsyncPreferring(httpx.AsyncHTTPTransport):
    """The same for async clients."""

    prefer = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Prefer"] = self.prefer
        return await super().handle_async_request(request)
