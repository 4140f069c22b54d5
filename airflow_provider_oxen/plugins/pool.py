"""Opens originals on threads of its own, so that a slow store never holds those of Airflow's API server.

A viewer waits without any thread. Beyond a few viewers nobody waits: the answer comes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Event
from typing import Any, BinaryIO

import anyio
from fastapi.responses import StreamingResponse

from airflow_provider_oxen.api.blocking import Threads
from airflow_provider_oxen.plugins.originals import Original, Prefix, read_original

__all__ = ["Busy", "OriginalPool", "OriginalResponse"]

THREADS = 2
"""Originals that are read and decoded at once: one may take 400 MB of the API server's memory."""

PLACES = 12
"""Originals that are waited for or sent at once, of 64 MB on the API server's disk at most: an enlarged image
and its neighbours for a few viewers."""

PATIENCE = 20.0
"""Seconds from a request until its original is read and proved."""

SENDING = 300.0
"""Seconds until an original is sent; a slow viewer then gives its place to another."""

_CHUNK = 256 * 1024

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Busy(Exception):
    """Others are being opened, or the store is slow; the browser may ask again."""


class OriginalPool:
    """The threads and the places of one API server process; all its methods run on the event loop."""

    def __init__(self) -> None:
        self._threads = Threads(THREADS, "oxen-originals")
        self._taken = 0

    @asynccontextmanager
    async def open(self, path: str, prefix: Prefix, receive: Receive) -> AsyncIterator[Original]:
        """Open an original. Its place is free again when it is closed.

        :param path: for which :func:`.originals.find` gave the prefix.
        :param receive: tells when the client has gone away.
        :raises Busy: if too many others wait, if it takes too long, or if the client has gone away.
        :raises OSError: see :func:`.originals.read_original`.
        """
        if self._taken >= PLACES:
            raise Busy
        self._taken += 1
        given_up = Event()
        work = self._threads.submit(read_original, path, prefix, given_up.is_set)
        try:
            yield await _wait(work, receive)
        finally:
            self._taken -= 1
            given_up.set()
            # What has begun may still end; nobody waits for it.
            if not work.cancel():
                work.add_done_callback(_close)


async def _wait(work: Future[Original], receive: Receive) -> Original:
    opening, leaving = asyncio.wrap_future(work), asyncio.create_task(_leave(receive))
    first: set[asyncio.Future[Any]] = {opening, leaving}
    try:
        await asyncio.wait(first, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            raise Busy
        return opening.result()
    finally:
        opening.cancel()
        leaving.cancel()


async def _leave(receive: Receive) -> None:
    said = await receive()
    while said["type"] != "http.disconnect":
        said = await receive()


def _close(work: Future[Original]) -> None:
    if work.exception() is None:
        work.result().file.close()


class OriginalResponse(StreamingResponse):
    """Sends an original, and closes it however the sending ends.

    :param opened: what to close.
    """

    def __init__(self, original: Original, opened: AsyncExitStack) -> None:
        size = {"Content-Length": str(original.size)}
        super().__init__(_chunks(original.file), media_type=original.media_type, headers=size)
        self._opened = opened

    async def __call__(self, *asgi: Any) -> None:
        async with self._opened:
            with anyio.move_on_after(SENDING):
                await super().__call__(*asgi)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk
