"""The rows as tables, one of single images and one of batches, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.batches import BatchRow
from tests.chaos.checks import Verdict

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
    return "\n\n".join(_text(*part) for part in _parts(verdicts))


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the tables in Markdown."""
    return "\n".join(_markdown(*part) for part in _parts(verdicts))


def _parts(verdicts: Sequence[Verdict]) -> list[tuple[tuple[str, ...], list[Verdict]]]:
    batches = [verdict for verdict in verdicts if isinstance(verdict.scene.row, BatchRow)]
    images = [verdict for verdict in verdicts if verdict not in batches]
    return [(heads, part) for heads, part in ((_HEADS, images), (_BATCH_HEADS, batches)) if part]


def _text(heads: tuple[str, ...], verdicts: Sequence[Verdict]) -> str:
    cells = [heads, *(_cells(heads, verdict) for verdict in verdicts)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for row, verdict in zip(cells, (None, *verdicts), strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines.extend(f"    {problem}" for problem in (verdict.problems if verdict else ()))
    return "\n".join(lines)


def _markdown(heads: tuple[str, ...], verdicts: Sequence[Verdict]) -> str:
    lines = [heads, tuple("---" for _ in heads), *(_cells(heads, verdict) for verdict in verdicts)]
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
        "verdict": "WRONG" if verdict.problems else ENDINGS[row.ending],
    }
    return tuple(cells[head] for head in heads)
