"""A paid request on a real connection: always a fresh one, and the last look comes before its first byte."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.settings import Settings

from .conftest import FREE, IMAGES, KEY, MODEL, PAID, Hub, answer

PATIENCE = 20.0


class Host:
    """Answers the first request of each connection as if the connection went on, and hangs up on the second.

    That is what a client meets whose kept connection the hub has closed in the meantime.

    :param certificate: path of a PEM file; None speaks plain HTTP.
    :param says: what it answers to a POST, by turns; the last again and again.
    :ivar opened: how many connections came.
    :ivar asked: first lines of the requests, ``None`` for a connection that ended before a byte of one.
    """

    def __init__(self, certificate: str | None = None, says: tuple[int, ...] = (200,)) -> None:
        self.opened = threading.Semaphore(0)
        self.asked: list[str | None] = []
        self._says = list(says)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context:
            self._context.load_cert_chain(str(certificate))
        self.port = self._socket.getsockname()[1]
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._serve, args=[line]))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(PATIENCE)
        with plain, contextlib.suppress(OSError):
            line = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            with line:
                self.opened.release()
                self.talk(line)

    def talk(self, line: socket.socket) -> None:
        request = _read(line)
        self.asked.append(request)
        if request is None:
            return
        status, body = 200, json.dumps(MODEL).encode()
        if request.startswith("POST"):
            status = self._says.pop(0) if len(self._says) > 1 else self._says[0]
            body = json.dumps(IMAGES if status == 200 else {"error": {"message": "later"}}).encode()
        line.sendall(f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        line.recv(1)

    def close(self) -> None:
        """Wait until every connection has ended."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()


