"""Read and unpack the body of an answer within limits: a few kilobytes can unpack to gigabytes."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import NamedTuple, TypeAlias, cast

import httpx

from airflow_provider_oxen.api.redact import redacted_line

__all__ = [
    "ENCODINGS",
    "MAX_FREE_BYTES",
    "MAX_PAID_BYTES",
    "Problem",
    "fetch_response",
    "pieces",
    "problem_of",
    "read_response",
]

ENCODINGS = "gzip, deflate"
"""The encodings to ask for: they can be unpacked piece by piece, and need no further library."""

MAX_FREE_BYTES = 32 * 1024 * 1024
"""Bytes read of an answer to a call that costs nothing: about 35,000 queued jobs with prompts of 500
characters."""

MAX_PAID_BYTES = 384 * 1024 * 1024
"""Bytes read of an answer to a paid call: the largest image that is kept, as base64 text."""

_RATIO = 8
"""How many times its packed size a long body may unpack to; base64 text reaches 1.4."""

_PIECE = 256 * 1024
"""Bytes that are unpacked at a time."""

_LAYERS = 2
"""How many encodings may be nested."""

_REASON = 1024 * 1024
"""Bytes of a body that are searched for the reason of an error."""

_EXTENSION = "oxen_problem"

Sends: TypeAlias = httpx.Client | httpx.AsyncClient | httpx.BaseTransport | httpx.AsyncBaseTransport
"""Anything that sends a request."""


class Problem(NamedTuple):
    """Why a body could not be read as intended.

    :ivar clause: the reason, as a clause.
    :ivar is_length: whether the body is only too long.
    """

    clause: str
    is_length: bool


def problem_of(response: httpx.Response) -> Problem | None:
    """Return what is wrong with a body. Its content is then the packed bytes, as far as they were read."""
    found: Problem | None = response.extensions.get(_EXTENSION)
    return found


async def fetch_response(http: Sends, request: httpx.Request, longest: int) -> httpx.Response:
    """Send a request and return its answer with the body read, up to the limit.

    :param http: what sends the request. If it blocks, this function blocks too, and needs no event loop.
    :param longest: bytes that the body may unpack to.
    """
    return await read_response(await _open(http, request), longest)


async def _open(http: Sends, request: httpx.Request) -> httpx.Response:
    """Send a request and return its answer before anything of the body is read."""
    try:
        if isinstance(http, httpx.Client):
            return http.send(request, stream=True)
        if isinstance(http, httpx.AsyncClient):
            return await http.send(request, stream=True)
        if isinstance(http, httpx.BaseTransport):
            response = http.handle_request(request)
        else:
            response = await http.handle_async_request(request)
    except UnicodeError:
        # The host has a name that httpx cannot encode; httpx raises no error of its own for it.
        said = "the redirect leads to no host that could have this name"
        raise httpx.RemoteProtocolError(said, request=request) from None
    if response.has_redirect_location:
        # Set it as a client does, for the error message; redirects are never followed.
        with contextlib.suppress(httpx.InvalidURL, ValueError):
            response.next_request = httpx.Request("GET", request.url.join(response.headers["location"]))
    return response


async def read_response(response: httpx.Response, longest: int) -> httpx.Response:
    """Read the body of an open answer, up to the limit, and close it."""
    stream = response.stream
    try:
        if response.is_stream_consumed:
            # A test's transport may return whole answers.
            return _untied(response, response.content)
        body = _Body(response, longest)
        if not body.problem:
            # Close the iterator here; otherwise the event loop closes an unfinished one at some later time.
            travelling = aiter(stream) if isinstance(stream, httpx.AsyncByteStream) else _given(stream)
            async with contextlib.aclosing(cast("AsyncGenerator[bytes]", travelling)) as travelled:
                async for raw in travelled:
                    if body.add(raw):
                        break
    finally:
        if isinstance(stream, httpx.AsyncByteStream):
            await stream.aclose()
        else:
            stream.close()
    return body.whole()


def _untied(response: httpx.Response, content: bytes) -> httpx.Response:
    # In httpx an answer and its stream refer to each other: without this, an image would stay in memory until
    # the next garbage collection.
    response.stream = httpx.ByteStream(content)
    return response


async def pieces(response: httpx.Response, size: int) -> AsyncGenerator[bytes]:
    """Yield the body of an open answer piece by piece, unpacked, and never much of it at once.

    :param size: bytes that are read at a time.
    :raises httpx.DecodingError: if the packed data is damaged.
    """
    if response.is_stream_consumed:
        for piece in response.iter_bytes(size):
            yield piece
        return
    unpacker = _Unpacker(response)
    is_async = isinstance(response.stream, httpx.AsyncByteStream)
    travelling = response.aiter_raw(size) if is_async else _given(response.iter_raw(size))
    async with contextlib.aclosing(cast("AsyncGenerator[bytes]", travelling)) as travelled:
        async for raw in travelled:
            for piece in unpacker.unpack(raw):
                yield piece


async def _given(pieces: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


class _Body:
    """Collects a body, piece by piece."""

    def __init__(self, response: httpx.Response, longest: int) -> None:
        self.problem: Problem | None = None
        self._response = response
        # The reason for an error is short.
        self._longest = longest if response.is_success else _REASON
        self._unpacker = _Unpacker(response)
        self._travelled: list[bytes] = []
        self._unpacked: list[bytes] = []
        # Bytes of the two lists.
        self._came = self._size = 0
        announced = response.headers.get("content-length", "")
        if longest < MAX_PAID_BYTES and len(announced) < 20 and announced.isascii() and announced.isdecimal():
            self._judge(int(announced), longest)

    def add(self, raw: bytes) -> bool:
        """Add a piece, and return whether to stop reading."""
        self._came += len(raw)
        self._travelled.append(raw)
        try:
            for piece in self._unpacker.unpack(raw):
                self._size += len(piece)
                self._unpacked.append(piece)
                if self._judge(self._size, max(MAX_FREE_BYTES, _RATIO * self._came)):
                    return True
        except httpx.DecodingError as error:
            self.problem = Problem(str(error), False)
        return self.problem is not None

    def whole(self) -> httpx.Response:
        """Return the answer with its body, unpacked if possible."""
        response = self._response
        if self._unpacker.unknown and self._came and not self.problem:
            self.problem = Problem(self._unpacker.unknown, False)
        # What was paid for is kept as it came.
        as_it_came = self.problem and response.is_success
        response.headers.pop("content-encoding", None)
        _untied(response, b"".join(self._travelled if as_it_came else self._unpacked)).read()
        if self.problem:
            response.extensions[_EXTENSION] = self.problem
        return response

    def _judge(self, size: int, most: int) -> bool:
        most = min(most, self._longest)
        if size > most:
            self.problem = Problem(f"it is longer than the {most // 2**20 or 1} MB that are read", True)
        return size > most


class _Unpacker:
    """Unpacks the pieces of a body; those of an encoding that was not asked for stay as they are.

    :ivar unknown: what is wrong with the encoding, as a clause, or the empty string.
    """

    def __init__(self, response: httpx.Response) -> None:
        names = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
        names = [name for name in names if name not in ("", "identity")]
        self.unknown = ""
        if len(names) > _LAYERS or not _Inflated.NAMES.issuperset(names):
            self.unknown = f"its encoding is {redacted_line(', '.join(names), 50)!r}, which was not asked for"
        self._layers = [] if self.unknown else [_Inflated(name) for name in reversed(names)]

    def unpack(self, raw: bytes) -> Iterator[bytes]:
        """:raises httpx.DecodingError: if the packed data is damaged."""
        pieces: Iterator[bytes] = iter([raw])
        for layer in self._layers:
            pieces = layer.unpack(pieces)
        try:
            yield from pieces
        except zlib.error:
            raise httpx.DecodingError("it is packed, and what it is packed in is damaged") from None


class _Inflated:
    """Unpacks gzip or deflate."""

    NAMES = frozenset({"gzip", "x-gzip", "deflate"})

    def __init__(self, name: str) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if name == "deflate" else zlib.MAX_WBITS | 16)
        self._head: bytes | None = b"" if name == "deflate" else None

    def unpack(self, packed: Iterator[bytes]) -> Iterator[bytes]:
        for raw in packed:
            if self._head is not None:
                # Some servers leave out the two header bytes.
                self._head += raw
                if len(self._head) < 2:
                    continue
                raw, self._head = self._head, None
                if int.from_bytes(raw[:2]) % 31 or raw[0] & 15 != zlib.DEFLATED:
                    self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            yield from self._inflated(raw)

    def _inflated(self, raw: bytes) -> Iterator[bytes]:
        # Ignore bytes after the end; zlib would return them again and again.
        while not self._inflate.eof:
            piece = self._inflate.decompress(raw, _PIECE)
            raw = self._inflate.unconsumed_tail
            if piece:
                yield piece
            if not raw and len(piece) < _PIECE:
                return
