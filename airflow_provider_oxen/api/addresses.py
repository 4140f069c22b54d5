"""Tell what a host or an address is: this machine, a private network, or the internet. Pure, without DNS."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Literal, TypeAlias

__all__ = ["Address", "Kind", "is_here", "kind", "literal"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

Kind = Literal[
    "public",
    "loopback",
    "private",
    "link-local",
    "carrier-grade NAT",
    "unspecified",
    "multicast",
    "reserved",
]

_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
"""What resolvers accept as an IPv4 address: one to four numbers, decimal, octal or hexadecimal."""

_LOCAL_NAMES = re.compile(
    r"(?:.+\.)?localhost|localhost[46]?(?:\.localdomain[46]?)?|ip6-(?:localhost|loopback)"
)
"""Names of this machine: those of RFC 6761, and those in the ``/etc/hosts`` of common distributions."""

_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"))
)
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")

_EMBEDDING = tuple(map(ipaddress.ip_network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
"""Networks whose last 32 bits hold the real IPv4 address: compatible, mapped, translated, NAT64."""


def literal(host: str) -> Address | None:
    """Return the address that a host is written as, in any spelling that resolvers accept; None for a name.

    ``127.1``, ``0x7f.0.0.1``, ``2130706433``, ``[::1]``, ``fe80::1%eth0`` and ``127.0.0.1.`` are addresses.
    """
    text = host.strip().strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    if _NUMBERS.fullmatch(text):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except OSError:
            pass
    return None


def is_here(host: str) -> bool:
    """Return whether a host is this machine, by its address or by one of the usual names."""
    address = literal(host)
    if address is not None:
        # A connection to the unspecified address reaches this machine.
        return kind(address) in ("loopback", "unspecified")
    return _LOCAL_NAMES.fullmatch(host.strip().rstrip(".").lower()) is not None


def kind(address: Address) -> Kind:
    """Return where an address leads. An address that embeds an IPv4 address leads where that one does."""
    if address.is_loopback:
        return "loopback"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "unspecified"
    if isinstance(address, ipaddress.IPv6Address) and (inner := _embedded(address)) is not None:
        return kind(inner)
    if address.is_multicast:
        return "multicast"
    if address.is_link_local:
        return "link-local"
    if any(address in network for network in _PRIVATE):
        return "private"
    if address in _CARRIER:
        return "carrier-grade NAT"
    return "public" if address.is_global and address not in _LOCAL_NAT64 else "reserved"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(address in network for network in _EMBEDDING):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        # "::2" embeds nothing; "::ffff:0.0.0.2" does.
        return None if inner in _THIS_NETWORK and address in _EMBEDDING[0] else inner
    return address.sixtofour
