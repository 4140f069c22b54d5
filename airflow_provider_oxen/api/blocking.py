"""Run async code over a blocking client without an event loop: such code never really waits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_oxen.api.calls import Call

__all__ = ["BlockingHub", "Hub", "unsuspended"]

T = TypeVar("T")


class Hub(Protocol):
    """What async code sends its calls to: an ``AsyncClient`` or a :class:`BlockingHub`."""

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        ...


class _Client(Protocol):
    def send(self, call: Call[T]) -> T: ...


class BlockingHub:
    """Wraps a blocking client for async code that runs without an event loop; see :func:`unsuspended`."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its result; this blocks."""
        return self._client.send(call)


def unsuspended(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never really waits, without an event loop.

    :raises RuntimeError: if the coroutine does wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        coroutine.close()
    raise RuntimeError("the coroutine waits for an event loop, and there is none")
