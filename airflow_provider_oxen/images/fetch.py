"""Bytes of a result: downloaded from its link, or decoded from base64 text, hashed on the way."""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import httpx
import tenacity

from airflow_provider_oxen.api import answers, retries
from airflow_provider_oxen.api.client import Client, bearer
from airflow_provider_oxen.api.errors import OxenBadImage, OxenDownloadError, OxenExpiredURL
from airflow_provider_oxen.api.quiet import quietly
from airflow_provider_oxen.api.redact import without_query
from airflow_provider_oxen.api.settings import Settings, is_loopback, origin

__all__ = [
    "MAX_BYTES",
    "MAX_REDIRECTS",
    "Fetched",
    "from_base64",
    "from_bytes",
    "from_url",
]

MAX_BYTES = 256 * 1024 * 1024
"""Default cap of a download in bytes: far above any known model's, far below a worker's disk."""

MAX_REDIRECTS = 5

_CHUNK = 64 * 1024

_SMALL = 256 * 1024
"""Bytes up to which a download stays in memory: less than a small image takes when it is decoded."""

_PATIENCE = 7
"""How often a link is asked again, some 30 s in all, whatever the connection's ``max_retries``: the image is
paid for, and asking costs nothing."""


@dataclass
class Fetched:
    """The bytes of one result.

    :ivar file: seekable, at its beginning; an unlinked temporary file, or memory for base64.
    :ivar size: in bytes.
    :ivar sha256: hexadecimal.
    """

    file: BinaryIO
    size: int
    sha256: str

    def close(self) -> None:
        """Let the bytes go."""
        self.file.close()


def from_url(
    client: Client, url: str, max_bytes: int = MAX_BYTES, sleep: Callable[[float], None] = time.sleep
) -> Fetched:
    """Download a result, asking again where that may help; one that is not small into an unlinked file.

    The key goes along only after a 401 or 403, and only to the hub's own origin.

    :raises OxenExpiredURL: where the link no longer works.
    :raises OxenDownloadError: where the bytes did not come, not whole, or are too many.
    """
    try:
        return retries.insist(
            lambda: tenacity.Retrying(sleep=sleep, **retries.policy(_PATIENCE)),
            _download,
            client,
            url,
            max_bytes,
        )
    except OSError as error:
        raise OxenDownloadError(
            f"The image could not be put into a temporary file: {error.strerror}."
        ) from error


def from_base64(text: str) -> Fetched:
    """Decode base64 text strictly. It has come already, so its size is no reason to refuse it.

    :raises OxenBadImage: where it is not base64.
    """
    try:
        return from_bytes(binascii.a2b_base64(text, strict_mode=True))
    except ValueError as error:
        raise OxenBadImage(f"The image's base64 text is broken: {error}.", reason=str(error)) from None


def from_bytes(data: bytes) -> Fetched:
    """Return bytes that are here already."""
    return Fetched(io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())


def _download(client: Client, url: str, max_bytes: int) -> Fetched:
    try:
        with quietly():
            response = _follow(client, url)
            try:
                return _copy(response, max_bytes)
            finally:
                response.close()
    except httpx.RequestError as error:
        # Its text is left out: it may quote the URL.
        raise OxenDownloadError(
            f"The image could not be fetched from {without_query(url)} ({type(error).__name__}).",
            passing=True,
        ) from None
    except (httpx.InvalidURL, ValueError):
        raise OxenDownloadError("The hub's link to the image is not a URL.") from None


def _follow(client: Client, url: str) -> httpx.Response:
    """Return the open answer with the bytes, having followed redirects by hand."""
    encrypted = False
    for _ in range(MAX_REDIRECTS + 1):
        _may_ask(client.settings, url, encrypted)
        encrypted = origin(url)[0] == "https"
        response = _ask(client, url)
        if response.next_request is None:
            _judge(response, url)
            return response
        response.close()
        url = str(response.next_request.url)
    raise OxenDownloadError(
        f"The image could not be fetched: more than {MAX_REDIRECTS} redirects, the last to "
        f"{without_query(url)}."
    )


def _ask(client: Client, url: str) -> httpx.Response:
    response = _get(client.http, url, None)
    key = client.settings.api_key
    if response.status_code in (401, 403) and key and origin(url) == origin(client.settings.base_url):
        response.close()
        response = _get(client.http, url, key)
    return response


def _get(http: httpx.Client, url: str, key: str | None) -> httpx.Response:
    # identity: Content-Length is held against what came, which an encoding in between would change.
    headers = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity", **bearer(key)}
    return http.send(http.build_request("GET", url, headers=headers), stream=True)


def _may_ask(settings: Settings, url: str, encrypted: bool) -> None:
    """Refuse to ask in the clear, unless the connection says so and no encrypted step led here."""
    scheme, host, _ = origin(url)
    # A hub on this machine links to this machine; a hub elsewhere has nothing to say about it.
    local = is_loopback(host) and settings.base_url.startswith("http://")
    if encrypted and scheme != "https":
        raise OxenDownloadError(
            f"The link to the image redirects from https to {without_query(url)}; it was not followed."
        )
    if scheme != "https" and not (scheme == "http" and (settings.allow_http or local)):
        raise OxenDownloadError(
            f"The link to the image, {without_query(url)}, is not https; it was not asked. Set the "
            "connection's extra allow_http to true if that is meant."
        )


def _judge(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    facts: dict[str, Any] = {"status": status, "retry_after": answers.retry_after(response.headers)}
    response.close()
    if status in (401, 403, 404, 410):
        raise OxenExpiredURL(
            f"The link to the image, {without_query(url)}, no longer works or needs another key.", **facts
        )
    raise OxenDownloadError(
        f"The image could not be fetched from {without_query(url)}.",
        passing=status in (408, 429) or status >= 500,
        **facts,
    )


def _copy(response: httpx.Response, max_bytes: int) -> Fetched:
    announced = response.headers.get("content-length", "")
    expected = int(announced) if announced.isascii() and announced.isdigit() else None
    if expected is not None and expected > max_bytes:
        raise _too_big(max_bytes)
    digest, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as on_error:
        file: BinaryIO = on_error.enter_context(io.BytesIO())
        for chunk in response.iter_bytes(_CHUNK):
            if size <= _SMALL < size + len(chunk):
                file = on_error.enter_context(_on_disk(file))
            size += len(chunk)
            if size > max_bytes:
                raise _too_big(max_bytes)
            digest.update(chunk)
            file.write(chunk)
        came = response.num_bytes_downloaded if "content-encoding" in response.headers else size
        if expected is not None and came != expected:
            raise OxenDownloadError(
                f"The image came incomplete: {came} of {expected} bytes from "
                f"{without_query(str(response.url))}.",
                passing=True,
            )
        file.seek(0)
        on_error.pop_all()
    return Fetched(file, size, digest.hexdigest())


def _on_disk(file: BinaryIO) -> BinaryIO:
    """Return an unlinked temporary file that goes on where one in memory ends."""
    with contextlib.ExitStack() as on_error:
        big: BinaryIO = on_error.enter_context(tempfile.TemporaryFile(prefix="oxen-"))
        file.seek(0)
        shutil.copyfileobj(file, big)
        file.close()
        on_error.pop_all()
    return big


def _too_big(max_bytes: int) -> OxenDownloadError:
    return OxenDownloadError(
        f"The image is larger than max_bytes ({max_bytes:,} bytes); raise it to fetch it."
    )
