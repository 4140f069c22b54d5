"""Network connections for ``httpcore``: blocking ones that keep a deadline, and asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import httpcore

from airflow_provider_oxen.api import deadline

__all__ = ["AsyncStream", "Stream", "as_httpcore_errors", "within"]

_PIECE = 64 * 1024
"""Bytes that are written at a time; the deadline is checked between two of them."""


class _Reader(asyncio.StreamReader):
    """Counts the bytes that arrived."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.came = 0

    def feed_data(self, data: Any) -> None:
        self.came += len(data)
        super().feed_data(data)


class _Writer(asyncio.StreamWriter):
    """Closes without an error if its event loop has ended before it: the process no longer needs it."""

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.transport.abort()


class AsyncStream(httpcore.AsyncNetworkStream):
    """A connection on asyncio's own streams, which make it cheap to ask whether it is still open: for each
    request, a pool asks that of every idle connection."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._taken = 0
        # Written bytes go to the kernel, and not into a buffer of this process.
        writer.transport.set_write_buffer_limits(0)

    @classmethod
    async def to(cls, address: str, port: int) -> AsyncStream:
        """Return a connection to an address."""
        loop, reader = asyncio.get_running_loop(), _Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, address, port)
        return cls(reader, _Writer(transport, protocol, reader, loop))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with as_httpcore_errors(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                data = await self._reader.read(max_bytes)
        self._taken += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        with as_httpcore_errors(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()

    async def aclose(self) -> None:
        # The caller has read what it needs: do not wait for the other side to close.
        self._writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with as_httpcore_errors(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                async with asyncio.timeout(timeout):
                    await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
            except BaseException:
                await self.aclose()
                raise
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # For an idle connection: whether the other side has closed it, or has sent unrequested bytes.
            unread = self._reader.came > self._taken
            return unread or self._reader.at_eof() or self._writer.transport.is_closing()
        return self._writer.get_extra_info(info)


@contextlib.contextmanager
def as_httpcore_errors(
    timeout: float | None, late: type[Exception], failed: type[Exception]
) -> Iterator[None]:
    """Turn the errors of a connection into those of ``httpcore``."""
    try:
        yield
    except TimeoutError as error:
        raise late(f"not done within {timeout} s") from error
    except OSError as error:
        raise failed(str(error)) from error


class Stream(httpcore.NetworkStream):
    """A connection whose reads and writes end by the deadline of the code that makes them."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, within(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], within(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = within(timeout, httpcore.ConnectTimeout)
        return Stream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def within(timeout: float | None, late: type[Exception]) -> float | None:
    left = deadline.left()
    if left <= 0:
        raise late("the deadline has passed")
    return timeout if left == float("inf") else left if timeout is None else min(timeout, left)
