"""The door of the hub: what the document knows goes through Prism, the rest past it, and all is noted."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.contract.document import OUTSIDE, Operations

_PROBLEM = "https://stoplight.io/prism/errors#"
_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "server", "date"}
_BLOCK = 64 * 1024


class Seen(NamedTuple):
    """A request and what became of it.

    :ivar operation: of the document; None for one that went past Prism, and for one that Prism does not know.
    :ivar refused: why Prism refused the request, or None.
    :ivar broken: what in the hub's answer contradicts the document.
    :ivar unnamed: whether the answer's status is not in the document, which allows any error.
    :ivar lost: whether the hub gave no answer at all.
    """

    method: str
    path: str
    operation: str | None
    status: int
    refused: str | None = None
    broken: tuple[str, ...] = ()
    unnamed: bool = False
    lost: bool = False

    @property
    def is_checked(self) -> bool:
        """Whether Prism saw it."""
        return self.operation is not None or self.refused is not None


class Door:
    """Listens on loopback, for as long as its context.

    :ivar url: for the connection's host.
    """

    def __init__(self, prism: str, hub: str) -> None:
        self.targets = {"prism": urlsplit(prism).port, "hub": urlsplit(hub).port}
        self.operations = Operations()
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.door = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Door:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def note(self, seen: Seen) -> None:
        with self.lock:
            self.seen.append(seen)

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[Seen]]:
        """Give a list that holds, when the context ends, what came in meanwhile."""
        with self.lock:
            first = len(self.seen)
        found: list[Seen] = []
        try:
            yield found
        finally:
            with self.lock:
                found.extend(self.seen[first:])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    door: Door


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it each answer waits 40 ms for the client's acknowledgement.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Write nothing: paths of files are signed."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        outside = OUTSIDE.fullmatch(path) is not None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        port = self.server.door.targets["hub" if outside else "prism"]
        upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            self._pass_on(upstream, path, body, outside)
        except (OSError, http.client.HTTPException):
            # Its end is the client's too: a connection that breaks.
            self.close_connection = True
        finally:
            upstream.close()

    do_POST = do_DELETE = do_PUT = do_GET

    def _pass_on(self, upstream: http.client.HTTPConnection, path: str, body: bytes, outside: bool) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
        host = {"Host": self.headers["Host"]} if outside else {}
        upstream.request(self.command, self.path, body or None, headers | host)
        response = upstream.getresponse()
        if outside:
            self.server.door.note(Seen(self.command, path, None, response.status))
            self._stream(response)
            return
        content = response.read()
        seen = _judge(self.command, path, response, content, self.server.door.operations)
        self.server.door.note(seen)
        if seen.lost:
            self.close_connection = True
            return
        self._answer(response, content)

    def _answer(self, response: http.client.HTTPResponse, content: bytes) -> None:
        self._begin(response)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, response: http.client.HTTPResponse) -> None:
        """Hand on what comes when it comes: a stream of events has no end."""
        self._begin(response)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while block := response.read1(_BLOCK):
            self.wfile.write(block)
            self.wfile.flush()

    def _begin(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            # "Date" is the hub's own: the client goes by its clock.
            if name.lower() not in _HOPS - {"date"} and not name.lower().startswith("access-control-"):
                self.send_header(name, value)


def _judge(
    method: str, path: str, response: http.client.HTTPResponse, content: bytes, operations: Operations
) -> Seen:
    operation, status = operations.name(method, path), response.status
    violations = _violations(response.getheader("sl-violations"))
    unnamed = any(says.startswith("Unable to match the returned status code") for _, _, says in violations)
    if not (response.getheader("content-type") or "").startswith("application/problem+json"):
        # What is only a warning passes; the document names few of the hub's errors.
        return Seen(method, path, operation, status, None, _serious(violations), unnamed)
    problem = json.loads(content)
    type = str(problem.get("type"))
    kind = type.removeprefix(_PROBLEM)
    if kind == "VIOLATIONS":
        return Seen(method, path, operation, status, None, _serious(violations) or (kind,), unnamed)
    if kind == type:
        # Its own word for an error on the way to the hub, such as a connection that broke.
        return Seen(method, path, operation, status, lost=True)
    details = problem.get("validation") or problem.get("detail") or problem.get("title")
    return Seen(method, path, operation, status, f"{kind}: {json.dumps(details)}")


def _violations(header: str | None) -> list[tuple[str, str, str]]:
    """Return severity, place and words of each."""
    if not header:
        return []
    try:
        items = json.loads(header)
    except ValueError:
        # Prism cuts what is too long for a header.
        return [("Error", "", header[:500])]
    return [
        (str(item.get("severity")), ".".join(map(str, item.get("location", ()))), str(item.get("message")))
        for item in items
    ]


def _serious(violations: list[tuple[str, str, str]]) -> tuple[str, ...]:
    return tuple(f"{place}: {says}" for severity, place, says in violations if severity == "Error")
