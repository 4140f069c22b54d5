"""Decide where images may be fetched from: anywhere public, and the hub's own kind of network.

A link is untrusted. It must not make a worker request what only the worker can reach: a cloud's metadata
service, a service on its loopback, or a host of the company's network.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import httpcore
import httpx

from airflow_provider_oxen.api.addresses import Address, Kind, is_here, kind, literal
from airflow_provider_oxen.api.errors import OxenDownloadError
from airflow_provider_oxen.api.proxies import Proxies
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.transports import RESOLVERS, resolve

__all__ = ["LinkPolicy"]

_HERE = ipaddress.IPv4Address("127.0.0.1")

_SECONDS = 10.0
"""Seconds to find out where the hub itself is."""


@dataclass(frozen=True)
class LinkPolicy:
    """Judges the addresses of links.

    :ivar proxies: behind a proxy, neither the names of links nor the hub's can be judged.
    """

    settings: Settings
    proxies: Proxies

    def check(self, url: httpx.URL) -> None:
        """Judge a link by its text: an address, or a name of this machine.

        :raises OxenDownloadError: if the link must not be requested.
        """
        host = _host(url)
        address = _written(host)
        if address is not None:
            self.admit(host, [address])

    async def acheck(self, url: httpx.URL) -> None:
        """Judge a link as :meth:`check` does; if that needs to look up the hub, do it in a thread."""
        host = _host(url)
        if not self.is_hub(host) and _written(host) is not None:
            await asyncio.wrap_future(RESOLVERS.submit(self.check, url))

    def admit(self, host: str, addresses: Sequence[Address]) -> Sequence[Address]:
        """Return the addresses of a host that may be connected to.

        :raises OxenDownloadError: if there are none.
        """
        if self.settings.allow_private_links or self.is_hub(host):
            return addresses
        kinds = [kind(address) for address in addresses]
        if not set(kinds) - {"public"}:
            return addresses
        allowed: set[Kind] = {"public", *self._own()}
        admitted = [address for address, found in zip(addresses, kinds, strict=True) if found in allowed]
        if not admitted:
            raise self._refused(host, next(found for found in kinds if found != "public"))
        return admitted

    def is_hub(self, host: str) -> bool:
        """Return whether a host is the hub's own."""
        return host == _host(self._hub)

    @cached_property
    def _hub(self) -> httpx.URL:
        return httpx.URL(self.settings.base_url)

    def _own(self) -> set[Kind]:
        """Return what kinds of address the hub has."""
        host = _host(self._hub)
        if is_here(host):
            return {"loopback", "unspecified"}
        address = literal(host)
        if address is None and self.proxies.scheme_for(self._hub) is not None:
            return set()
        try:
            found = [address] if address else resolve(host, self._hub.port or 443, _SECONDS)
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            return set()
        return {kind(address) for address in found}

    def _refused(self, host: str, found: Kind) -> OxenDownloadError:
        article = "an" if found == "unspecified" else "a"
        return OxenDownloadError(
            f"The link to the image leads to {article} {found} address ({self.settings.redact(host)[:100]}), "
            "and the connection's own host has no such address.",
            remedy="If that is right, set the connection's extra allow_private_links to true and clear the "
            "task: the image is fetched without paying again.",
        )


def _written(host: str) -> Address | None:
    """Return the address that a host's own name states, or None."""
    return literal(host) or (_HERE if is_here(host) else None)


def _host(url: httpx.URL) -> str:
    """Return the host name that is connected to."""
    return url.raw_host.decode("ascii")
