"""Download the bytes of a result from its link, and hash them on the way."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import tempfile
from typing import BinaryIO, cast

import httpx
import tenacity

from airflow_provider_oxen.api import body, retries
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.errors import OxenDownloadError
from airflow_provider_oxen.api.http_logs import suppress_http_logs
from airflow_provider_oxen.api.items import LONGEST_LINK
from airflow_provider_oxen.api.redact import without_query
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.tls import governing
from airflow_provider_oxen.images.fetched import Fetched, absolute
from airflow_provider_oxen.images.following import close, follow
from airflow_provider_oxen.images.received import Checksums

__all__ = ["MAX_BYTES", "afrom_url", "from_url"]

MAX_BYTES = 256 * 1024 * 1024
"""Default limit of a download in bytes: far above the images of any known model, far below a worker's
disk."""

_CHUNK = 64 * 1024
"""Bytes that are read at a time."""

_SMALL = 256 * 1024
"""Bytes up to which a download stays in memory: less than a small image takes when it is decoded."""

_SLOWEST = 64 * 1024
"""Slowest allowed download in bytes per second, after the time that every download has: the connection's
``timeout``, twice."""

_MAX_RETRIES = 7
"""How often a link is retried, about 30 s in all, whatever the connection's ``max_retries``: the image is
paid for, and retrying costs nothing."""


def from_url(client: Client, url: str, max_bytes: int = MAX_BYTES) -> Fetched:
    """Download a result, and retry where that may help. A large one goes to an unlinked temporary file.

    The key is sent only after a 401 or 403, and only to the hub's own origin.
    :mod:`~airflow_provider_oxen.api.link_policy` decides where images may be fetched from.

    :raises OxenExpiredURL: if the link does not work.
    :raises OxenDownloadError: if the bytes did not arrive, not completely, or are too many.
    """
    return unsuspended(afrom_url(client, url, max_bytes))


async def afrom_url(client: Client | AsyncClient, url: str, max_bytes: int = MAX_BYTES) -> Fetched:
    """Do the same as :func:`from_url` on an event loop; with a client that blocks, without one."""
    if len(url) > LONGEST_LINK:
        raise OxenDownloadError("The hub's link to the image is not a URL.")
    settings = client.settings
    link = absolute(settings, url)
    try:
        async with Deadline(2 * settings.timeout, client.blocks) as deadline:
            return await retries.acall_with_retries(
                lambda: tenacity.AsyncRetrying(sleep=client.pause, **retries.policy(_MAX_RETRIES)),
                _download, client, link, max_bytes, deadline,
            )  # fmt: skip
    except httpx.TimeoutException as error:
        raise _not_fetched(error, link, settings) from None
    except OSError as error:
        raise OxenDownloadError(
            f"The image could not be put into a temporary file: {error.strerror}."
        ) from error


async def _download(client: Client | AsyncClient, url: str, max_bytes: int, deadline: Deadline) -> Fetched:
    try:
        with suppress_http_logs():
            response = await follow(client, url)
            try:
                return await _copy(response, max_bytes, deadline)
            finally:
                await close(client, response)
    except httpx.RequestError as error:
        raise _not_fetched(error, url, client.settings) from None
    except (httpx.InvalidURL, ValueError):
        raise OxenDownloadError("The hub's link to the image is not a URL.") from None


def _not_fetched(error: httpx.RequestError, url: str, settings: Settings) -> OxenDownloadError:
    # Do not show its text: it may quote the URL.
    return OxenDownloadError(
        f"The link to the image, {without_query(url)}, could not be read ({type(error).__name__})."
        + _certificate_problem(error, settings),
        passing=True,
    )


def _certificate_problem(error: BaseException | None, settings: Settings) -> str:
    """Return what to do about an untrusted certificate, or an empty text if that is not the problem."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    said = f" The certificate of the image's host is not trusted: {error.verify_message}."
    if (what := governing(settings.verify)) is None:
        return said
    return (
        f"{said} Trusted certificates are set by {what}, for that host as for the hub: use a bundle that "
        "holds the public roots beside your own."
    )


async def _copy(response: httpx.Response, max_bytes: int, deadline: Deadline) -> Fetched:
    announced = response.headers.get("content-length", "")
    expected = int(announced) if announced.isascii() and announced.isdigit() else None
    if expected is not None and expected > max_bytes:
        raise _too_big(max_bytes)
    digest, size, checksums = hashlib.sha256(), 0, Checksums(response.headers)
    with contextlib.ExitStack() as on_error:
        spooled = on_error.enter_context(tempfile.SpooledTemporaryFile(_SMALL, prefix="oxen-"))
        file = cast("BinaryIO", spooled)
        async with contextlib.aclosing(body.pieces(response, _CHUNK)) as pieces:
            async for chunk in pieces:
                size += len(chunk)
                deadline.allow(size / _SLOWEST)
                if size > max_bytes:
                    raise _too_big(max_bytes)
                digest.update(chunk)
                checksums.update(chunk)
                file.write(chunk)
        received = response.num_bytes_downloaded if "content-encoding" in response.headers else size
        if expected is not None and received != expected:
            raise OxenDownloadError(
                f"The image came incomplete: {received} of {expected} bytes from "
                f"{without_query(str(response.url))}.",
                passing=True,
            )
        file.seek(0)
        on_error.pop_all()
    kind = response.headers.get("content-type", "")
    return Fetched(file, size, digest.hexdigest(), linked=True, doubt=checksums.doubt, content_type=kind)


def _too_big(max_bytes: int) -> OxenDownloadError:
    return OxenDownloadError(
        f"The image is larger than max_bytes ({max_bytes:,} bytes); raise it to fetch it."
    )
