"""Async code over a client that blocks: it never really waits, so that it needs no event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_oxen.api.calls import Call

__all__ = ["BlockingHub", "Hub", "unsuspended"]

T = TypeVar("T")


class Hub(Protocol):
    """What is asked: an ``AsyncClient``, or a :class:`BlockingHub`."""

    async def send(self, call: Call[T]) -> T:
        """Send a call and return what its answer says."""
        ...


class _Client(Protocol):
    def send(self, call: Call[T]) -> T: ...


class BlockingHub:
    """A client that blocks, for what is asked without an event loop; see :func:`unsuspended`."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    async def send(self, call: Call[T]) -> T:
        """Send a call and return what its answer says; nothing else goes on meanwhile."""
        return self._client.send(call)


def unsuspended(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine comes to that never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        coroutine.close()
    raise RuntimeError("the coroutine waits for an event loop, and there is none")
