"""What the tests of honest mistakes share: a Dag of one task, and the one line that it fails with.

With ``HONEST_MISTAKES=table.md`` in the environment, the lines are added to that file as rows of a table. A
test module imports the fixture: ``from .mistakes import teller  # noqa: F401``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import START

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

MODEL = "z-image-turbo"
SIZED = "qwen-image"
PRINTED = re.compile(
    r"^(?:airflow_provider_oxen\.api\.errors\.\w+|jinja2\.exceptions\.UndefinedError): (.*)$", re.M
)
FIRST = "Nothing was spent by this try. Not tried again. "


def dag_of(task: type, **arguments: Any) -> Any:
    with DAG("mistaken", start_date=START, schedule=None) as dag:
        task(task_id="hero", **arguments)
    return dag


def one_line(log: str) -> str:
    """Return the line with which the task failed; it is there once, whatever logger shows it."""
    [line] = set(PRINTED.findall(log))
    assert len(line) <= 400, len(line)
    sentences = [sentence for sentence in re.split(r"(?<=[.?!]) ", line) if len(sentence) > 3]
    assert len(sentences) == len(set(sentences)), line
    return str(line)


@pytest.fixture(name="tell")
def teller(request: pytest.FixtureRequest, connected: Any) -> Callable[[str, str], None]:
    """Add a row to the table, where one is wanted."""

    def tell(mistake: str, line: str) -> None:
        if path := os.environ.get("HONEST_MISTAKES"):
            line = line.replace(connected.url, "http://127.0.0.1:8750")
            line = re.sub(r"/\S*?/test_\w+?0/", "/data/", line).replace("|", "\\|")
            with Path(path).open("a") as file:
                file.write(f"| {mistake} | {line} |\n")

    return tell