class Tunnel(Host):
    """A proxy that opens tunnels, all of them to this machine.

    :param stands: whether it does so; otherwise it hangs up.
    """

    def __init__(self, stands: bool = True) -> None:
        super().__init__()
        self.stands = stands

    def talk(self, line: socket.socket) -> None:
        request = _read(line)
        self.asked.append(request)
        if not self.stands or not request:
            return
        with socket.create_connection(("127.0.0.1", int(request.split()[1].partition(":")[2]))) as there:
            line.sendall(b"HTTP/1.1 200 Tunnel\r\n\r\n")
            back = threading.Thread(target=_pump, args=(there, line))
            back.start()
            _pump(line, there)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _read(line: socket.socket) -> str | None:
    """Return the first line of a request that has been read whole."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = b""
        with contextlib.suppress(OSError):
            piece = line.recv(65536)
        if not piece:
            return text.decode() or None
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    for name, _, value in (header.partition(b":") for header in head.split(b"\r\n")):
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += line.recv(65536)
    return head.split(b"\r\n")[0].decode()


class Line:
    """Either client on a real connection.

    :param looks: what each last look does; nothing when they are used up.
    :ivar looked: how many last looks there were.
    """

    def __init__(self, kind: str, settings: Settings) -> None:
        self.kind, self.settings = kind, settings
        self.looked = 0
        self.looks: list[Callable[[], object]] = []

    def _look(self) -> None:
        self.looked += 1
        if self.looks:
            self.looks.pop(0)()

    async def send(self, *calls: Any, transport: Any = None) -> list[Any]:
        if self.kind == "sync":
            with Client(self.settings, sleep=lambda _: None, transport=transport) as client:
                return [client.send(call, guard=self._look) for call in calls]

        async def look() -> None:
            self._look()

        async def sleep(_: float) -> None:
            """Wait for nothing."""

        async with AsyncClient(self.settings, sleep=sleep, transport=transport) as twin:
            return [await twin.send(call, guard=look) for call in calls]


@pytest.fixture(params=["sync", "async"])
def line(request: pytest.FixtureRequest) -> Callable[..., Line]:
    def make(url: str, **fields: Any) -> Line:
        return Line(request.param, Settings(url, KEY, api_layout="classic", max_retries=1, **fields))

    return make


@pytest.fixture
def serve() -> Iterator[Callable[[Host], Host]]:
    with contextlib.ExitStack() as open_ones:

        def start(host: Host) -> Host:
            open_ones.callback(host.close)
            return host

        yield start


def refuse() -> None:
    raise errors.OxenRecordError("The record is another try's.")


def refuse_at(host: Host) -> Callable[[], None]:
    """Return a last look that refuses once the host has taken the connection."""

    def look() -> None:
        assert host.opened.acquire(timeout=PATIENCE)
        refuse()

    return look


@pytest.mark.asyncio
async def test_a_kept_connection_that_was_closed_costs_no_doubt(serve, line):
    host = serve(Host())

    model, answer, again = await line(host.url).send(FREE, PAID, PAID)

    assert model.id == "z-image-turbo"
    assert len(answer.images) == len(again.images) == 1
    assert [asked.split()[0] for asked in host.asked] == ["GET", "POST", "POST"]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.asyncio
async def test_last_look_comes_when_the_connection_stands_and_before_a_byte(serve, line, certificate, secure):
    host = serve(Host(certificate if secure else None))
    ours = line(host.url, verify=certificate)
    asked_by_then = []

    def look() -> None:
        assert host.opened.acquire(timeout=PATIENCE)
        asked_by_then.extend(host.asked)

    ours.looks = [look]
    await ours.send(PAID)

    assert (ours.looked, asked_by_then) == (1, [])
    assert host.asked == ["POST /api/images/generate HTTP/1.1"]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.asyncio
async def test_what_the_last_look_raises_comes_out_as_it_is_and_nothing_was_sent(
    serve, line, certificate, secure
):
    host = serve(Host(certificate if secure else None))
    ours = line(host.url, verify=certificate)
    ours.looks = [refuse_at(host)]

    with pytest.raises(errors.OxenRecordError, match=r"paid for\. The record is another try's\.$"):
        await ours.send(PAID)

    host.close()
    assert (ours.looked, host.asked) == (1, [None])


@pytest.mark.asyncio
async def test_each_attempt_is_looked_at_anew(serve, line):
    host = serve(Host(says=(429, 200)))
    ours = line(host.url)

    await ours.send(PAID)
    assert (ours.looked, len(host.asked)) == (2, 2)

    host = serve(Host(says=(429, 200)))
    ours.looks = [host.opened.acquire, refuse_at(host)]
    ours.settings = line(host.url).settings
    with pytest.raises(errors.OxenRecordError):
        await ours.send(PAID)
    host.close()
    assert host.asked == ["POST /api/images/generate HTTP/1.1", None]


@pytest.mark.asyncio
async def test_call_that_costs_nothing_is_not_looked_at(serve, line):
    host = serve(Host())
    ours = line(host.url)

    await ours.send(FREE)

    assert ours.looked == 0


class TestProxies:
    """A proxy has a request of its own before ours."""

    @pytest.mark.parametrize("look", [None, refuse], ids=["goes", "stops"])
    @pytest.mark.asyncio
    async def test_last_look_comes_in_the_tunnel_not_before_it(self, serve, line, certificate, look):
        host, proxy = serve(Host(certificate)), serve(Tunnel())
        ours = line(f"https://hub.example:{host.port}", verify=certificate, proxy=proxy.url)

        def first() -> None:
            assert host.opened.acquire(timeout=PATIENCE)
            assert len(proxy.asked) == 1
            if look:
                look()

        ours.looks = [first]
        with pytest.raises(errors.OxenRecordError) if look else contextlib.nullcontext():
            await ours.send(PAID)

        proxy.close()
        host.close()
        assert proxy.asked == [f"CONNECT hub.example:{host.port} HTTP/1.1"]
        assert host.asked == [None if look else "POST /api/images/generate HTTP/1.1"]
        assert ours.looked == 1

    @pytest.mark.parametrize("stops", [False, True], ids=["goes", "stops"])
    @pytest.mark.asyncio
    async def test_proxy_of_plain_http_is_looked_at_too(self, serve, line, stops):
        proxy = serve(Host())
        ours = line("http://hub.example", proxy=proxy.url)
        ours.looks = [refuse_at(proxy)] if stops else []

        with pytest.raises(errors.OxenRecordError) if stops else contextlib.nullcontext():
            await ours.send(PAID)

        proxy.close()
        sent = "POST http://hub.example/api/images/generate HTTP/1.1"
        assert (ours.looked, proxy.asked) == (1, [None if stops else sent])

    @pytest.mark.asyncio
    async def test_tunnel_that_was_not_opened_leaves_no_doubt(self, serve, line, certificate):
        host, proxy = serve(Host(certificate)), serve(Tunnel(stands=False))
        ours = line(f"https://hub.example:{host.port}", verify=certificate, proxy=proxy.url)

        with pytest.raises(errors.OxenConnectionError, match="Nothing was spent"):
            await ours.send(PAID)

        assert (ours.looked, len(proxy.asked), host.asked) == (0, 2, [])


@pytest.mark.asyncio
async def test_transport_of_a_test_is_looked_at_right_before_it_sends(line):
    hub = Hub()
    hub.says(answer(json=IMAGES))
    ours = line("https://hub.example")
    ours.looks = [lambda: None, refuse]

    await ours.send(PAID, transport=httpx.MockTransport(hub.answer))
    with pytest.raises(errors.OxenRecordError):
        await ours.send(PAID, transport=httpx.MockTransport(hub.answer))

    assert (ours.looked, len(hub.asked)) == (2, 1)


class Silent(Host):
    """Takes a request and hangs up."""

    def talk(self, line: socket.socket) -> None:
        self.asked.append(_read(line))


@pytest.mark.asyncio
async def test_answer_lost_on_a_real_connection_is_never_taken_for_a_request_that_was_not_sent(serve, line):
    host = serve(Silent())
    ours = line(host.url)

    with pytest.raises(errors.OxenOutcomeUnknown):
        await ours.send(PAID)

    assert (ours.looked, len(host.asked)) == (1, 1)


class Elsewhere(Host):
    """Answers with a redirect, and tries to leave a cookie."""

    def __init__(self, location: str) -> None:
        super().__init__()
        self._location = location

    def talk(self, line: socket.socket) -> None:
        self.asked.append(_read(line))
        head = f"HTTP/1.1 307 Some\r\nLocation: {self._location}\r\nSet-Cookie: a=b\r\n"
        line.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.example/x?key=1", "https://elsewhere.example, which"),
        ("/x", "http://127.0.0.1:[0-9]+, which"),
        ("http://xn--/", "nowhere, which"),
        ("https://a..b\u00e9/", "nowhere, which"),
    ],
)
async def test_redirect_of_a_paid_request_is_told_and_never_followed(serve, location, told):
    host = serve(Elsewhere(location))
    with Client(Settings(host.url, KEY)) as client:
        with pytest.raises(errors.OxenOutcomeUnknown, match=told):
            client.send(PAID)
        assert not client.http.cookies
    async with AsyncClient(Settings(host.url, KEY)) as twin:
        with pytest.raises(errors.OxenOutcomeUnknown, match=told):
            await twin.send(PAID)

    assert len(host.asked) == 2


@pytest.mark.asyncio
async def test_client_that_was_closed_pays_for_nothing(serve):
    host = serve(Host())
    settings = Settings(host.url, KEY)
    client, twin = Client(settings), AsyncClient(settings)
    client.close()
    await twin.aclose()

    with pytest.raises(RuntimeError, match="has been closed"):
        client.send(PAID)
    with pytest.raises(RuntimeError, match="has been closed"):
        await twin.send(PAID)

    assert host.asked == []
