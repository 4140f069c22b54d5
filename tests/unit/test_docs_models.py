"""docs/models-and-prices.md: its table is the local hub's catalogue; its code prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.localhub import LocalHub
from airflow_provider_oxen.localhub.catalogue import recorded

from ..conftest import ROOT
from .test_docs_troubleshooting import texts

PAGE = (ROOT / "docs" / "models-and-prices.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)


def table() -> str:
    """Return the page's table of models, made of what was recorded."""
    lines = ["| model | by default | cheapest to dearest | parameters |", "|---|---|---|---|"]
    for entry in recorded():
        usual = price(Model.model_validate(entry), {})
        grid = entry["pricing"].get("cost_per_image_grid") or {}
        prices = sorted(each for row in grid.values() for each in row.values())
        spread = f"{prices[0]:g} to {prices[-1]:g}" if prices else "one price" if usual else ""
        names = ", ".join(f"`{name}`" for name in entry["request_schema"]["properties"] if name != "prompt")
        if "prompt" not in entry["request_schema"]["properties"]:
            names += " (no prompt)"
        lines.append(f"| `{entry['id']}` | {f'{usual:g}' if usual else 'not known'} | {spread} | {names} |")
    return "\n".join(lines)


def test_messages_that_it_quotes_are_said_somewhere():
    rows = PAGE.partition("## What can go wrong")[2].splitlines()
    seen = [row.split(" | ")[0] for row in rows if row.startswith("| ")]
    quotes = re.findall(r"`([^`]+)`", " ".join(seen))

    assert len(quotes) >= 5
    assert [quote for quote in quotes if quote not in texts()] == []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with LocalHub() as running:
        fields = {"conn_type": "oxen", "host": running.url, "password": running.key}
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", json.dumps(fields))
        yield running


def test_the_table_is_the_catalogues():
    [shown] = re.findall(r"<!-- models: .*? -->\n(.*?)<!-- /models -->", PAGE, re.DOTALL)

    assert shown.strip() == table()


def test_the_code_prints_what_the_page_shows(hub: LocalHub):
    names: dict[str, Any] = {}
    printed = []
    for code, shown in BLOCKS:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        # The page's lines have no blanks at their end, and Airflow 2.11 logs to the same place.
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        said = "\n".join(line for line in lines if not line.startswith("[2"))
        printed.append(said)
        if shown:
            assert said == shown.strip()

    assert len(BLOCKS) >= 4
    assert printed[0].startswith("(True, 'Connected to http://127.0.0.1:")
    assert "gpt-image-2 can run now 0.29" in printed[0]
    assert "local-user-brand-style the hub says it cannot run inference None" in printed[0]
    assert hub.spent() == 0


if __name__ == "__main__":
    print(table())
