"""The rows as a table, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.table import Cells, columns, pipes
from tests.cluster.checks import Verdict
from tests.cluster.rows import Row

HEADS = ("mode", "task", "what happened", "tries", "state", "billed", "kept", "seconds", "verdict")

_ENDINGS = {"kept": "paid once, kept", "stopped": "stopped, said so"}


def text(verdicts: Sequence[Verdict]) -> str:
    """Return the table for a terminal, with the problems below their rows."""
    return columns(HEADS, [(_cells(verdict), verdict.problems) for verdict in verdicts])


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the table in Markdown."""
    return pipes(HEADS, [_cells(verdict) for verdict in verdicts])


def expected(row: Row) -> Cells:
    """Return what the table says of a row that came out as it must: mode, task, strike, verdict."""
    return row.mode, row.what, _struck(row), f"open: {row.open}" if row.open else _ENDINGS[row.ending]


def _struck(row: Row) -> str:
    return "nothing" if row.strike == "none" else row.strike


def _cells(verdict: Verdict) -> Cells:
    row, run = verdict.scene.row, verdict.run
    mode, task, struck, good = expected(row)
    return (
        mode,
        task,
        struck,
        str(run.tries),
        run.state,
        str(verdict.billed),
        str(verdict.kept),
        "-" if run.seconds is None else f"{run.seconds:.0f}",
        "WRONG" if verdict.problems and not row.open else good,
    )
