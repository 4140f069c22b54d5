"""What people copy from the pages can be read by what they paste it into."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
from collections.abc import Sequence

import pytest

from ..conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> Sequence[object]:
    """Return the blocks of a language, each named by its page and line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
            name = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}"
            found.append(pytest.param(textwrap.dedent(block[2]), id=name))
    return found


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_python(block: str):
    ast.parse(block)


@pytest.mark.parametrize("block", blocks("json"))
def test_json_is_json(block: str):
    json.loads(block)


@pytest.mark.parametrize("block", blocks("(?:console|bash)"))
def test_commands_are_of_a_shell(block: str):
    lines = block.splitlines()
    typed = [line[2:] for line in lines if line.startswith("$ ")] if "$ " in block else lines

    assert typed
    subprocess.run(["bash", "-n"], input="\n".join(typed), text=True, check=True, timeout=60)
