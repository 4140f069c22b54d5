"""docs/troubleshooting.md quotes what the package says, and has a word on every error that it raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.links import OxenGenerationLink

from ..conftest import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
GAP = "…"
# A number or a conversion, as logging takes them.
CONVERSION = re.compile(r"%(?:[.\d]*[sdrfg]|%)")

ROWS = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.splitlines() if line.startswith("| ")]

OTHERS = {"queued", "processing", "deferred", "[s3]", "oxen_images"}
"""What stands in a first column in code and is nobody's message."""

# Drawn for those who catch a whole family; nobody raises them.
FAMILIES = {"OxenError", "OxenRefused", "OxenGenerationError"}


def quotes() -> Iterator[str]:
    """Return what the first column of each table quotes of this package, but for names of classes."""
    for cell in ROWS:
        for quote in re.findall(r"`([^`]+)`", cell):
            if not re.fullmatch(r"Oxen[A-Za-z]+|\w+\.\w+", quote) and quote not in OTHERS:
                yield quote


@lru_cache
def texts() -> str:
    """Return all texts of the package's code, one a line; what is filled in later is a gap."""
    found = []
    for path in (ROOT / "airflow_provider_oxen").rglob("*.py"):
        if "localhub" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(CONVERSION.sub(GAP, node.value))
    return "\n".join(" ".join(text.split()) for text in found)


def test_there_are_entries_for_what_people_meet():
    assert len(list(quotes())) >= 45
    for words in (
        "stays deferred",
        "Bad Request",
        "describes the image of another request",
        "Paid, then failed",
    ):
        assert words.casefold() in PAGE.replace("**", "").casefold()


@pytest.mark.parametrize("quote", sorted(set(quotes())))
def test_what_it_quotes_is_said_somewhere(quote: str):
    for part in filter(str.strip, quote.split(GAP)):
        assert part.strip() in texts()


def test_links_have_the_names_that_airflow_shows():
    assert set(re.findall(r'link "([^"]+)"', PAGE)) == {OxenGenerationLink.name}


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - FAMILIES))
def test_every_error_has_a_word_on_it(name: str):
    assert re.search(rf"`{name}`", PAGE)


def test_every_entry_says_whether_money_was_spent():
    tables = [table for table in PAGE.split("\n\n") if table.startswith("| you see | why | do | money |")]

    assert len(tables) == 8
    for table in tables:
        for line in table.splitlines()[2:]:
            assert len(line.split(" | ")) == 4, line
