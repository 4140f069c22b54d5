"""A hub that answers from a list, and both clients behind one face: a test of one is a test of the other."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings

HUB = "https://hub.example"
KEY = "key-that-must-not-leak"
LINK = f"{HUB}/files/image.png?X-Signature=signature-that-must-not-leak"

PAID = calls.generate(GenerateRequest(model="z-image-turbo", prompt="A red cube"))
FREE = calls.get_model("z-image-turbo")
IMAGES: dict[str, Any] = {"model": "z-image-turbo", "created": 1780000000, "images": [{"url": LINK}]}
MODEL = {"id": "z-image-turbo", "capabilities": {"output": ["image"]}}

T = TypeVar("T")
Answer = Callable[[httpx.Request], httpx.Response]


def answer(status: int = 200, json: Any = None, **options: Any) -> Answer:
    """Answer with this status and body."""
    return lambda request: httpx.Response(status, json=json, **options)


def trouble(kind: type[httpx.RequestError], text: str = "") -> Answer:
    """Fail below HTTP."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind(text, request=request)

    return fail


class Hub:
    """Answers in the order told, the last answer again and again, and remembers what happened.

    :ivar asked: the requests that arrived.
    :ivar slept: the seconds that were waited between two of them.
    """

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []
        self._answers: list[Answer] = []

    def says(self, *answers: Answer) -> None:
        self._answers = list(answers)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])(request)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.asked]


class Twin:
    """Either client, asked in the same words.

    :param kind: ``sync`` or ``async``.
    """

    def __init__(self, kind: str, hub: Hub, **settings: Any) -> None:
        fields: dict[str, Any] = {"base_url": HUB, "api_key": KEY, **settings}
        transport = httpx.MockTransport(hub.answer)
        self.client: Client | AsyncClient
        if kind == "sync":
            self.client = Client(Settings(**fields), transport=transport, sleep=hub.slept.append)
        else:

            async def sleep(seconds: float) -> None:
                hub.slept.append(seconds)

            self.client = AsyncClient(Settings(**fields), transport=transport, sleep=sleep)

    async def send(self, call: calls.Call[T]) -> T:
        if isinstance(self.client, AsyncClient):
            return await self.client.send(call)
        return self.client.send(call)

    async def failure(self, call: calls.Call[Any]) -> OxenError:
        """Return the error of a call that fails; nothing of it shows the key or a signed query."""
        with pytest.raises(OxenError) as caught:
            await self.send(call)
        leaks_nothing(caught.value)
        return caught.value


class Loopback(http.server.ThreadingHTTPServer):
    """A real server on this machine that answers everybody with a model, and those who have the key with a
    signed link in a header; a context.

    :param certificate: path of a PEM file with key and certificate; None speaks plain HTTP.
    :ivar asked: the first lines of the requests.
    """

    def __init__(self, certificate: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        if certificate:
            self.url = self.url.replace("http", "https")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.005})

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that do not like the certificate go away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self) -> None:
        self.server.asked.append(self.requestline)
        body = json.dumps(MODEL | {"data": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if KEY in self.headers.get("Authorization", ""):
            self.send_header("X-Link", LINK)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Drip:
    """A real server that answers everybody with the beginning of an answer, and then a byte now and then; a
    context.

    :param begins: what it sends at once.
    :ivar asked: how many requests came.
    """

    def __init__(self, begins: bytes = b"HTTP/1.1 200 OK\r\nX-Long: ", drop: bytes = b"x") -> None:
        self.begins = begins
        self.drop = drop
        self.asked = 0
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._talk, args=(line,)))
                self._threads[-1].start()

    def _talk(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            if line.recv(65536):
                self.asked += 1
                line.sendall(self.begins)
            while not self._stop.wait(0.005):
                line.sendall(self.drop)

    def __enter__(self) -> Drip:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()


def leaks_nothing(error: BaseException) -> None:
    shown = f"{error} {error!r} {error.__dict__} {''.join(traceback.format_exception(error))}"
    for secret in (KEY, KEY[:8], "signature-that"):
        assert secret not in shown


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, hub: Hub) -> Callable[..., Twin]:
    """Return a client of the hub with these settings; each test runs with the one and with the other."""
    return lambda **settings: Twin(request.param, hub, **settings)


@pytest.fixture
def twin(connect: Callable[..., Twin]) -> Twin:
    return connect()


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does: no key and no signed query in the log, at any level."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")  # Airflow sets it to WARNING.
    yield
    logged = "\n".join(caplog.handler.format(record) for record in caplog.get_records("call"))
    assert KEY[:8] not in logged
    assert "signature-that" not in logged


@pytest.fixture
def loopback() -> type[Loopback]:
    return Loopback
