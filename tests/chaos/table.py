"""The rows as tables, one of single images and one of batches, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.batches import BatchRow
from tests.chaos.checks import Verdict

Cells = tuple[str, ...]

_HEADS = ("mode", "step", "struck", "tries", "state", "billed", "images", "seconds", "verdict")

_BATCH_HEADS = (*_HEADS[:-2], "unknown", *_HEADS[-2:])

_VICTIMS = {
    "task": "task's process killed",
    "supervisor": "supervisor and task killed",
    "triggerer": "triggerer killed",
    "hub": "hub restarted",
    "network": "network cut",
    "answer": "answer dropped",
}

ENDINGS = {
    "kept": "paid once, kept",
    "stopped": "stopped, said so",
    "told": "the others kept, said so",
}


def text(verdicts: Sequence[Verdict]) -> str:
    """Return the tables for a terminal, with the problems below their rows."""
    return "\n\n".join(
        columns(heads, [(_cells(heads, verdict), verdict.problems) for verdict in part])
        for heads, part in _parts(verdicts)
    )


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the tables in Markdown."""
    return "\n".join(
        pipes(heads, [_cells(heads, verdict) for verdict in part]) for heads, part in _parts(verdicts)
    )


def _parts(verdicts: Sequence[Verdict]) -> list[tuple[Cells, list[Verdict]]]:
    batches = [verdict for verdict in verdicts if isinstance(verdict.scene.row, BatchRow)]
    images = [verdict for verdict in verdicts if verdict not in batches]
    return [(heads, part) for heads, part in ((_HEADS, images), (_BATCH_HEADS, batches)) if part]


def columns(heads: Cells, rows: Sequence[tuple[Cells, Sequence[str]]]) -> str:
    """Lay a table out for a terminal.

    :param rows: the cells of each, and the lines below them.
    """
    every = [(heads, ()), *rows]
    widths = [max(len(cells[column]) for cells, _ in every) for column in range(len(heads))]
    lines = []
    for cells, below in every:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        lines.extend(f"    {line}" for line in below)
    return "\n".join(lines)


def pipes(heads: Cells, rows: Sequence[Cells]) -> str:
    """Lay a table out in Markdown."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(heads: tuple[str, ...], verdict: Verdict) -> tuple[str, ...]:
    row, run = verdict.scene.row, verdict.run
    cells = {
        "mode": row.mode,
        "step": f"{row.number} {row.what}{row.conditions}",
        "struck": _VICTIMS[row.victim],
        "tries": str(run.tries),
        "state": run.state,
        "billed": str(verdict.billed),
        "images": str(verdict.images),
        "unknown": str(verdict.unknown),
        "seconds": "-" if run.seconds is None else f"{run.seconds:.0f}",
        "verdict": "WRONG" if verdict.problems else ENDINGS[verdict.ending or row.ending],
    }
    return tuple(cells[head] for head in heads)
