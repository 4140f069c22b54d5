"""The map of docs/design.md holds: imports run down, in no circle; what decides opens and sends nothing."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_oxen

ROOT = Path(airflow_provider_oxen.__file__).parent
NAME = ROOT.name
DOCS = ROOT.parent / "docs"

FLOORS: list[set[str]] = [
    {"metrics", "links", "provider_info", "connections", "configuration"},
    {"__init__"},
    {"api"},
    {"images"},
    {"catalogue"},
    {"jobs"},
    {"waiting"},
    {"hooks"},
    {"triggers"},
    {"tasks"},
    {"batch"},
    {"sensors", "plugins", "operators"},
    {"decorators", "retry_policy"},
    {"localhub"},
    {"pytest_plugin"},
]
"""From the ground up. Rooms of one floor do not know each other."""

PURE = {"jobs", "catalogue"}

OPENING = {
    "asyncio",
    "fsspec",
    "http",
    "httpcore",
    "httpx",
    "multiprocessing",
    "pathlib",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "urllib.request",
    "airflow_provider_oxen.api.client",
    "airflow_provider_oxen.api.transports",
    "airflow_provider_oxen.api.sending",
    "airflow_provider_oxen.api.streams",
    "airflow_provider_oxen.images.fetch",
    "airflow_provider_oxen.images.following",
    "airflow_provider_oxen.images.storage",
}
"""Modules, ours and others, with which a process reaches out."""


def read() -> dict[str, set[str]]:
    """Return what every module of the package imports, as modules: for types and within functions, too."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = (NAME, *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        imports: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path.name}: imports within the package are absolute"
                imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[name] = imports
    return {name: {_module(target, found) for target in targets} - {name} for name, targets in found.items()}


def _module(target: str, ours: dict[str, set[str]]) -> str:
    """Return the module that an imported name is, or is of."""
    if target in ours or not target.startswith(f"{NAME}."):
        return target
    return target.rpartition(".")[0]


def room(module: str) -> str:
    """Return the folder, or the lone module, in which a module of ours lives."""
    return module.split(".")[1] if "." in module else "__init__"


IMPORTS = read()
OURS = {name: {target for target in targets if target in IMPORTS} for name, targets in IMPORTS.items()}
FLOOR = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}


def upward(imports: dict[str, set[str]]) -> list[str]:
    """Return the imports that run up, or to another room of the same floor."""
    return sorted(
        f"{name} -> {target}"
        for name, targets in imports.items()
        for target in targets
        # The package's own __init__ is run before any of its modules.
        if room(target) not in (room(name), "__init__") and FLOOR[room(name)] <= FLOOR[room(target)]
    )


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle of imports, if there is one."""
    graph = {name: targets - {name.rpartition(".")[0], NAME} for name, targets in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def reaching(imports: set[str]) -> set[str]:
    """Return the imports with which a module could open or send something."""
    return {target for target in imports for way in OPENING if f"{target}.".startswith(f"{way}.")}


def test_every_room_is_on_the_map():
    assert {room(name) for name in IMPORTS} == set(FLOOR)


def test_no_import_runs_up():
    assert upward(OURS) == []


def test_no_imports_run_in_a_circle():
    assert circle(OURS) == []


def test_files_that_the_page_walks_through_are_there():
    named = re.findall(r"`(\w+/\w+\.py)`", (DOCS / "design.md").read_text())

    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_picture_has_every_floor():
    picture = (DOCS / "images" / "house.svg").read_text()

    assert not [name for name in FLOOR if name not in picture and name not in ("__init__", "localhub")]


def test_local_hub_is_nobodys_but_the_pytest_plugins():
    users = {name for name, targets in OURS.items() if any(room(target) == "localhub" for target in targets)}
    assert {room(name) for name in users} <= {"localhub", "pytest_plugin"}


@pytest.mark.parametrize("name", sorted(name for name in IMPORTS if room(name) in PURE))
def test_what_decides_opens_and_sends_nothing(name):
    assert not reaching(IMPORTS[name])


def test_what_would_break_the_map_is_seen():
    jobs, tasks = f"{NAME}.jobs.resolve", f"{NAME}.tasks.effects"

    assert upward({jobs: {tasks}, tasks: {jobs}}) == [f"{jobs} -> {tasks}"]
    assert upward({f"{NAME}.sensors.models": {f"{NAME}.plugins.app"}})
    assert circle({jobs: {tasks}, tasks: {jobs}})
    assert reaching({"httpx.Client", "asyncio", "json"}) == {"httpx.Client", "asyncio"}
