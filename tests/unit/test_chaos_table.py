"""The tables in the documentation have every row that ``make chaos`` and ``make cluster`` run, and each came
out as it must."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.chaos.batches import all_batches
from tests.chaos.rows import Row, all_rows
from tests.chaos.table import ENDINGS
from tests.cluster import rows as cluster
from tests.cluster import table as cluster_table

from ..conftest import ROOT


def shown(name: str) -> list[list[str]]:
    """Return the cells of each row of a table on the page of proofs."""
    page = (ROOT / "docs" / "proofs.md").read_text()
    [table] = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page, re.DOTALL)
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("table", "rows"), [("chaos-image", all_rows()), ("chaos-batch", all_batches())], ids=["one", "batch"]
)
def test_the_table_on_the_page_has_every_row(table: str, rows: Iterable[Row]):
    expected = {(row.mode, f"{row.number} {row.what}{row.conditions}", ENDINGS[row.ending]) for row in rows}

    assert {(line[0], line[1], line[-1]) for line in shown(table)} == expected


def test_the_table_of_the_cluster_has_every_row():
    lines = shown("cluster")

    assert sorted((*line[:3], line[-1]) for line in lines) == sorted(
        cluster_table.expected(row) for row in cluster.all_rows()
    )


def test_no_two_rows_of_the_cluster_are_the_same():
    ids = [row.id for row in cluster.all_rows()]

    assert len(set(ids)) == len(ids)
