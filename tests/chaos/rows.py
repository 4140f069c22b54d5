"""The table: where each row is struck, in which mode, and what must have come out in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

Mode = Literal["sync", "queue", "deferrable"]

Victim = Literal["task", "supervisor", "triggerer", "hub", "network", "answer"]
"""What goes away: the task's process, it and its supervisor, the triggerer; the hub, the way to it, or one
answer of it."""

Instant = Literal["accepted", "polling", "downloading"]
"""What the harness sees the hub do before it strikes."""

Ending = Literal["kept", "stopped", "told"]
"""``kept``: the run succeeded, each image is billed once and kept. ``stopped``: the run failed rather than
risk a second payment, said so, and left nothing half-kept. ``told``: the run, of a batch that was to go on,
succeeded with all other images, and its manifest tells what may have been paid for."""

MODES: tuple[Mode, ...] = ("sync", "queue", "deferrable")

KILLS: frozenset[Victim] = frozenset({"task", "supervisor", "triggerer"})


@dataclass(frozen=True)
class Row:
    """One Dag run of one task, struck once.

    :ivar number: of the step; the same step in another mode has the same number.
    :ivar trap: the trap in :mod:`.traps` that kills the task's process from within, or None.
    :ivar instant: when to strike from outside, or None.
    :ivar nth: which time the trap's step, or the instant, is the one: of one image it is the first.
    :ivar fault: what the hub does wrong.
    :ivar history: whether the hub's history shows synchronous calls, which nobody knows of the real one.
    :ivar billed: images that must be billed in the end.
    :ivar any_airflow: whether the row is run on Airflow 2.11 as well.
    """

    number: int
    mode: Mode
    what: str
    victim: Victim
    trap: str | None = None
    instant: Instant | None = None
    nth: int = 1
    fault: Mapping[str, Any] | None = None
    history: bool = False
    ending: Ending = "kept"
    billed: int = 1
    any_airflow: bool = False

    @property
    def id(self) -> str:
        return f"{self.mode}_{self.number:02}{'_history' if self.history else ''}"

    open: ClassVar[str | None] = None
    """None is known to come out wrong."""

    @property
    def name(self) -> str:
        return f"{self.id} {self.what}"

    @property
    def conditions(self) -> str:
        """What else holds, in words, or nothing."""
        return " (the history shows it)" if self.history else ""

    @property
    def alone(self) -> bool:
        """Whether the strike hits what the other rows need too."""
        return self.victim == "triggerer"

    @property
    def tries(self) -> int:
        """The least number of tries that shows that a process was lost."""
        return 2 if self.victim in ("task", "supervisor") else 1

    @property
    def weight(self) -> int:
        """Who takes longest starts first: a lost supervisor is noticed by its missing heartbeats only."""
        return 2 if self.victim == "supervisor" else 1


_STEPS = (
    Row(1, "sync", "before the POST", "task", trap="before_post"),
    Row(2, "sync", "hub holds the accepted POST", "task", instant="accepted", fault={"kind": "hold"}),
    Row(3, "sync", "answer came, record not written", "task", trap="after_answer"),
    Row(4, "sync", "while polling", "task", instant="polling"),
    Row(
        5, "sync", "while downloading", "task",
        instant="downloading", fault={"kind": "slow", "on": "file", "seconds": 20},
    ),
    Row(6, "sync", "while writing the image", "task", trap="inside_image"),
    Row(7, "sync", "between image and sidecar", "task", trap="before_sidecar"),
    Row(8, "sync", "triggerer, while waiting", "triggerer", instant="polling"),
    Row(9, "sync", "answer to the POST lost", "answer", fault={"kind": "drop_after"}, any_airflow=True),
    Row(10, "sync", "hub restarts while waiting", "hub", instant="polling", any_airflow=True),
    Row(11, "sync", "network cut while waiting", "network", instant="polling", any_airflow=True),
    Row(12, "sync", "supervisor too", "supervisor", instant="polling"),
    Row(13, "sync", "after the sidecar, result not told", "task", trap="after_sidecar"),
)  # fmt: skip
"""One of each step; :func:`all_rows` says which modes have it."""

_UNKNOWN = frozenset({2, 3, 9, 11, 12})
"""Steps that leave a synchronous call's outcome unknown: it was sent, and no answer is on record. A hub that
restarts in order still answers what it has accepted."""


def all_rows() -> Iterator[Row]:
    """Yield every row: each step in each mode that has it."""
    for step in _STEPS:
        if step.number not in (4, 8):
            yield from _sync(step)
        if step.number != 8:
            yield _queued(step, "queue")
        if step.number != 4:
            yield _queued(step, "deferrable")


def _sync(step: Row) -> Iterator[Row]:
    """A synchronous call waits for its one answer: there is nothing to poll."""
    if step.instant == "polling":
        step = replace(step, instant="accepted", fault={"kind": "hold"})
    if step.number == 1:
        # Nobody can know that the request was not sent: no list must show a synchronous call.
        yield replace(step, ending="stopped", billed=0)
    elif step.number in _UNKNOWN:
        yield replace(step, history=True)
        yield replace(step, ending="stopped")
    else:
        yield step


def _queued(step: Row, mode: Mode) -> Row:
    fault = step.fault and {"on": "enqueue", **step.fault}
    # The worker that has handed its job to the triggerer is gone: it can be lost only while it sends.
    if mode == "deferrable" and step.victim == "supervisor":
        return replace(step, mode=mode, instant="accepted", fault={"kind": "hold", "on": "enqueue"})
    return replace(step, mode=mode, fault=fault)
