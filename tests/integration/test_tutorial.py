"""docs/tutorial.md, as it stands there: its commands in a shell, in order, against a hub and an S3 server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import airflow
import pytest

from airflow_provider_oxen.localhub import LocalHub

from ..conftest import ROOT
from .conftest import untraced
from .s3 import S3, Server, bucket, server  # noqa: F401 - fixtures

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PATIENCE = 2400
"""Seconds for all commands, on a machine that others use too: each starts an Airflow of its own."""

INSTALL, HUB, STORE = "$ python3 -m venv", "$ python -m airflow_provider_oxen.localhub", "$ moto_server"
"""How the blocks begin that the test does itself: it has the environment, and both servers run before."""

START = "@@ block "


def steps(text: str) -> list[tuple[str, str]]:
    """Part a block into commands and what the page shows of their output."""
    found: list[tuple[str, str]] = []
    end = ""
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
            end = "END" if line.endswith("<<'END'") else ""
        elif end:
            found[-1] = (f"{found[-1][0]}\n{line}", "")
            end = "" if line == end else end
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def script() -> Iterator[tuple[str, str]]:
    """Return each command with what the page shows of it; a file of the page is a command too."""
    for language, text in BLOCKS:
        if language == "python":
            [name] = re.findall(r"\A# (dags/\w+\.py)\n", text)
            yield f"cat > ~/oxen-tutorial/{name} <<'END'\n{text}END", ""
        elif not text.startswith((INSTALL, HUB, STORE)):
            yield from steps(text)


def shows(output: str, shown: str) -> list[str]:
    """Return the lines of the page that the output does not show in this order; … stands for anything."""
    missing, at = [], 0
    for line in shown.splitlines():
        parts = [re.escape(part.strip()) for part in line.split("…")]
        found = re.compile("[^\n]*".join(parts)).search(output, at)
        if found is None:
            missing.append(line)
        else:
            at = found.end()
    return missing


@pytest.fixture
def shell(tmp_path: Path, hub: LocalHub, s3_server: Server, airflow_db: None) -> dict[str, str]:
    """A user's environment: a home of its own, and nothing of this Airflow but its empty database."""
    home = tmp_path / "oxen-tutorial"
    home.mkdir()
    # Made by the same migration; it takes the longest of all.
    shutil.copy(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", home / "airflow.db")
    kept = {name: value for name, value in untraced().items() if not name.startswith(("AIRFLOW", "OXEN"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@pytest.mark.timeout(PATIENCE + 60)
def test_the_tutorial_works_as_it_stands(shell, hub, s3_server, tmp_path):
    commands, pages = zip(*script(), strict=True)
    text = "".join(f"echo '{START}{number}'\n{command}\n" for number, command in enumerate(commands))
    text = text.replace("http://127.0.0.1:8750", hub.url).replace("http://127.0.0.1:5555", s3_server.url)
    if airflow.__version__ < "3":
        text = text.replace("from airflow.sdk import", "from airflow.decorators import")

    done = subprocess.run(
        ["bash"],
        input=text,
        env=shell,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )

    print(done.stdout)  # for the report of a test that fails
    outputs = re.split(f"^{START}[0-9]+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(outputs) == len(commands)
    wrong = [
        f"{command}\n  does not show: {line}"
        for command, shown, output in zip(commands, pages, outputs, strict=True)
        for line in shows(output, shown)
    ]
    assert wrong == []
    # The first image, the same in S3, three of a batch, and the one that was repaired.
    assert len(hub.ledger()) == 6


def test_what_is_left_out_is_installing_and_starting_the_servers():
    left = [
        text for language, text in BLOCKS if language == "console" and text.startswith((INSTALL, HUB, STORE))
    ]

    assert len(left) == 3
    assert {language for language, _ in BLOCKS} == {"console", "python"}


def test_the_page_starts_the_hub_that_answers():
    [block] = [text for _, text in BLOCKS if text.startswith(HUB)]
    [(command, shown)] = steps(block)
    arguments = command.replace("8750", "0").split()[1:]

    with subprocess.Popen(
        [sys.executable, *arguments, "--stop-after", "60"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()

    assert re.sub(r":\d+ ", ":8750 ", line) == shown
