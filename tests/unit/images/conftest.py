"""Pictures, servers that answer from a table, and a store that can fail: what tests of the bytes need."""

from __future__ import annotations

import asyncio
import io
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any, BinaryIO

import httpx
import pytest
from PIL import Image

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images.storage import LocalFolder

HUB = "https://hub.example"
KEY = "key-that-must-not-leak"
SIGNATURE = "signature-that-must-not-leak"
LINK = f"{HUB}/files/image.png?X-Signature={SIGNATURE}"

Answer = Callable[[httpx.Request], httpx.Response]


@lru_cache
def picture(kind: str = "PNG", size: tuple[int, int] = (16, 12), frames: int = 1, **options: Any) -> bytes:
    """Return an image's bytes; noise, so that no part of them can be missed."""
    noise = random.Random(1)
    drawn = [Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3)) for _ in range(frames)]
    if frames > 1:
        options |= {"save_all": True, "append_images": drawn[1:]}
    written = io.BytesIO()
    drawn[0].save(written, kind, **options)
    return written.getvalue()


def found(body: bytes | list[bytes], **headers: str) -> Answer:
    """Answer with a body that is streamed; ``_`` in a header's name stands for ``-``."""
    chunks = [body] if isinstance(body, bytes) else body
    named = {"content_length": str(sum(map(len, chunks))), **headers}
    fields = {name.replace("_", "-"): value for name, value in named.items() if value}
    return lambda request: httpx.Response(200, headers=fields, content=iter(chunks))


def refused(status: int, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, headers=fields, content=iter([b"no"]))


def moved(to: str, status: int = 302) -> Answer:
    return lambda request: httpx.Response(status, headers={"location": to})


def with_key(answer: Answer, without: int = 401) -> Answer:
    """Answer those who bring the key; the others get a status."""
    right = f"Bearer {KEY}"
    return lambda request: (answer if request.headers.get("authorization") == right else refused(without))(
        request
    )


class Web:
    """Servers that answer from a table, by URL, and remember what they were asked.

    :ivar slept: the seconds that were waited between attempts.
    """

    def __init__(self) -> None:
        self.pages: dict[str, list[Answer]] = {}
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []

    def put(self, url: str, *answers: Answer) -> None:
        """Give an URL its answers; the last one is repeated."""
        self.pages[url] = list(answers)

    def client(self, **settings: Any) -> Client:
        fields: dict[str, Any] = {"base_url": HUB, "api_key": KEY, **settings}
        return Client(
            Settings(**fields), transport=httpx.MockTransport(self._answer), sleep=self.slept.append
        )

    def aclient(self, **settings: Any) -> AsyncClient:
        fields: dict[str, Any] = {"base_url": HUB, "api_key": KEY, **settings}
        return AsyncClient(
            Settings(**fields), transport=httpx.MockTransport(self._aanswer), sleep=self._asleep
        )

    async def _asleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def _aanswer(self, request: httpx.Request) -> httpx.Response:
        response = self._answer(request)
        if not response.is_stream_consumed:
            response.stream = _Later(response.stream)
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answers = self.pages[str(request.url)]
        return (answers.pop(0) if len(answers) > 1 else answers[0])(request)

    @property
    def keyed(self) -> list[str]:
        """The URLs that the key was sent to."""
        return [
            str(request.url) for request in self.asked if KEY in str(request.headers.get("authorization"))
        ]


class _Later(httpx.AsyncByteStream):
    """A body that comes bit by bit, for whoever waits for it on a loop."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            await asyncio.sleep(0)
            yield piece

    async def aclose(self) -> None:
        self._stream.close()


class FlakyFolder(LocalFolder):
    """A local folder whose questions and writes fail as told.

    :ivar failing: called before each with its kind (``read``, ``size``, ``put``, ``clean``) and the name; a
        file that is created is put too.
    :ivar written: every name, in the order it was written.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.failing: Callable[[str, str], None] = lambda kind, name: None
        self.written: list[str] = []

    def read(self, name: str) -> bytes | None:
        self.failing("read", name)
        return super().read(name)

    def size(self, name: str) -> int | None:
        self.failing("size", name)
        return super().size(name)

    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        self.failing("put", name)
        super().put(name, source, writer_id, lasting=lasting)
        self.written.append(name)

    def create(self, name: str, source: BinaryIO | bytes, writer_id: str) -> bool:
        self.failing("put", name)
        made = super().create(name, source, writer_id)
        if made:
            self.written.append(name)
        return made

    def clean(self, writer_id: str) -> None:
        self.failing("clean", writer_id)
        super().clean(writer_id)


def failing(kind: str, ending: str, times: int = 1000) -> Callable[[str, str], None]:
    """Return a ``failing`` for :class:`FlakyFolder`: some calls for names that end so fail."""
    left = [times]

    def fail(asked: str, name: str) -> None:
        if asked == kind and name.endswith(ending) and left[0]:
            left[0] -= 1
            raise OSError(f"the disk is on fire: https://store.example/{name}?sig={SIGNATURE}")

    return fail


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def folder(tmp_path: Any) -> FlakyFolder:
    (tmp_path / "out").mkdir()
    return FlakyFolder(str(tmp_path / "out"))


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does: no key and no signed query in the log, at any level."""
    caplog.set_level(logging.DEBUG)
    yield
    logged = "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
    assert KEY not in logged
    assert SIGNATURE not in logged
