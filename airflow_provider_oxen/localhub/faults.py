"""What a local hub is told to do wrong, and how often."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Fault", "Faults", "Kind", "Route", "Stage"]

Route = Literal["generate", "models", "search", "model", "authorize", "queue", "file"]

Kind = Literal[
    "status",
    "broken_json",
    "html",
    "empty",
    "error_in_200",
    "redirect",
    "drop_before",
    "drop_after",
    "hold",
    "no_images",
    "empty_item",
    "bad_base64",
    "not_an_image",
    "truncated",
    "short",
    "padded",
    "slow",
]

Shape = Literal["typed", "message", "string", "html", "empty", "text"]

Stage = Literal["arrived", "accepted"]
"""When a fault strikes: before the request is looked at, or after it was accepted (and billed)."""

_ONLY_GENERATE = frozenset({"drop_after", "no_images", "empty_item", "bad_base64"})
_ONLY_FILE = frozenset({"short", "padded", "slow"})
_ON_IMAGES = frozenset({"not_an_image", "truncated"})
_AFTER_BILLING = _ONLY_GENERATE | _ON_IMAGES | {"hold"}
_ROUTES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_ONLY_GENERATE, ("generate",)),
    **dict.fromkeys(_ONLY_FILE, ("file",)),
    **dict.fromkeys(_ON_IMAGES, ("generate", "file")),
}


@dataclass
class Fault:
    """One thing to do wrong.

    Anywhere: ``status`` (an error status), ``broken_json``, ``html`` and ``empty`` (a 200 with such
    a body), ``error_in_200``, ``redirect``, ``drop_before`` (the connection is closed without an
    answer), ``hold`` (the answer comes ``seconds`` later; on ``generate`` it is billed at once).

    On ``generate`` only, always after billing: ``drop_after`` (the connection is closed without an
    answer), ``no_images``, ``empty_item`` (neither key), ``bad_base64``. On ``generate`` and
    ``file``: ``not_an_image`` (an HTML page instead of the bytes), ``truncated`` (the first half of
    them, with a matching length); on ``generate`` the image stays so however it is fetched. On
    ``file`` only: ``short`` (the length announced does not come), ``padded`` (``bytes`` zero bytes
    behind the image's end), ``slow`` (spread over ``seconds``).

    :param kind: what goes wrong.
    :param on: the route it goes wrong on.
    :param times: how often, or None for ever.
    :param after: how many requests pass unharmed first.
    :param prompt: only where the prompt contains this text (``generate`` only).
    :param billed: on ``generate``, strike after the image was billed, whatever the kind.
    :param status: for ``status``; ``redirect`` takes one too (302 unless it is a 3xx).
    :param headers: further headers of the answer, such as ``Retry-After``.
    :param body: body of the answer, an object for JSON or a text, instead of the one ``shape`` gives.
    :param shape: for ``status``: ``typed`` and ``message`` (the hub's two error bodies), ``string``
        (``{"error": "..."}``), ``html``, ``empty`` or ``text``.
    :param seconds: for ``hold`` and ``slow``.
    :param bytes: for ``padded``.
    :param location: for ``redirect``; None redirects to the same URL, which makes a loop.
    """

    kind: Kind
    on: Route = "generate"
    times: int | None = 1
    after: int = 0
    prompt: str | None = None
    billed: bool = False
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | str | None = None
    shape: Shape = "typed"
    seconds: float = 30.0
    bytes: int = 0
    location: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (("kind", Kind), ("on", Route), ("shape", Shape)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)!r}"
                )
        routes = _ROUTES.get(self.kind, get_args(Route))
        if self.on not in routes:
            raise ValueError(f"{self.kind} goes wrong on {' and '.join(routes)} only, not on {self.on}")
        if self.on != "generate" and (self.billed or self.prompt is not None):
            raise ValueError("billed and prompt are for faults on generate only")

    @property
    def stage(self) -> Stage:
        if self.on == "generate":
            return "accepted" if self.billed or self.kind in _AFTER_BILLING else "arrived"
        return "accepted" if self.kind in _ONLY_FILE | _ON_IMAGES else "arrived"


class Faults:
    """The faults that are still to come, first told first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._waiting.extend(_Waiting(fault, fault.after, fault.times) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return what is still to come, with ``after`` and ``times`` as they stand now."""
        with self._lock:
            return [
                {**asdict(item.fault), "after": item.after, "times": item.times} for item in self._waiting
            ]

    def take(self, on: Route, stage: Stage, prompt: str = "") -> Fault | None:
        """Return the fault that strikes this request, and count it."""
        with self._lock:
            for item in self._waiting:
                fault = item.fault
                if (fault.on, fault.stage) != (on, stage) or (fault.prompt or "") not in prompt:
                    continue
                if item.after:
                    item.after -= 1
                    continue
                if item.times is not None:
                    item.times -= 1
                    self._waiting = [waiting for waiting in self._waiting if waiting.times != 0]
                return fault
        return None


@dataclass
class _Waiting:
    fault: Fault
    after: int
    times: int | None
