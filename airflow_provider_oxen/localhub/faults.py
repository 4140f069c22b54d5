"""What a local hub is told to do wrong, and how often."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

__all__ = ["ON_JOBS", "Fault", "Faults", "Kind", "Route", "Stage"]

Route = Literal[
    "generate",
    "enqueue",
    "queue",
    "job",
    "cancel",
    "history",
    "record",
    "events",
    "models",
    "search",
    "model",
    "authorize",
    "file",
]

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
    "fails",
    "hangs",
    "is_cancelled",
    "without_url",
    "odd_status",
    "forgotten",
    "no_generations",
    "late",
]

Shape = Literal["typed", "message", "string", "html", "empty", "text"]

Stage = Literal["arrived", "accepted"]
"""When a fault strikes: before the request is looked at, or after it was accepted (and billed)."""

ON_JOBS = frozenset(
    {"fails", "hangs", "is_cancelled", "without_url", "odd_status", "not_an_image", "truncated"}
)
"""What becomes of a job whose request is answered as if nothing were wrong."""

_ONLY_GENERATE = frozenset({"no_images", "empty_item", "bad_base64"})
_NEVER_BILLED = frozenset({"forgotten", "no_generations", "late"})
_ONLY_FILE = frozenset({"short", "padded", "slow"})
_ON_IMAGES = frozenset({"not_an_image", "truncated"})
_ONLY_ENQUEUE = (ON_JOBS - _ON_IMAGES) | _NEVER_BILLED
_AFTER_BILLING = _ONLY_GENERATE | _ONLY_ENQUEUE | _ON_IMAGES | {"drop_after", "hold"}
_BILLING: tuple[Route, ...] = ("generate", "enqueue")
_ROUTES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_ONLY_GENERATE, ("generate",)),
    **dict.fromkeys(_ONLY_FILE, ("file",)),
    **dict.fromkeys(_ONLY_ENQUEUE, ("enqueue",)),
    **dict.fromkeys(_ON_IMAGES, (*_BILLING, "file")),
    "drop_after": _BILLING,
}


@dataclass
class Fault:
    """One thing to do wrong.

    Anywhere: ``status`` (an error status), ``broken_json``, ``html`` and ``empty`` (a 200 with such
    a body), ``error_in_200``, ``redirect``, ``drop_before`` (the connection is closed without an
    answer), ``hold`` (the answer comes ``seconds`` later; on ``generate`` and ``enqueue`` the
    request is accepted at once).

    On ``generate`` and ``enqueue``, always after the request was accepted: ``drop_after`` (the
    connection is closed without an answer). On ``generate`` only, always after billing:
    ``no_images``, ``empty_item`` (neither key), ``bad_base64``. On ``generate``, ``enqueue`` and
    ``file``: ``not_an_image`` (an HTML page instead of the bytes), ``truncated`` (the first half of
    them, with a matching length); on the first two the image stays so however it is fetched. On
    ``file`` only: ``short`` (the length announced does not come), ``padded`` (``bytes`` zero bytes
    behind the image's end), ``slow`` (spread over ``seconds``).

    On ``enqueue`` only, answered as if nothing were wrong: ``fails`` (with ``message``), ``hangs``
    (processing for ever), ``is_cancelled`` (by itself), ``without_url`` (succeeds and tells no
    result), ``odd_status`` (between queued and succeeded it tells the status ``message``),
    ``forgotten`` (the hub knows nothing of the job, and bills nothing). And ``no_generations`` (a
    200 that says that nothing was accepted, with ``message``), ``late`` (the connection is closed
    without an answer, and ``seconds`` later by the hub's clock there is a job all the same).

    :param kind: what goes wrong.
    :param on: the route it goes wrong on.
    :param times: how often, or None for ever.
    :param after: how many requests pass unharmed first.
    :param prompt: only where the prompt contains this text (``generate`` and ``enqueue`` only).
    :param billed: on ``generate`` and ``enqueue``, strike after the request was accepted, whatever
        the kind.
    :param status: for ``status``; ``redirect`` takes one too (302 unless it is a 3xx).
    :param headers: further headers of the answer, such as ``Retry-After``.
    :param body: body of the answer, an object for JSON or a text, instead of the one ``shape`` gives.
    :param shape: for ``status``: ``typed`` and ``message`` (the hub's two error bodies), ``string``
        (``{"error": "..."}``), ``html``, ``empty`` or ``text``.
    :param seconds: for ``hold``, ``slow`` and ``late``.
    :param bytes: for ``padded``.
    :param location: for ``redirect``; None redirects to the same URL, which makes a loop.
    :param message: for ``fails`` and ``no_generations`` the error, for ``odd_status`` the status.
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
    message: str = "Getting model response error: 500 - upstream"

    def __post_init__(self) -> None:
        for name, choices in (("kind", Kind), ("on", Route), ("shape", Shape)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)!r}"
                )
        routes = _ROUTES.get(self.kind, get_args(Route))
        if self.on not in routes:
            raise ValueError(f"{self.kind} goes wrong on {' and '.join(routes)} only, not on {self.on}")
        if self.on not in _BILLING and (self.billed or self.prompt is not None):
            raise ValueError("billed and prompt are for faults on generate and enqueue only")
        if self.billed and self.kind in _NEVER_BILLED:
            raise ValueError(f"{self.kind} lets nothing be billed")

    @property
    def stage(self) -> Stage:
        if self.on in _BILLING:
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

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes wrong any more."""
        return not self._waiting

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
