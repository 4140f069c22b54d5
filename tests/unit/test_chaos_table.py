"""The table in the documentation has every row that ``make chaos`` runs, and each came out as it must."""

from __future__ import annotations

import re

from tests.chaos.rows import all_rows

from ..conftest import ROOT

PAGE = (ROOT / "docs" / "paying-once.md").read_text()

ENDINGS = {"kept": "paid once, kept", "stopped": "stopped, said so"}


def shown() -> set[tuple[str, str, str]]:
    """Return mode, step and verdict of each row of the page."""
    [table] = re.findall(r"<!-- chaos -->\n(.*?)<!-- /chaos -->", PAGE, re.DOTALL)
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(line[0], line[1], line[-1]) for line in cells}


def test_the_table_on_the_page_has_every_row():
    history = " (the history shows it)"
    rows = {
        (row.mode, f"{row.number} {row.what}{history if row.history else ''}", ENDINGS[row.ending])
        for row in all_rows()
    }

    assert shown() == rows
