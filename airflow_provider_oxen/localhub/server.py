"""The local hub as a context manager: uvicorn in its own thread, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_oxen.localhub.app import create_app
from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.settings import HubSettings
from airflow_provider_oxen.localhub.state import State

__all__ = ["LocalHub"]

_PATIENCE = 1.0
"""Seconds that running requests get to finish when the hub closes."""

_THREAD = "local-hub"
_LOG = logging.getLogger("uvicorn.error")


class LocalHub:
    """A running local hub.

    Use it as a context manager, or call :meth:`start` and :meth:`close`.

    :param settings: the settings to start with. The hub keeps using this object, and you may change it at any
        time.
    :param host: a loopback address of this machine. The hub protects nothing, so it cannot be reached from
        elsewhere.
    :param port: TCP port; 0 takes a free one.
    :raises ValueError: if the host is not a loopback address.
    """

    def __init__(
        self, settings: HubSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"The local hub runs on loopback (127.0.0.1) only, not on {host!r}.")
        self._state = State(settings or HubSettings())
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def start(self) -> LocalHub:
        """Listen, and return when the hub answers requests.

        :raises OSError: if the port is taken.
        """
        sock = socket.create_server((self._host, self._port))
        # Connections inherit this option. asyncio sets it only if the socket names its protocol; without it,
        # each request takes 40 ms longer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = sock.getsockname()[1]
        self._state.closing = asyncio.Event()
        self._server = _Server(self._state, sock)
        self._server.start()
        return self

    def close(self) -> None:
        """Stop. Delayed answers end at once. May be called twice."""
        if self._server:
            self._server.stop()
            self._server = None

    def restart(self, down: float = 0.0) -> None:
        """Close, wait ``down`` seconds, and serve again on the same port with the same state."""
        self.close()
        time.sleep(down)
        self.start()

    def __enter__(self) -> LocalHub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> HubSettings:
        """The settings in use; ``credits`` shows the current balance."""
        # A change takes effect from now on: first settle, under the old settings, all that is due by now.
        self._state.billing.settled()
        return self._state.settings

    @property
    def url(self) -> str:
        """The hub's origin, for the connection's host."""
        return f"http://{self._host}:{self._port}"

    @property
    def key(self) -> str:
        """The API key, for the connection's password."""
        return self._state.settings.key

    def ledger(self) -> list[dict[str, Any]]:
        """Return every billed image, oldest first."""
        return [charge.as_dict() for charge in self._state.billing.settled().ledger.copy().values()]

    def spent(self) -> float:
        """Return the sum of the ledger in USD."""
        return self._state.billing.spent()

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job that the queue has ever accepted, oldest first, in its current state."""
        return [job.as_dict() for job in self._state.billing.settled().jobs.copy().values()]

    def calls(self) -> list[dict[str, Any]]:
        """Return every synchronous call, oldest first, as ``history_shows_generate`` lists them."""
        return [call.as_dict() for call in self._state.billing.calls.copy().values()]

    def requests(self) -> list[dict[str, Any]]:
        """Return every request that the hub has received, oldest first, without the key."""
        return self._state.requests()

    def fail(self, *faults: Fault) -> None:
        """Add faults; the hub produces them in this order."""
        self._state.faults.add(*faults)

    def clear_faults(self) -> None:
        """Drop the faults that are still to come. What was already decided about a job or an image stays."""
        self._state.faults.clear()

    def release_images(self) -> None:
        """Make the paid images available that the fault ``not_yet`` holds back."""
        for charge in self._state.billing.settled().ledger.copy().values():
            charge.not_ready = None

    def rewrite_answers(self, change: Callable[[str, Any], Any] | None) -> None:
        """Change the hub's answers about images, jobs and models before it sends them. None stops this.

        :param change: called with the route (``generate``, ``enqueue``, ``queue``, ``job``, ``history``,
            ``record``, ``model``, ``models``) and the answer's JSON value. It returns the value to send
            instead, or a body in bytes.
        """
        self._state.rewrite = change

    # The former names of these two methods.
    mend = clear_faults
    dress = rewrite_answers

    def streams(self) -> int:
        """Return how many streams of events are open."""
        return len(self._state.streams)

    def drop_streams(self) -> None:
        """Break the open streams of events; a client that connects again gets a new one."""
        self._state.streams.clear()

    def reset(self) -> None:
        """Return to the start: first settings, empty ledger, no requests, no faults."""
        self._state.reset()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Keep the informational messages of this hub's uvicorn out of the log of the Dag under test."""
    return record.levelno > logging.INFO or record.threadName != _THREAD


class _Protocol(H11Protocol):
    """Gives answers access to their connection, so that they can break it, and writes no access log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    # As uvicorn narrows asyncio's own.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """uvicorn in a thread. It stops without uvicorn's delay of tenths of a second: tests start many hubs."""

    def __init__(self, state: State, sock: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(state),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                # Do not close a pooled connection that a client is about to use again.
                timeout_keep_alive=75,
                date_header=False,
                server_header=False,
            )
        )
        self.state = state
        self.sock = sock
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)

    def start(self) -> None:
        _LOG.addFilter(_is_worth_a_line)
        self.thread.start()
        self.ready.wait()

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.state.closing.set)
        self.thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self.serve(sockets=[self.sock]))
        finally:
            self.sock.close()
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.state.closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            for sock in server.sockets:
                self.loop.remove_reader(sock)
        # An accepted connection gets its transport in the loop's next turn (none, if the server is closed by
        # then), and its protocol in the turn after. Wait for both: otherwise the connection would stay open
        # until it is garbage-collected.
        for _ in range(3):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        await self._until_idle()
        # Repeat: a connection that was accepted at the last moment gets its transport only now.
        while self.server_state.connections:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await self._until_idle()
            await asyncio.sleep(0)

    async def _until_idle(self) -> None:
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_PATIENCE)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
