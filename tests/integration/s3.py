"""An S3 server on this machine: moto's, over a real socket; it remembers what it was asked and fails as told.

A test module imports the fixtures: ``from .s3 import S3, bucket, server  # noqa: F401``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock, Thread
from typing import Any, NamedTuple

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

CONN_ID = "aws_test"


class Asked(NamedTuple):
    """One request.

    :ivar path: bucket and key.
    :ivar copies: whether it copies another object.
    :ivar acl: who may read what it writes.
    """

    method: str
    path: str
    query: str
    copies: bool
    acl: str = ""

    def __str__(self) -> str:
        parameter = f"?{self.query.partition('=')[0]}" if self.query else ""
        return f"{self.method} {self.path.rpartition('/')[2]}{parameter}"


@dataclass
class Server:
    """The server's WSGI application, and its only one in this process.

    :ivar fault: called with each request; what it returns is the status and code of an error.
    :ivar before: called with each request first; it may wait.
    :ivar blind: whether conditions of writes are ignored, as some servers do.
    :ivar lost: how many of the next writes are done, and answered with an error.
    """

    app: Any
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    fault: Callable[[Asked], tuple[int, str] | None] = lambda asked: None
    before: Callable[[Asked], None] = lambda asked: None
    blind: bool = False
    lost: int = 0
    lock: Any = field(default_factory=Lock)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        acl = environ.get("HTTP_X_AMZ_ACL", "")
        copies = "HTTP_X_AMZ_COPY_SOURCE" in environ
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], copies, acl)
        self.asked.append(asked)
        self.before(asked)
        fault = self.fault(asked)
        if self.blind:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if fault is None:
            lost = bool(self.lost) and asked.method in ("PUT", "POST")
            self.lost -= lost
            # moto looks and then writes; a store does both in one.
            with self.lock:
                answer: Iterable[bytes] = self.app(environ, _nothing if lost else start_response)
            if not lost:
                return answer
            fault = (500, "InternalError")
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = fault
        start_response(f"{status} Fault", [("Content-Type", "application/xml")])
        told = f"<Error><Code>{code}</Code><Message>as told</Message></Error>"
        return [] if asked.method == "HEAD" else [told.encode()]


def _nothing(*told: Any) -> None:
    """Tell nobody of an answer."""


@dataclass
class S3:
    """A bucket of the test's own, and what the server was asked about it."""

    server: Server
    client: Any
    bucket: str

    @property
    def url(self) -> str:
        """The bucket's URL, with the connection to open it by."""
        return f"s3://{CONN_ID}@{self.bucket}"

    def content(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def put(self, key: str, content: bytes) -> None:
        """Write an object as another worker would."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def unfinished(self) -> list[str]:
        """The uploads in parts that were neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def fail(self, method: str, query: str = "", status: int = 500, code: str = "InternalError") -> None:
        """Answer an error to requests of a method, with ``query`` in their query, from now on."""
        self.server.fault = lambda asked: (
            (status, code) if asked.method == method and query in asked.query else None
        )

    def mend(self) -> None:
        self.server.fault = lambda asked: None
        self.server.before = lambda asked: None
        self.server.blind, self.server.lost = False, 0

    @property
    def written(self) -> list[str]:
        """The requests that changed something, as ``METHOD name?first-parameter``."""
        return [str(asked) for asked in self.server.asked if asked.method not in ("GET", "HEAD")]


@lru_cache
def start() -> Server:
    """Start the one server of this process: Airflow remembers a connection's file system for as long."""
    server = Server(DomainDispatcherApplication(create_backend_app))
    serving = make_server("127.0.0.1", 0, server, threaded=True, request_handler=_Quiet)
    server.url = f"http://127.0.0.1:{serving.server_port}"
    Thread(target=serving.serve_forever, daemon=True).start()
    return server


class _Quiet(WSGIRequestHandler):
    def log_request(self, *arguments: Any) -> None:
        pass


@pytest.fixture(name="s3_server", scope="session")
def server() -> Server:
    return start()


@pytest.fixture(name="s3")
def bucket(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A bucket, and the Airflow connection ``aws_test`` to it."""
    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    own = make_bucket(s3_server)
    s3_server.asked.clear()
    yield own
    own.mend()
    own.client.close()


def environment(server: Server) -> dict[str, str]:
    """Return the Airflow connection to the server, as a deployment sets it."""
    extra = {
        "endpoint_url": server.url,
        "region_name": "us-east-1",
        # No waiting inside the driver: what is repeated here, the package repeats.
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    fields = {"conn_type": "aws", "login": "id", "password": "secret", "extra": extra}
    return {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(fields)}


def make_bucket(server: Server) -> S3:
    """Make a bucket of a name that nobody else has."""
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )
    own = S3(server, client, f"bucket-{uuid.uuid4().hex}")
    client.create_bucket(Bucket=own.bucket)
    return own
