"""A small HTTP server for a store's few REST calls: it keeps objects in memory and fails as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit


class Call(NamedTuple):
    """One request; names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


@dataclass
class RestStore:
    """What the servers have in common.

    :ivar buckets: objects by bucket and key.
    :ivar told: what else each object was written with.
    :ivar blind: whether conditions are ignored, as some servers do.
    :ivar fault: called with each request; what it returns is answered in the server's place.
    :ivar lost: how many of the next writes are done, and answered with an error.
    """

    buckets: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"bucket": {}})
    told: dict[str, dict[str, object]] = field(default_factory=dict)
    asked: list[Call] = field(default_factory=list)
    blind: bool = False
    fault: Callable[[Call], Reply | None] = lambda call: None
    lost: int = 0
    url: str = ""
    lock: Lock = field(default_factory=Lock)

    def answer(self, call: Call) -> Reply:
        raise NotImplementedError

    def handle(self, call: Call) -> Reply:
        with self.lock:
            self.asked.append(call)
            reply = self.fault(call) or self.answer(call)
            if call.method in ("POST", "PUT") and self.lost and reply.status < 300:
                self.lost -= 1
                return Reply(503, b"the answer is lost")
            return reply

    @contextmanager
    def running(self) -> Iterator[RestStore]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                parts = urlsplit(self.path)
                reply = store.handle(
                    Call(
                        self.command,
                        unquote(parts.path),
                        dict(parse_qsl(parts.query, keep_blank_values=True)),
                        {name.lower(): value for name, value in self.headers.items()},
                        self._body(),
                    )
                )
                self.send_response(reply.status)
                headers = {"Content-Length": str(len(reply.body)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
