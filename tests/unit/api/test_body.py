"""A body is unpacked as far as it may be, and what was paid for is kept as it came."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api import body, bulk, calls, errors, queue
from airflow_provider_oxen.api.bulk import BulkClient, TooLong
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.api.settings import Settings

from .conftest import FREE, HUB, IMAGES, KEY, MODEL, PAID

MIB = 1024 * 1024
WHOLE = json.dumps(IMAGES).encode()


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """What travels, bit by bit.

    :ivar taken: bytes that were asked for.
    """

    def __init__(self, content: bytes, size: int = 4096) -> None:
        self.pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += len(piece)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def bomb(mebibytes: int, start: bytes = b"") -> bytes:
    """Return what unpacks, as deflate, to so many MiB of blanks."""
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes + packer.flush()


def says(hub, content: bytes, encoding: str = "", status: int = 200, size: int = 4096, **headers: str):
    named = [(b"content-type", b"application/json"), *((k.encode(), v.encode()) for k, v in headers.items())]
    named += [(b"content-encoding", encoding.encode())] if encoding else []
    pieces = Pieces(content, size)
    hub.says(lambda request: httpx.Response(status, headers=named, stream=pieces))
    return pieces


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("", WHOLE),
        ("identity", WHOLE),
        ("gzip", gzip.compress(WHOLE)),
        ("X-GZip", gzip.compress(WHOLE)),
        ("deflate", zlib.compress(WHOLE)),
        ("deflate", zlib.compress(WHOLE)[2:-4]),
        ("gzip, deflate", zlib.compress(gzip.compress(WHOLE))),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "deflate", "bare deflate", "two"],
)
@pytest.mark.parametrize("size", [1, 4096])
async def test_usual_encodings_are_unpacked(twin, hub, encoding, content, size):
    says(hub, content, encoding, size=size)

    assert (await twin.send(PAID)).images[0].url == IMAGES["images"][0]["url"]
    assert hub.asked[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [4096, MIB])
async def test_what_follows_the_end_is_left_alone(twin, hub, size):
    says(hub, gzip.compress(WHOLE + b" " * 3 * MIB) + b"and more" * 1000, "gzip", size=size)

    assert (await twin.send(PAID)).images[0].url == IMAGES["images"][0]["url"]


@pytest.mark.asyncio
@pytest.mark.parametrize("start", [b"", b"[" * 100])
async def test_bomb_of_a_free_call_is_not_unpacked(twin, hub, start):
    pieces = says(hub, bomb(400, start), "deflate")
    error = await twin.failure(FREE)

    assert type(error) is errors.OxenServerError
    assert "it is longer than the 32 MB that are read" in str(error)
    # Of four attempts together.
    assert pieces.taken < len(bomb(400)) / 2


@pytest.mark.asyncio
async def test_bomb_of_a_paid_call_is_kept_as_it_came(twin, hub):
    packed = bomb(400, b'{"images": [')
    pieces = says(hub, packed, "deflate")
    error = await twin.failure(PAID)

    assert type(error) is errors.OxenOutcomeUnknown
    assert str(error).startswith("An image may have been paid for.")
    assert error.unread is not None
    assert packed.startswith(error.unread.content)
    assert len(error.unread.content) == pieces.taken


@pytest.mark.asyncio
async def test_long_paid_answer_is_read_where_it_travelled_as_long(twin, hub, monkeypatch):
    monkeypatch.setattr(body, "MAX_FREE_BYTES", 1000)
    text = "".join(chr(65 + n * 7 % 26) for n in range(5000))
    says(hub, gzip.compress(json.dumps({"images": [{"b64_json": text}]}).encode(), 0), "gzip")

    assert (await twin.send(PAID)).images[0].b64_json == text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("br", "its encoding is 'br', which was not asked for"),
        ("gzip, gzip, gzip", "its encoding is 'gzip, gzip, gzip', which was not asked for"),
        ("gzip", "it is packed, and what it is packed in is damaged"),
        ("deflate", "it is packed, and what it is packed in is damaged"),
    ],
)
async def test_what_cannot_be_unpacked_is_kept_as_it_came(twin, hub, encoding, told):
    says(hub, b"\x78\x9cnothing of the kind", encoding)
    paid, free = await twin.failure(PAID), await twin.failure(FREE)

    assert told in str(paid)
    assert paid.unread.content == b"\x78\x9cnothing of the kind"
    assert (type(free), told in str(free)) == (errors.OxenServerError, True)


@pytest.mark.asyncio
async def test_refusal_is_understood_however_long_its_page_is(twin, hub):
    pieces = says(hub, bomb(400), "deflate", status=402)
    error = await twin.failure(PAID)

    assert type(error) is errors.OxenCreditsError
    assert pieces.taken < len(bomb(400)) / 40


@pytest.mark.asyncio
@pytest.mark.parametrize("announced", ["9" * 5000, "٣", "-1", "x"])
async def test_odd_announcement_is_none(twin, hub, announced):
    says(hub, json.dumps(MODEL).encode(), **{"content-length": announced})

    assert (await twin.send(FREE)).id == MODEL["id"]


@pytest.mark.asyncio
async def test_what_is_announced_too_long_is_not_fetched(twin, hub):
    length: dict[str, Any] = {"content-length": str(33 * MIB)}
    pieces = says(hub, b"{}", **length)

    assert "it is longer than the 32 MB that are read" in str(await twin.failure(FREE))
    assert pieces.taken == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("location", ["http://xn--/", "http://[::1", "//"])
async def test_redirect_to_a_host_that_is_none(twin, hub, location):
    hub.says(lambda request: httpx.Response(302, headers={"location": location}, stream=Pieces(b"")))

    assert isinstance(await twin.failure(PAID), errors.OxenOutcomeUnknown | errors.OxenRefused)
    assert isinstance(await twin.failure(FREE), errors.OxenServerError | errors.OxenRouteNotFound)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [200, 401])
async def test_headers_of_any_bytes_break_nobody(twin, hub, status):
    odd = [(b"server", "Zürïch".encode("latin-1")), (b"x-request-id", b"\xff\xfe"), (b"link", "💥".encode())]
    client = BulkClient(
        Settings(base_url=HUB, api_key=KEY, max_retries=0),
        transport=httpx.MockTransport(
            lambda request: httpx.Response(
                status, headers=odd, stream=Pieces(json.dumps({"generations": [{"id": "a"}]}).encode())
            )
        ),
    )
    async with client:
        if status == 200:
            assert await client.send(bulk.list_unfinished()) == {"a"}
        else:
            with pytest.raises(errors.OxenAuthenticationError):
                await client.send(bulk.list_unfinished())


@pytest.mark.asyncio
async def test_bomb_of_a_list_is_too_long():
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, headers={"content-encoding": "deflate"}, stream=Pieces(bomb(100, b'{"generations": ['))
        )
    )
    async with BulkClient(Settings(base_url=HUB, api_key=KEY, max_retries=0), transport=transport) as client:
        with pytest.raises(TooLong):
            await client.send(bulk.list_unfinished())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("call", "answer", "why"),
    [
        (queue.list_queue(), {"generations": [{"id": "a"}] * 50_001}, "more than the 50,000 rows"),
        (calls.list_models(), {"data": [[]] * 600_000}, "more than 1,000,000 values"),
    ],
    ids=["rows", "values"],
)
async def test_lists_have_an_end(twin, hub, call, answer, why):
    says(hub, json.dumps(answer).encode(), size=MIB)

    assert why in str(await twin.failure(call))


@pytest.mark.asyncio
async def test_more_images_than_anybody_makes_are_not_all_taken(twin, hub):
    says(hub, json.dumps({"images": [{"url": f"/{n}.png"} for n in range(150)] + [5]}).encode())
    found = await twin.send(PAID)

    assert (len(found.images), found.unread) == (100, 51)


def test_encoding_that_quotes_the_key_shows_no_half_of_it():
    register_key("k3y-of-the-body-tests")
    strange = httpx.Response(200, headers={"content-encoding": f"{'x' * 40}k3y-of-the-body-tests"})

    assert "k3y" not in body._Unpacker(strange).unknown
