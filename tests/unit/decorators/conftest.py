"""A hub, a connection, and functions whose tasks are played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.localhub import LocalHub

from ..operators.conftest import connect, hub, logged, no_power_cut
from ..operators.scene import Logged
from .scene import FunctionScene

__all__ = ["connect", "hub", "logged", "no_power_cut"]


@pytest.fixture
def task_of(
    hub: LocalHub, connect: Callable[..., None], tmp_path: Path, logged: Logged
) -> Callable[..., FunctionScene]:
    """Make a task of a function; by default its record lives in a file, and it polls."""
    connect(hub.url)

    def task_of(
        function: Callable[..., Any],
        home: str = "file",
        mode: str = "polled",
        map_index: int = -1,
        **arguments: Any,
    ) -> FunctionScene:
        out = tmp_path / f"out{map_index}"
        scene = FunctionScene(hub, home, mode, out, logged, map_index=map_index, arguments=arguments)
        scene.function = function
        return scene

    return task_of
