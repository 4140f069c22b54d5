"""The tables in the documentation have every row that ``make chaos`` runs, and each came out as it must."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.chaos.batches import all_batches
from tests.chaos.rows import Row, all_rows
from tests.chaos.table import ENDINGS

from ..conftest import ROOT


def shown(page: str) -> set[tuple[str, str, str]]:
    """Return mode, step and verdict of each row of a page."""
    [table] = re.findall(
        r"<!-- chaos -->\n(.*?)<!-- /chaos -->", (ROOT / "docs" / page).read_text(), re.DOTALL
    )
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(line[0], line[1], line[-1]) for line in cells}


@pytest.mark.parametrize(
    ("page", "rows"), [("paying-once.md", all_rows()), ("batches.md", all_batches())], ids=["one", "batch"]
)
def test_the_table_on_the_page_has_every_row(page: str, rows: Iterable[Row]):
    expected = {(row.mode, f"{row.number} {row.what}{row.conditions}", ENDINGS[row.ending]) for row in rows}

    assert shown(page) == expected
