"""Requests find their way, and none outlives its deadline, over real sockets."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import httpcore
import pytest

from airflow_provider_oxen.api import deadline, errors, queue, streams, transports
from airflow_provider_oxen.api.bulk import BulkClient, list_unfinished
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import fetch

from .conftest import FREE, KEY, PAID, Drip, leaks_nothing
from .resolving import resolve_by

BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
QUEUED = queue.enqueue(GenerateRequest(model="z-image-turbo", prompt="A red cube"))


async def send(kind: Any, settings: Settings, call: Any, **options: Any) -> Any:
    client = kind(settings)
    if isinstance(client, Client):
        with client:
            return client.send(call, **options)
    async with client:
        return await client.send(call, **options)


both = pytest.mark.parametrize("kind", [Client, AsyncClient, BulkClient])


class TestWays:
    @pytest.fixture(autouse=True)
    def proxy(self, loopback, monkeypatch):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        with loopback() as proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            yield proxy

    @both
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    @pytest.mark.asyncio
    async def test_key_for_this_machine_never_goes_to_a_proxy(self, loopback, proxy, kind, host):
        with loopback() as hub:
            settings = Settings(f"http://{host}:{hub.server_port}", KEY)
            assert (await send(kind, settings, FREE)).id == "z-image-turbo"
            # The server knows no POST.
            with pytest.raises(errors.OxenOutcomeUnknown):
                await send(kind, settings, PAID)

            assert len(hub.asked) == 1
        assert proxy.asked == []

    def test_image_of_this_machine_never_comes_by_a_proxy(self, loopback, proxy):
        with loopback() as hub, Client(Settings(hub.url, KEY, proxy=proxy.url)) as client:
            fetch.from_url(client, hub.url.replace("127.0.0.1", "localhost") + "/image.png").close()

            assert hub.asked == ["GET /image.png HTTP/1.1"]
        assert proxy.asked == []

    @both
    @pytest.mark.asyncio
    async def test_others_are_asked_by_the_proxy_of_the_environment(self, proxy, kind):
        settings = Settings("http://hub.example", KEY, allow_http=True)

        assert (await send(kind, settings, FREE)).id == "z-image-turbo"
        assert proxy.asked == ["GET http://hub.example/api/evaluations/models/z-image-turbo HTTP/1.1"]

    @both
    def test_odd_environment_is_an_error_of_the_connection(self, monkeypatch, kind):
        monkeypatch.setenv("NO_PROXY", "[::1]")

        with pytest.raises(errors.OxenSettingsError, match="NO_PROXY"):
            kind(Settings(api_key=KEY))

    @both
    def test_proxy_that_is_spoken_to_by_tls_is_trusted_by_the_same_certificates(self, kind, certificate):
        client = kind(Settings(proxy="https://user:secret@proxy.example", verify=certificate))

        pool: Any = client.http._transport._transports["all"]._pool
        assert pool._proxy_ssl_context.get_ca_certs()


class TestDeadline:
    """A byte now and then keeps every single read going."""

    @both
    @pytest.mark.parametrize("begins", [None, BODY], ids=["head", "body"])
    @pytest.mark.asyncio
    async def test_free_call_ends(self, kind, begins):
        with Drip(begins) if begins else Drip() as hub:
            settings = Settings(hub.url, KEY, timeout=0.1, max_retries=0)
            call = replace(list_unfinished(), slack=1) if kind is BulkClient else FREE
            # On a machine that is very busy, it may not even get to the first byte.
            with pytest.raises(
                (errors.OxenServerError, errors.OxenConnectionError), match="Timeout"
            ) as caught:
                await send(kind, settings, call)

        leaks_nothing(caught.value)

    def test_proxy_does_not_outlive_it_either(self):
        late = pytest.raises(errors.OxenServerError, match="Timeout")
        with Drip() as proxy:
            settings = Settings("http://hub.example", KEY, timeout=0.3, max_retries=0, proxy=proxy.url)
            with Client(settings) as client, late:
                client.send(FREE)

    @pytest.mark.parametrize(
        ("kind", "call"), [(Client, PAID), (AsyncClient, QUEUED)], ids=["generate", "enqueue"]
    )
    @pytest.mark.asyncio
    async def test_paid_call_ends_and_nobody_can_tell(self, kind, call):
        with Drip(BODY) as hub, pytest.raises(errors.OxenOutcomeUnknown, match="was lost"):
            await send(kind, Settings(hub.url, KEY, timeout=0.3), call)
        assert hub.asked == 1

    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    @pytest.mark.asyncio
    async def test_last_look_takes_none_of_the_hubs_time(self, kind, loopback):
        looked = []

        def guard() -> None:
            looked.append(deadline.left())

        async def aguard() -> None:
            guard()

        with loopback() as hub, pytest.raises(errors.OxenOutcomeUnknown):
            await send(kind, Settings(hub.url, KEY), PAID, guard=guard if kind is Client else aguard)

        assert looked == [float("inf")]

    def test_image_ends_and_is_left_to_the_next_try(self):
        slept: list[float] = []
        with (
            Drip(BODY) as host,
            Client(Settings(host.url, KEY, timeout=0.1), sleep=slept.append) as client,
            pytest.raises(errors.OxenDownloadError, match="Timeout") as caught,
        ):
            fetch.from_url(client, f"{host.url}/image.png")

        assert caught.value.passing
        assert slept == []

    @pytest.mark.asyncio
    async def test_image_on_a_loop_ends_and_is_left_to_the_next_try(self):
        with Drip(BODY) as host:
            async with AsyncClient(Settings(host.url, KEY, timeout=0.1)) as client:
                with pytest.raises(errors.OxenDownloadError, match="Timeout") as caught:
                    await fetch.afrom_url(client, f"{host.url}/image.png")

        assert caught.value.passing

    def test_nothing_is_begun_after_it(self):
        client = Client(Settings("http://127.0.0.1:9", KEY))
        passed = pytest.raises(errors.OxenConnectionError, match="the deadline has passed")
        with client, deadline.Deadline(-1), passed:
            client.send(FREE)

    def test_limit_of_whoever_waits_holds_for_all_attempts(self):
        slept: list[float] = []
        late = pytest.raises(errors.OxenError, match="Timeout")
        with (
            Drip() as hub,
            Client(Settings(hub.url, KEY), sleep=slept.append) as client,
            deadline.Deadline(0.1),
            late,
        ):
            client.send(FREE)

        assert slept == []

    def test_long_body_is_written_in_pieces(self, monkeypatch):
        written: list[int] = []
        plain = httpcore.MockStream([])
        monkeypatch.setattr(plain, "write", lambda buffer, timeout=None: written.append(len(buffer)))

        streams.Stream(plain).write(b"x" * 150_000)

        assert written == [65536, 65536, 18928]


class TestResolvingForALoop:
    async def failure(self, **facts: Any) -> str:
        settings = Settings("https://hub.example", KEY, max_retries=0, **facts)
        async with AsyncClient(settings) as client:
            with pytest.raises(errors.OxenConnectionError) as caught:
                await client.send(FREE)
        return str(caught.value)

    @pytest.mark.asyncio
    async def test_name_that_nobody_knows(self, monkeypatch):
        def unknown(host: str) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        resolve_by(monkeypatch, unknown)

        assert "ConnectError" in await self.failure()

    @pytest.mark.asyncio
    async def test_resolver_that_does_not_answer(self, monkeypatch):
        answered = threading.Event()
        resolve_by(monkeypatch, lambda host: answered.wait() and [])

        assert "ConnectTimeout" in await self.failure(connect_timeout=0.01)
        answered.set()


class TestResolving:
    def resolve(self, *answers: Any, seconds: float | None = 60) -> list[str]:
        return list(map(str, transports.resolve("files.example", 443, seconds)))

    def test_address_is_taken_as_it_is(self, monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", None)

        assert transports.resolve("::1", 443, None) == [ipaddress.ip_address("::1")]

    def test_addresses_come_in_their_order(self, monkeypatch):
        told = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 443, 0, 2)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::2%3", 443, 0, 3)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **options: told)

        assert self.resolve() == ["fe80::1%2", "fe80::2%3", "192.0.2.1"]

    @pytest.mark.parametrize(
        "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label")]
    )
    def test_name_without_an_address(self, monkeypatch, error):
        def fail(host: str) -> Any:
            raise error

        resolve_by(monkeypatch, fail)

        with pytest.raises(httpcore.ConnectError, match=r"not known|label"):
            self.resolve()

    def test_resolver_that_does_not_answer_is_not_waited_for(self, monkeypatch):
        over = threading.Event()
        resolve_by(monkeypatch, lambda host: over.wait() and [])

        with pytest.raises(httpcore.ConnectTimeout, match=r"files\.example was not resolved in time"):
            self.resolve(seconds=0.01)
        over.set()

    def test_resolver_is_not_waited_for_after_a_signal(self, monkeypatch):
        over = threading.Event()
        resolve_by(monkeypatch, lambda host: over.wait() and [])
        # As where a kill arrives meanwhile: the handler outlasts the time there is for the resolver.
        former = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.4))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            with pytest.raises(httpcore.ConnectTimeout):
                self.resolve(seconds=0.2)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
            over.set()

    def test_each_address_is_tried(self, monkeypatch, loopback):
        """A host whose first address does not answer is reached by its second."""
        table = ["127.0.0.2", "127.0.0.1"]
        resolve_by(monkeypatch, lambda host: table)
        with loopback() as hub, Client(Settings(f"http://hub.test:{hub.server_port}", KEY)) as client:
            assert client.send(FREE).id == "z-image-turbo"
            table.pop()
            client.close()
        with Client(Settings(f"http://hub.test:{hub.server_port}", KEY, max_retries=0)) as client:
            with pytest.raises(errors.OxenConnectionError, match="refused"):
                client.send(FREE)
            table.clear()
            with pytest.raises(errors.OxenConnectionError, match="has no address"):
                client.send(FREE)
