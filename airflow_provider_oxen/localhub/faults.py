"""The faults that a local hub can produce, and how often."""

from __future__ import annotations

import copy
import threading
from dataclasses import asdict, field
from typing import Any, Literal, get_args

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

__all__ = ["ON_JOBS", "Clothes", "Fault", "Faults", "Kind", "Route", "Stage"]

BillingRoute = Literal["generate", "enqueue"]
QueueRoute = Literal["queue", "job", "cancel", "history", "record", "events"]
ModelRoute = Literal["models", "search", "model"]
Route = Literal[BillingRoute, QueueRoute, ModelRoute, "authorize", "file"]

NoAnswer = Literal["broken_json", "html", "empty", "error_in_200"]
Anywhere = Literal[NoAnswer, "status", "redirect", "drop_before", "hold"]
OnGenerate = Literal["no_images", "empty_item", "bad_base64"]
OnImages = Literal["not_an_image", "truncated", "not_yet"]
OnFile = Literal["short", "padded", "slow"]
OnJobs = Literal["fails", "hangs", "is_cancelled", "without_url", "odd_status"]
NeverBilled = Literal["forgotten", "no_generations", "late"]
Kind = Literal[Anywhere, "drop_after", OnGenerate, OnImages, OnFile, OnJobs, NeverBilled]
"""The kind of fault; see the table in docs/testing-your-dags.md."""

Shape = Literal["typed", "message", "string", "html", "empty", "text"]

WrongStatus = Literal["missing", "forbidden", "gone"]
WrongBody = Literal["empty", "partial", "page", "json", "xml", "cut", "short"]
Clothes = Literal[WrongBody, WrongStatus, "accepted", "no_content", "login"]
"""What is sent in place of an image that is not there yet; see the same table."""

Stage = Literal["arrived", "accepted"]
"""When a fault strikes: before the request is read, or after it was accepted (and billed)."""

ON_JOBS = frozenset((*get_args(OnJobs), *get_args(OnImages)))
"""The outcome of a job whose request is answered as if nothing were wrong."""

_BILLING: tuple[Route, ...] = get_args(BillingRoute)
_ROUTES: dict[Kind, tuple[Route, ...]] = {
    "drop_after": _BILLING,
    **dict.fromkeys(get_args(OnGenerate), ("generate",)),
    **dict.fromkeys(get_args(OnImages), (*_BILLING, "file")),
    **dict.fromkeys(get_args(OnFile), ("file",)),
    **dict.fromkeys((*get_args(OnJobs), *get_args(NeverBilled)), ("enqueue",)),
}
"""The routes of those kinds that strike only there, and always after the request was accepted."""


@dataclass(config=ConfigDict(extra="forbid", strict=True))
class Fault:
    """One fault, ``times`` times (None: for ever) after the first ``after`` requests.

    The table "Failing on purpose" in docs/testing-your-dags.md describes each kind, and which other fields it
    reads.
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
    looks: int | None = None
    clothes: Clothes = "page"
    bytes: int = 0
    location: str | None = None
    message: str | dict[str, Any] = "Getting model response error: 500 - upstream"
    retryable: bool | None = None

    def __post_init__(self) -> None:
        routes = _ROUTES.get(self.kind, get_args(Route))
        if self.on not in routes:
            raise ValueError(f"{self.kind} goes wrong on {' and '.join(routes)} only, not on {self.on}")
        if self.on not in _BILLING and (self.billed or self.prompt is not None):
            raise ValueError("billed and prompt are for faults on generate and enqueue only")
        if self.billed and self.kind in get_args(NeverBilled):
            raise ValueError(f"{self.kind} lets nothing be billed")

    @property
    def stage(self) -> Stage:
        is_late = self.billed or self.kind in _ROUTES or (self.kind == "hold" and self.on in _BILLING)
        return "accepted" if is_late else "arrived"


class Faults:
    """The faults that are still to come, in the order in which they were added. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            # Copy them: their ``after`` and ``times`` are counted down.
            self._waiting.extend(copy.copy(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the faults still to come, with the current ``after`` and ``times``."""
        with self._lock:
            return [asdict(fault) for fault in self._waiting]

    def take(self, on: Route, stage: Stage, prompt: str = "") -> Fault | None:
        """Return the fault that strikes this request, and count it."""
        with self._lock:
            for fault in self._waiting:
                if (fault.on, fault.stage) != (on, stage) or (fault.prompt or "") not in prompt:
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times < 1:
                        self._waiting = [waiting for waiting in self._waiting if waiting is not fault]
                return fault
        return None
