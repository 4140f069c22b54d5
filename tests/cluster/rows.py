"""The table: what happens to each row, and what must have come out in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.chaos.rows import Mode

Kind = Literal["image", "mapped", "batch"]

Store = Literal["s3", "shared", "disk", "none"]
"""``shared``: a folder that all see; ``disk``: each worker has its own at this path; ``none``: XCom only."""

Window = Literal["submitting", "refused", "polling", "keeping", "queued"]
"""What the hub shows before the strike: it holds an accepted request, has answered 429, is asked about jobs
that it works on, sends an image slowly; or Airflow has put a task into the broker that no worker takes."""

Strike = Literal[
    "none",
    "task killed",
    "task frozen",
    "worker killed",
    "worker frozen",
    "triggerer killed",
    "triggerer frozen",
    "database restarted",
    "broker lost",
    "another worker",
    "killed, another worker",
    "folder gone",
    "run deleted",
    "ten kills",
]

Ending = Literal["kept", "stopped"]
"""``kept``: the run succeeded, each image is billed once and kept. ``stopped``: the run failed rather than
risk a second payment, and said so; what is billed is billed once."""

Act = Literal[
    "clean", "disks", "a1", "a2", "a3", "f1", "f2", "tasks", "t1", "t2", "database", "broker", "soak"
]
"""Rows of one act are struck together, where the strike hits more than a row."""

PROMPTS: Mapping[Kind, int] = {"image": 1, "mapped": 4, "batch": 8}

SOAK: Mapping[Kind, int] = {"image": 0, "mapped": 12, "batch": 48}

KILLS = 10

_RETRY_AFTER = 30

_LOSES_A_TRY: frozenset[Strike] = frozenset(
    {"task killed", "task frozen", "worker killed", "worker frozen", "killed, another worker"}
)


@dataclass(frozen=True)
class Row:
    """One Dag run.

    :ivar history: whether the hub's history shows synchronous calls, which nobody knows of the real one.
    :ivar open: why it does not come out so yet, or None.
    """

    act: Act
    kind: Kind
    mode: Mode
    strike: Strike = "none"
    window: Window | None = None
    store: Store = "s3"
    history: bool = False
    ending: Ending = "kept"
    open: str | None = None

    @property
    def id(self) -> str:
        words = (self.act, self.kind, self.mode, self.window, None if self.strike == "none" else self.strike)
        ends = (self.store if self.strike == "none" else None, "history" if self.history else None)
        return "_".join(word.replace(" ", "-").replace(",", "") for word in (*words, *ends) if word)

    @property
    def name(self) -> str:
        return self.id

    @property
    def prompts(self) -> int:
        return (SOAK if self.act == "soak" else PROMPTS)[self.kind]

    @property
    def what(self) -> str:
        """The task and the moment, in words."""
        many = "" if self.kind == "image" else f" of {self.prompts}"
        task = {"image": "an image", "mapped": "mapped task", "batch": "a batch"}[self.kind] + many
        when = {
            "submitting": "the hub holds the accepted request",
            "refused": "waiting after a 429",
            "polling": "while polling",
            "keeping": "while downloading",
            "queued": "queued in the broker",
        }
        place = {
            "s3": "",
            "shared": " (a shared folder)",
            "none": " (no storage)",
            "disk": " (a disk of each worker)",
        }
        moment = f", {when[self.window]}" if self.window else ""
        shown = " (the history shows it)" if self.history else ""
        return f"{task}{moment}{place[self.store]}{shown}"

    @property
    def loses_a_try(self) -> bool:
        """Whether the strike must cost one, which proves that it hit."""
        return self.strike in _LOSES_A_TRY

    @property
    def fault(self) -> Mapping[str, Any] | None:
        """What the hub does wrong."""
        route = "generate" if self.mode == "sync" else "enqueue"
        middle = 0 if self.kind == "image" else 2
        if self.window == "submitting":
            # Long enough for all that are struck together; where the database restarts, the answer comes.
            seconds = 40.0 if self.strike == "database restarted" else 90.0
            return {"kind": "hold", "on": route, "after": middle, "seconds": seconds}
        if self.window == "refused":
            # Again and again, until the strike has come. A trigger is refused its looks.
            route = "queue" if self.strike.startswith("triggerer") else route
            headers = {"Retry-After": str(_RETRY_AFTER)}
            return {
                "kind": "status",
                "status": 429,
                "on": route,
                "after": middle,
                "times": None,
                "headers": headers,
            }
        if self.window == "keeping":
            return {"kind": "slow", "on": "file", "after": middle, "seconds": 60.0}
        return None


def all_rows() -> Iterator[Row]:
    """Yield every row."""
    yield from _clean()
    yield from _disks()
    yield from _workers()
    yield from _tasks()
    yield from _triggerers()
    yield from _servers()
    yield Row("soak", "mapped", "deferrable", "ten kills")
    yield Row("soak", "batch", "queue", "ten kills")


def _clean() -> Iterator[Row]:
    yield Row("clean", "image", "sync")
    yield Row("clean", "image", "sync", store="none")
    yield Row("clean", "image", "queue", store="shared")
    yield Row("clean", "image", "deferrable")
    yield Row("clean", "mapped", "deferrable")
    yield Row("clean", "batch", "sync")
    yield Row("clean", "batch", "queue", store="shared")
    yield Row("clean", "batch", "deferrable")


def _disks() -> Iterator[Row]:
    """A path that is another folder on each worker: of an image Airflow has a record too, of a batch not."""
    yield Row("disks", "image", "deferrable", "another worker", "polling", "disk")
    yield Row("disks", "image", "queue", "killed, another worker", "polling", "disk")
    yield Row("disks", "batch", "deferrable", "another worker", "polling", "disk", ending="stopped")
    yield Row("disks", "batch", "queue", "killed, another worker", "polling", "disk", ending="stopped")
    yield Row("disks", "batch", "deferrable", "folder gone", "polling", "disk", ending="stopped")


def _workers() -> Iterator[Row]:
    """The whole worker: its main process, its pool, and all tasks that it runs at that time."""
    first: tuple[tuple[Act, Strike], ...] = (("a1", "worker killed"), ("f1", "worker frozen"))
    for act, strike in first:
        yield Row(act, "image", "sync", strike, "submitting", history=True)
        yield Row(act, "image", "sync", strike, "refused")
        yield Row(act, "image", "queue", strike, "submitting")
        yield Row(act, "image", "queue", strike, "refused")
    second: tuple[tuple[Act, Strike], ...] = (("a2", "worker killed"), ("f2", "worker frozen"))
    for act, strike in second:
        yield Row(act, "image", "sync", strike, "keeping")
        yield Row(act, "image", "queue", strike, "polling")
        yield Row(act, "image", "queue", strike, "keeping")
        yield Row(act, "batch", "queue", strike, "polling")
    yield Row("a3", "image", "sync", "worker killed", "submitting", ending="stopped")
    yield Row("a3", "image", "deferrable", "worker killed", "submitting")
    yield Row("a3", "image", "deferrable", "worker killed", "refused")
    yield Row("a3", "batch", "queue", "worker killed", "refused")


def _tasks() -> Iterator[Row]:
    """A task's process and the one of the pool that watches it: a pod, on Kubernetes."""
    yield Row("tasks", "image", "deferrable", "task killed", "submitting")
    yield Row("tasks", "image", "queue", "task killed", "refused")
    yield Row("tasks", "image", "queue", "task killed", "polling")
    yield Row("tasks", "batch", "queue", "task killed", "keeping")
    yield Row("tasks", "image", "sync", "task frozen", "refused")
    yield Row("tasks", "image", "deferrable", "task frozen", "submitting")
    yield Row("tasks", "batch", "queue", "task frozen", "polling")
    yield Row("tasks", "image", "queue", "run deleted", "polling")
    yield Row("tasks", "image", "deferrable", "run deleted", "polling")


def _triggerers() -> Iterator[Row]:
    acts: tuple[tuple[Act, Strike], ...] = (("t1", "triggerer killed"), ("t2", "triggerer frozen"))
    for act, strike in acts:
        yield Row(act, "image", "deferrable", strike, "polling")
        yield Row(act, "image", "deferrable", strike, "refused")
        yield Row(act, "mapped", "deferrable", strike, "polling")
        yield Row(act, "batch", "deferrable", strike, "polling")


def _servers() -> Iterator[Row]:
    acts: tuple[tuple[Act, Strike], ...] = (("database", "database restarted"), ("broker", "broker lost"))
    for act, strike in acts:
        if act == "database":
            yield Row(act, "image", "sync", strike, "submitting")
        else:
            yield Row(act, "image", "queue", strike, "queued")
        yield Row(act, "image", "queue", strike, "polling")
        yield Row(act, "image", "deferrable", strike, "polling")
        yield Row(act, "batch", "queue", strike, "polling")
        yield Row(act, "batch", "deferrable", strike, "polling")
