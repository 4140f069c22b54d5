"""What the harnesses' commands have in common: options, a home that goes away, a table, an exit code."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.chaos.checks import task_log

TAIL = 60
"""Lines of a wrong row's log that are shown."""


class Row(Protocol):
    """A row of a table.

    :ivar open: why it is known to come out wrong, or None.
    """

    @property
    def name(self) -> str: ...

    @property
    def open(self) -> str | None: ...


class Table(Protocol):
    """How verdicts are shown."""

    def text(self, verdicts: Sequence[Any]) -> str: ...

    def markdown(self, verdicts: Sequence[Any]) -> str: ...


class Outcome(NamedTuple):
    """What came of all rows.

    :ivar leaked: a sentence for each secret that came out.
    """

    verdicts: Sequence[Any]
    leaked: Sequence[str]


Play = Callable[[Sequence[Any], Path], Outcome]
"""Plays rows in a home; Airflow's own homes are below ``airflow`` there."""


def main(doc: str | None, name: str, rows: Sequence[Any], play: Play, table: Table) -> int:
    """Play the chosen rows in a home of their own, and return 1 where any is wrong.

    :param name: of the harness; the home is called so.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--only", metavar="TEXT", action="append", help="rows whose name contains it")
    parser.add_argument("--table", metavar="PATH", type=Path, help="write the table there as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the home directory")
    options = parser.parse_args()
    if options.only:
        rows = [row for row in rows if any(text in row.name for text in options.only)]
    if not rows:
        parser.error("no row is called that")
    # Being asked to end is no reason to leave processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = Path(tempfile.mkdtemp(prefix=f"oxen-{name}-"))
    try:
        verdicts, leaked = play(rows, home)
        print(table.text(verdicts))
        for verdict in verdicts:
            if verdict.problems:
                _show(verdict, home)
        for sentence in leaked:
            print(f"LEAK: {sentence}")
        if options.table:
            options.table.write_text(table.markdown(verdicts))
        wrong = [verdict for verdict in verdicts if verdict.problems and not verdict.scene.row.open]
        return int(bool(leaked or wrong))
    finally:
        if options.keep:
            print(f"Home: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)


def _show(verdict: Any, home: Path) -> None:
    row = verdict.scene.row
    known = f" (known: {row.open})" if row.open else ""
    print(f"\n=== {row.name}{known}: {'; '.join(verdict.problems)}")
    print("\n".join(task_log(home / "airflow", verdict.scene.dag_id).splitlines()[-TAIL:]))
