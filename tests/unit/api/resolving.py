"""Names are resolved by a table: in place of the system's resolver, which tests must not ask."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

__all__ = ["resolve_by"]


def resolve_by(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> None:
    """Have ``socket.getaddrinfo`` answer for names; an address is still resolved by the system.

    :param answer: returns the addresses of a name, or raises.
    """
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return system(host, port, *rest, **options)
        found: Iterable[str] = answer(host)
        return [(_family(one), socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
