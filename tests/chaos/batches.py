"""The table of batches: the same kills, in the middle of many images that are on their way at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from tests.chaos.rows import Mode, Row

PROMPTS = 12

IN_FLIGHT = 4

_HELD = {"kind": "hold", "after": IN_FLIGHT, "times": IN_FLIGHT}
"""The hub holds as many answers as may be under way: as many images are kept then, or submitted, and as many
prompts not begun."""


@dataclass(frozen=True)
class BatchRow(Row):
    """One Dag run of one batch of :data:`PROMPTS`, struck once.

    :ivar on_error: the operator's argument.
    """

    on_error: Literal["fail", "continue"] = "fail"

    @property
    def id(self) -> str:
        return f"batch_{super().id}{'_continue' if self.on_error == 'continue' else ''}"

    @property
    def conditions(self) -> str:
        goes_on = " (on_error='continue')" if self.on_error == "continue" else ""
        return f"{super().conditions}{goes_on}"


_STEPS = (
    BatchRow(1, "sync", "before the sixth POST", "task", trap="before_post", nth=6),
    BatchRow(2, "sync", "hub holds four accepted POSTs", "task", instant="accepted", nth=8, fault=_HELD),
    BatchRow(3, "sync", "sixth answer came, record not written", "task", trap="after_answer", nth=6),
    BatchRow(4, "sync", "while polling, some kept", "task", instant="polling", nth=6),
    BatchRow(
        5, "sync", "while downloading the sixth", "task",
        instant="downloading", nth=6, fault={"kind": "slow", "on": "file", "after": 5, "seconds": 20},
    ),
    BatchRow(6, "sync", "while writing the fifth image", "task", trap="inside_image", nth=5),
    BatchRow(7, "sync", "between the fifth image and its sidecar", "task", trap="before_sidecar", nth=5),
    BatchRow(8, "sync", "after the last sidecar", "task", trap="after_sidecar", nth=PROMPTS),
    BatchRow(9, "sync", "while writing the manifest", "task", trap="inside_manifest"),
    BatchRow(10, "sync", "after the summary, result not told", "task", trap="after_summary"),
    BatchRow(11, "sync", "before the record of what is waited for", "task", trap="before_waiting"),
    BatchRow(12, "sync", "after it, not deferred yet", "task", trap="after_waiting"),
    BatchRow(13, "sync", "triggerer, while waiting", "triggerer", instant="polling"),
    BatchRow(14, "sync", "hub restarts", "hub", instant="polling", nth=6, any_airflow=True),
    BatchRow(15, "sync", "network cut", "network", instant="polling", nth=6, any_airflow=True),
    BatchRow(16, "sync", "supervisor too", "supervisor", instant="accepted", nth=8, fault=_HELD),
    BatchRow(17, "sync", "answer to a POST lost", "answer", fault={"kind": "drop_after", "after": 5},
             any_airflow=True),
    BatchRow(18, "sync", "answers to three POSTs lost", "answer",
             fault={"kind": "drop_after", "after": 5, "times": 3}, any_airflow=True),
)  # fmt: skip
"""One of each step; :func:`all_batches` says which modes have it."""

_ONLY: dict[int, Mode] = {4: "queue", 11: "deferrable", 12: "deferrable", 13: "deferrable"}
"""Steps of one mode. A task that defers does not poll; one that does not defer writes no record of that."""

_UNKNOWN = frozenset({1, 2, 3, 15, 16, 17, 18})
"""Steps that leave the outcome of synchronous calls unknown; see :data:`.rows._UNKNOWN`."""

_SHOWN = frozenset({2, 3, 15, 17, 18})
"""Of these, those that are played with a history that shows them as well."""

_BESIDE = frozenset({5, 6, 7})
"""Steps that strike one row while others may be in the middle of their calls: a history that shows those
makes the outcome certain."""

_CONTINUED = frozenset({2, 17})
"""And those that are played with a batch that goes on."""


def all_batches() -> Iterator[BatchRow]:
    """Yield every row: each step in each mode that has it."""
    for step in _STEPS:
        modes: tuple[Mode, ...] = (
            (_ONLY[step.number],) if step.number in _ONLY else ("sync", "queue", "deferrable")
        )
        for mode in modes:
            yield from _sync(step) if mode == "sync" else [_queued(step, mode)]


def _sync(step: BatchRow) -> Iterator[BatchRow]:
    """A synchronous call waits for its one answer: there is nothing to poll."""
    if step.instant == "polling":
        step = replace(step, instant="accepted", nth=8, fault=_HELD)
    if step.number not in _UNKNOWN:
        yield replace(step, history=step.number in _BESIDE)
        return
    if step.number in _SHOWN:
        yield replace(step, history=True)
    yield replace(step, ending="stopped")
    if step.number in _CONTINUED:
        yield replace(step, ending="told", on_error="continue")


def _queued(step: BatchRow, mode: Mode) -> BatchRow:
    if mode == "deferrable" and step.victim == "network":
        # While it submits: what the triggerer waits for is waited for like one image.
        step = replace(step, instant="accepted", nth=8, fault=_HELD)
    fault = step.fault and {"on": "enqueue", **step.fault}
    return replace(step, mode=mode, fault=fault)
