"""The rows as a table, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.checks import Verdict
from tests.chaos.rows import Row

_HEADS = ("mode", "step", "struck", "tries", "state", "billed", "images", "seconds", "verdict")

_VICTIMS = {
    "task": "task's process killed",
    "supervisor": "supervisor and task killed",
    "triggerer": "triggerer killed",
    "hub": "hub restarted",
    "network": "network cut",
    "answer": "answer dropped",
}


def rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """Return the table's cells, heads first."""
    return [_HEADS, *(_cells(verdict) for verdict in verdicts)]


def text(verdicts: Sequence[Verdict]) -> str:
    """Return the table for a terminal, with the problems below their rows."""
    cells = rows(verdicts)
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADS))]
    lines = []
    for row, verdict in zip(cells, (None, *verdicts), strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines.extend(f"    {problem}" for problem in (verdict.problems if verdict else ()))
    return "\n".join(lines)


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the table in Markdown."""
    heads, *body = rows(verdicts)
    lines = [heads, tuple("---" for _ in heads), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(verdict: Verdict) -> tuple[str, ...]:
    row, run = verdict.scene.row, verdict.run
    return (
        row.mode,
        f"{row.number} {_step(row)}",
        _VICTIMS[row.victim],
        str(run.tries),
        run.state,
        str(verdict.billed),
        str(verdict.images),
        "-" if run.seconds is None else f"{run.seconds:.0f}",
        "WRONG"
        if verdict.problems
        else {"kept": "paid once, kept", "stopped": "stopped, said so"}[row.ending],
    )


def _step(row: Row) -> str:
    return f"{row.what} (the history shows it)" if row.history else row.what
