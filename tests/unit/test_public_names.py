"""What users may import is the same in the code, Airflow's metadata, the registry and the docs."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re

import pytest
import yaml
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger

from airflow_provider_oxen.provider_info import get_provider_info

from ..conftest import ROOT

INFO = get_provider_info()
REGISTRY = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
PACKAGE = "airflow_provider_oxen"
PARTS = {"operators": BaseOperator, "sensors": BaseOperator, "hooks": BaseHook, "triggers": BaseTrigger}

NOT_FOR_DAGS = {
    f"{PACKAGE}.operators.base.GeneratingOperator",
    f"{PACKAGE}.sensors.deferring.DeferringSensor",
}
"""What the package builds its own upon."""


def exported(module: str) -> list[str]:
    """Return a module's ``__all__`` without importing it: not all of them can be on every Airflow line."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    [names] = [
        ast.literal_eval(line.value)
        for line in ast.parse(source.read_text()).body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__all__"
    ]
    return [f"{module}.{name}" for name in names]


def of_metadata(part: str) -> set[str]:
    return {name for group in INFO[part] for module in group["python-modules"] for name in exported(module)}


def of_code(part: str) -> set[str]:
    """Return the classes of Airflow's kind that stand in a part of the package."""
    folder = importlib.import_module(f"{PACKAGE}.{part}")
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}.")
        # Those of the package's own may need a newer Airflow.
        if not found.name.rpartition(".")[2].startswith("_")
    ]
    return {
        f"{module.__name__}.{name}"
        for module in modules
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, PARTS[part]) and item.__module__ == module.__name__
    } - NOT_FOR_DAGS


DECORATORS = {named["class-name"] for named in INFO["task-decorators"]}
FOR_DAGS = {*DECORATORS, *(name for part in PARTS for name in of_metadata(part))}
PUBLIC = {
    *FOR_DAGS,
    *INFO["extra-links"],
    *(
        name
        for module in ("retry_policy", "api.errors", "localhub", "pytest_plugin")
        for name in exported(f"{PACKAGE}.{module}")
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_airflows_metadata_name_what_there_is(part):
    assert of_metadata(part) == of_code(part)


def test_the_registry_names_all_that_dags_use():
    listed = [item["module"] for section in ("operators", "other") for item in REGISTRY[section]]

    assert sorted(listed) == sorted(FOR_DAGS)
    assert {item["module"] for item in REGISTRY["operators"]} == of_metadata("operators")


def test_the_registry_describes_each_in_a_line():
    for item in [*REGISTRY["operators"], *REGISTRY["other"]]:
        assert 10 < len(item["description"]) < 110
        assert not item["description"].endswith(".")


def test_the_registry_calls_the_provider_as_airflow_does():
    assert REGISTRY["package-name"] == INFO["package-name"]
    assert REGISTRY["display-name"] == INFO["name"]


def test_the_reference_has_every_public_name():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = {name for _, name in re.findall(r"^\.\. auto(class|function):: (\S+)$", pages, re.MULTILINE)}
    for module in re.findall(r"^\.\. automodule:: (\S+)$", pages, re.MULTILINE):
        named |= set(exported(module))
    # The local hub's are told where they are defined: there Sphinx finds their docstrings.
    defined = {
        f"{PACKAGE}.localhub.{home}" for home in ("faults.Fault", "settings.HubSettings", "server.LocalHub")
    }

    assert named == {name for name in PUBLIC if not name.startswith(f"{PACKAGE}.localhub.")} | defined


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_page_tells_of_every_public_name(name):
    written = name.rpartition(".")[2]
    if name in DECORATORS:
        [written] = [
            f"task.{named['name']}" for named in INFO["task-decorators"] if named["class-name"] == name
        ]
    pages = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}

    assert [page for page, text in pages.items() if re.search(rf"\b{re.escape(written)}\b", text)]
