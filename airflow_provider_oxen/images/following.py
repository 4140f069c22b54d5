"""Follow the link of a result, redirect by redirect, to an open response with the bytes.

:mod:`~airflow_provider_oxen.api.link_policy` decides where images may be fetched from. The key is sent only
after a 401 or 403, and only to the hub's own origin.
"""

from __future__ import annotations

from typing import Any

import httpx

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.clock import retry_after
from airflow_provider_oxen.api.errors import OxenDownloadError, OxenExpiredURL
from airflow_provider_oxen.api.redact import without_query
from airflow_provider_oxen.api.sending import bearer
from airflow_provider_oxen.api.settings import Settings, is_loopback, origin

__all__ = ["MAX_REDIRECTS", "close", "follow"]

MAX_REDIRECTS = 5

_WHOLE = (200, 203)
"""Statuses of a whole body: a 202 or 204 has none yet, and a 206 has only a part."""


async def follow(client: Client | AsyncClient, url: str) -> httpx.Response:
    """Return the open response with the bytes, after following redirects by hand; :func:`close` it.

    With a client that blocks, this blocks too, and needs no event loop.
    """
    encrypted = False
    for _ in range(MAX_REDIRECTS + 1):
        _check_scheme(client.settings, url, encrypted)
        # httpx reads a link letter by letter: once is enough for a long one.
        link = httpx.URL(url)
        if isinstance(client, Client):
            client.link_policy.check(link)
        else:
            await client.link_policy.acheck(link)
        encrypted = link.scheme == "https"
        response = await _request(client, link)
        if response.next_request is None:
            try:
                _raise_for_status(response, url)
            except OxenDownloadError:
                await close(client, response)
                raise
            return response
        await close(client, response)
        url = str(response.next_request.url)
    raise OxenDownloadError(
        f"The link to the image has more than {MAX_REDIRECTS} redirects, the last to {without_query(url)}.",
        not_yet=True,
    )


async def close(client: Client | AsyncClient, response: httpx.Response) -> None:
    """Close an open response of a client."""
    if isinstance(client, Client):
        response.close()
    else:
        await response.aclose()


async def _request(client: Client | AsyncClient, url: httpx.URL) -> httpx.Response:
    # identity: Content-Length is compared with the bytes that arrive, and an encoding would change that.
    headers = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
    response = await _get(client, url, headers)
    settings = client.settings
    key = settings.api_key
    if response.status_code in (401, 403) and key and origin(str(url)) == origin(settings.base_url):
        await close(client, response)
        response = await _get(client, url, {**headers, **bearer(key)})
    return response


async def _get(client: Client | AsyncClient, url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
    request = client.http.build_request("GET", url, headers=headers)
    if isinstance(client, Client):
        return client.http.send(request, stream=True)
    return await client.http.send(request, stream=True)


def _check_scheme(settings: Settings, url: str, encrypted: bool) -> None:
    """Refuse an unencrypted request, unless the connection allows it and no encrypted step led here."""
    scheme, host, _ = origin(url)
    # A hub on this machine may link to this machine; a hub elsewhere may not.
    local = is_loopback(host) and settings.base_url.startswith("http://")
    if encrypted and scheme != "https":
        raise OxenDownloadError(
            f"The link to the image redirects from https to {without_query(url)}.",
            # For example to a sign-in page, which may be only temporary.
            not_yet=True,
        )
    if scheme != "https" and not (scheme == "http" and (settings.allow_http or local)):
        raise OxenDownloadError(
            f"The link to the image, {without_query(url)}, is not https.",
            remedy="Set the connection's extra allow_http to true if that is meant.",
        )


def _raise_for_status(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in _WHOLE:
        return
    facts: dict[str, Any] = {"status": status, "retry_after": retry_after(response.headers)}
    if status in (401, 403, 404, 410):
        raise OxenExpiredURL(
            f"The link to the image, {without_query(url)}, does not work: it has expired, needs another key, "
            "or the image is not there yet.",
            **facts,
        )
    passing = status in (408, 426, 429) or status >= 500
    raise OxenDownloadError(
        f"The link to the image, {without_query(url)}, was answered with another status than 200.",
        passing=passing,
        not_yet=not passing,
        **facts,
    )
