"""A local path under an executor that runs tasks elsewhere is worth a warning."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.tasks.running import remote_executor, warn_of_local_disk

from .batch_scene import Batch
from .scene import Scene

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"


@pytest.mark.parametrize(
    ("configured", "wanted", "remote"),
    [
        ("LocalExecutor", None, None),
        ("SequentialExecutor", None, None),
        ("DebugExecutor", None, None),
        ("", None, None),
        ("CeleryExecutor", None, "CeleryExecutor"),
        (CELERY, None, "CeleryExecutor"),
        ("KubernetesExecutor", None, "KubernetesExecutor"),
        ("CeleryKubernetesExecutor", None, "CeleryKubernetesExecutor"),
        ("LocalKubernetesExecutor", None, "LocalKubernetesExecutor"),
        ("LocalExecutor,CeleryExecutor", None, None),
        ("LocalExecutor, CeleryExecutor", "CeleryExecutor", "CeleryExecutor"),
        ("CeleryExecutor,LocalExecutor", None, "CeleryExecutor"),
        ("CeleryExecutor,LocalExecutor", "LocalExecutor", None),
        (f"LocalExecutor,far:{CELERY}", "far", "CeleryExecutor"),
        (f"LocalExecutor,far:{CELERY}", CELERY, "CeleryExecutor"),
        ("near:my.own.LocalExecutor", "near", None),
        ("near:my.own.LocalExecutor", None, None),
        ("my.own.EdgeExecutor", None, "EdgeExecutor"),
        ("LocalExecutor", "SomeExecutor", "SomeExecutor"),
        ("LocalExecutor;team1=CeleryExecutor", None, "CeleryExecutor"),
        ("=LocalExecutor;team1=LocalExecutor,CeleryExecutor", None, None),
    ],
)
def test_executor_that_runs_tasks_elsewhere_is_found(configured, wanted, remote):
    assert remote_executor(configured, wanted) == remote


WARNED = "is the local folder"


@pytest.fixture(params=["CeleryExecutor", "LocalExecutor"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", request.param)
    return str(request.param)


@pytest.mark.parametrize("mode", ["deferred"])
def test_batch_in_a_local_folder_warns(cast_batch: Callable[..., Batch], executor):
    batch = cast_batch()

    assert batch.play().state == "success"
    assert (WARNED in batch.logged) is (executor == "CeleryExecutor")


@pytest.mark.parametrize("mode", ["deferred"])
def test_image_in_a_local_folder_warns(scene: Scene, executor):
    assert scene.play().state == "success"
    assert (WARNED in scene.logged) is (executor == "CeleryExecutor")


@pytest.mark.parametrize("home", ["none"])
def test_image_that_is_not_stored_warns_of_nothing(scene: Scene, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")

    assert scene.play().state == "success"
    assert WARNED not in scene.logged


def test_object_storage_warns_of_nothing(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    told: list[Any] = []
    operator = SimpleNamespace(log=SimpleNamespace(warning=lambda *given: told.append(given)))

    warn_of_local_disk(operator, object())  # type: ignore[arg-type]

    assert told == []
