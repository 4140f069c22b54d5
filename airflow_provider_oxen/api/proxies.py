"""Whether a request goes directly or through a proxy, as the connection or the environment says.

The environment variables mean what they mean to ``httpx``, with two differences: no request to this machine
goes through a proxy, whatever they say, and a value that cannot be understood is an error that names the
variable.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.request import getproxies

import httpx

from airflow_provider_oxen.api.addresses import is_here, literal
from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.redact import without_query

__all__ = ["Proxies", "read_proxies"]

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True)
class _NoProxy:
    """An entry of ``NO_PROXY``.

    :ivar scheme: ``all`` for any.
    :ivar name: a domain and everything below it; if it begins with a dot, only what is below.
    :ivar network: used instead of a name, for hosts that are written as addresses.
    """

    scheme: str = "all"
    name: str = ""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def covers(self, url: httpx.URL) -> bool:
        if self.scheme not in ("all", url.scheme) or self.port not in (None, _port(url)):
            return False
        if self.network is not None:
            address = literal(url.host)
            return address is not None and address in self.network
        host = url.host.rstrip(".")
        return host == self.name or host.endswith(f".{self.name.removeprefix('.')}")


@dataclass(frozen=True)
class Proxies:
    """The proxies by URL scheme (``all`` for any), and the hosts that are reached directly."""

    by_scheme: Mapping[str, httpx.Proxy] = field(default_factory=dict)
    no_proxy: tuple[_NoProxy, ...] = ()

    def scheme_for(self, url: httpx.URL) -> str | None:
        """Return the scheme whose proxy a request uses; None for a direct request."""
        scheme = next((scheme for scheme in (url.scheme, "all") if scheme in self.by_scheme), None)
        if scheme is None or is_here(url.host) or any(entry.covers(url) for entry in self.no_proxy):
            return None
        return scheme


def read_proxies(proxy: str | None) -> Proxies:
    """Return the proxies of a connection.

    :param proxy: the connection's proxy; None: the environment decides.
    :raises OxenSettingsError: naming the variable that cannot be understood, without its value, which may
        hold a password.
    """
    if proxy is not None:
        return Proxies({"all": _proxy("The connection's extra proxy", proxy)})
    found = getproxies()
    entries = [entry for text in found.get("no", "").split(",") if (entry := text.strip())]
    proxies = {
        scheme: _proxy(f"The environment variable {_variable(scheme)}", text)
        for scheme in ("http", "https", "all")
        if (text := found.get(scheme, "").strip())
    }
    no_proxy = tuple(_entry(entry) for entry in entries if entry != "*")
    return Proxies() if "*" in entries else Proxies(proxies, no_proxy)


def _variable(name: str) -> str:
    """Return a variable's name in the case in which it is set."""
    names = (f"{name}_proxy", f"{name}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), names[1])


def _proxy(what: str, text: str) -> httpx.Proxy:
    problem = "holds what is not the URL of a proxy"
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        proxy = httpx.Proxy(url)
        if url.scheme.startswith("socks5") and importlib.util.find_spec("socksio") is None:
            problem = "names a SOCKS proxy, and the package socksio, which that needs, is not installed"
        elif url.host and 0 < _port(url, 1) < 65536:
            return proxy
    except (httpx.InvalidURL, ValueError):
        scheme = text.partition("://")[0]
        if "://" in text and scheme not in _SCHEMES and scheme.isalnum():
            problem = f"names a proxy of the kind {scheme[:10]!r}, which is not known"
    raise OxenSettingsError(
        f"{what} {problem}.",
        remedy=f"Give one such as http://proxy.example:3128 ({', '.join(_SCHEMES)}), or unset it.",
    )


def _entry(entry: str) -> _NoProxy:
    try:
        if "://" not in entry:
            return _plain_entry(entry)
        url = httpx.URL(entry)
        address = literal(url.host)
        network = None if address is None else ipaddress.ip_network(address)
        if not url.host or url.path not in ("", "/"):
            raise ValueError(entry)
        return _NoProxy(url.scheme, url.host.removeprefix("*"), network, url.port)
    except (httpx.InvalidURL, ValueError):
        shown = without_query(entry.rpartition("@")[2])[:100]
        raise OxenSettingsError(
            f"The environment variable {_variable('no')} holds {shown!r}, which cannot be understood.",
            remedy="Give names, domains and addresses with commas between them; an IPv6 address without "
            "brackets, and no network of IPv6 addresses.",
        ) from None


def _plain_entry(entry: str) -> _NoProxy:
    """:raises ValueError, httpx.InvalidURL: where it cannot be understood."""
    if entry.count(":") > 1 or "[" in entry:
        return _NoProxy(network=ipaddress.ip_network(ipaddress.IPv6Address(entry)))
    if "/" in entry:
        return _NoProxy(network=ipaddress.IPv4Network(entry, strict=False))
    url = httpx.URL(f"all://{entry.removeprefix('*').removeprefix('.')}")
    if not url.host or url.path != "/" or url.userinfo or url.query or url.fragment:
        raise ValueError(entry)
    address = literal(url.host)
    if address is not None:
        return _NoProxy(network=ipaddress.ip_network(address), port=url.port)
    dot = "." if entry.removeprefix("*").startswith(".") else ""
    return _NoProxy(name=dot + url.host.rstrip("."), port=url.port)


def _port(url: httpx.URL, default: int = 0) -> int:
    return url.port or {"http": 80, "https": 443}.get(url.scheme, default)
