"""Advice holds in every run, one without a logical date too."""

from __future__ import annotations

import ast
import re

from airflow_provider_oxen.images import names

from ..conftest import ROOT

EVERYWHERE = {"conn", "dag", "run_id", "task"}
"""Template variables that every run has."""


def texts(tree: ast.Module) -> list[str]:
    """Return the texts of a module that may come into a message: not its docstrings."""
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    ]


def test_no_message_names_a_variable_that_a_run_may_not_have():
    package, named = ROOT / "airflow_provider_oxen", set()
    for path in package.rglob("*.py"):
        if "plugins" not in path.parts and "localhub" not in path.parts:
            for text in texts(ast.parse(path.read_text())):
                named |= set(re.findall(r"\{\{\s*([a-z_]+)", text))

    assert "run_id" in named
    assert named <= EVERYWHERE


def test_path_with_the_advised_variable_in_it_is_one():
    """What ``{{ run_id }}`` renders to in a run of each kind."""
    for run_id in (
        "manual__2026-11-28T20:00:00.123456+00:00",
        "asset_triggered__2026-11-28T20:00:00+00:00_x1",
    ):
        assert names.split(f"s3://bucket/{run_id}/", "hero") == (f"s3://bucket/{run_id}", "hero")
        assert names.split(f"/data/{run_id}.png", "hero") == ("/data", run_id)
