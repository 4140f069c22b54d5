"""Report how far a batch is: lines in the log, and a progress bar in a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Progress", "Tally"]

RARELY = 10.0
"""Least seconds between two lines: people read the log."""

STEP = 0.05
"""Part of the batch after which there is a line; if that takes long, there is a line each minute."""

_SLOW = 60.0


@dataclass
class Tally:
    """How many rows have ended, and how.

    :ivar counts: rows by their status in the manifest, or ``waiting``.
    """

    total: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """Rows that this try has finished, or found finished."""
        return self.counts.total()

    @property
    def bad(self) -> int:
        """Rows that gave no image."""
        return self.counts["failed"] + self.counts["unknown"]

    def line(self, seconds: float, before: int, spent: str) -> str:
        """Return the state in words.

        :param seconds: since the work began.
        :param before: rows that had ended when it began.
        :param spent: in words.
        """
        done = self.ended - before
        rate = done / seconds if seconds > 0 else 0.0
        left = self.total - self.ended
        soon = f", {_duration(left / rate)} left" if rate and left else ""
        counts = self.counts
        parts = [f"{counts['generated']:,} generated"] if counts["generated"] or not counts["waiting"] else []
        parts += [f"{counts['waiting']:,} submitted"] if counts["waiting"] else []
        parts += [f"{counts['reused']:,} reused", f"{counts['failed']:,} failed"]
        parts += [f"{counts['unknown']:,} unknown"] if counts["unknown"] else []
        share = self.ended / self.total if self.total else 1.0
        return (
            f"{self.ended:,} of {self.total:,} prompts ({share:.0%}): {', '.join(parts)}; "
            f"{rate * 60:,.0f} a minute{soon}; {spent} so far."
        )


@dataclass
class Progress:
    """Logs how far the batch is, not too often.

    :param spent: returns the USD so far, in words.
    """

    tally: Tally
    log: Any
    spent: Callable[[], str]
    clock: Callable[[], float] = time.monotonic
    _bar: Any = field(default=None, init=False)

    def __enter__(self) -> Progress:
        self._began = self._logged = self.clock()
        self._before = self._seen = self.tally.ended
        if self._before < self.tally.total and sys.stderr.isatty():
            self._bar = _bar(self.tally.total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._show()
            self._bar.stop()
        if self.tally.ended > self._seen:
            self._log(self.clock())

    def tick(self) -> None:
        """Log the progress, if it is time."""
        self._show()
        now = self.clock()
        silent = now - self._logged
        step = (self.tally.ended - self._seen) / max(1, self.tally.total) >= STEP
        if silent >= RARELY and (step or silent >= _SLOW):
            self._log(now)

    def _log(self, now: float) -> None:
        self._logged, self._seen = now, self.tally.ended
        self.log.info("%s", self.tally.line(now - self._began, self._before, self.spent()))

    def _show(self) -> None:
        if self._bar is not None:
            facts = f"{self.tally.bad} failed, {self.spent()}"
            self._bar.update(self._bar.task_ids[0], completed=self.tally.ended, facts=facts)


def _bar(total: int) -> Any:
    # Airflow brings this library, and only an interactive terminal needs it.
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[facts]}"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task("prompts", total=total, facts="")
    return bar


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
