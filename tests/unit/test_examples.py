"""Every example that people copy has retries: in the example Dags and in the documentation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ..conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    if re.search(r"(?:Image\w+Operator|Oxen\w+Sensor|@task\.oxen_image)\(", block)
]


@pytest.mark.parametrize("path", sorted((ROOT / "example_dags").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_dag_has_retries(path: Path):
    dags = [
        call
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "dag"
    ]

    assert dags
    for dag in dags:
        [defaults] = [ast.unparse(word.value) for word in dag.keywords if word.arg == "default_args"] or [""]
        assert "'retries': 2" in defaults


def test_there_are_examples_in_the_pages():
    assert len(BLOCKS) >= 8


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_task_of_the_pages_has_retries(block: str):
    assert re.search(r"\bretries=[2-9]", block)
