"""A hub, a connection, and tasks to be played; nothing that they log or raise gives a secret away."""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.localhub import HubSettings, LocalHub
from airflow_provider_oxen.tasks import recording

from .batch_scene import Batch
from .scene import KEY, SIGNED, Break, Logged, Scene


@pytest.fixture
def home() -> str:
    """Where the record lives: ``store``, ``file`` or ``none``. Tests name others by parametrisation."""
    return "file"


@pytest.fixture
def mode() -> str:
    """How the image comes: ``polled``, ``deferred`` or ``synchronous``."""
    return "polled"


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: whether a file outlives a power cut, the folders' own tests look at."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Small, so that drawing costs the tests next to nothing.
    with LocalHub(HubSettings(key=KEY, default_size=(16, 16))) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the connection ``oxen_default``, as a deployment would: through the environment."""

    def connect(host: str, **extra: Any) -> None:
        fields = {"conn_type": "oxen", "host": host, "password": KEY, "extra": {"max_retries": 0, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", json.dumps(fields))

    return connect


@pytest.fixture(autouse=True)
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """What is logged, without the key and without a signature."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")  # Airflow sets it to WARNING.
    found = Logged(capfd, caplog)
    yield found
    assert KEY not in found
    assert SIGNED not in found


@pytest.fixture
def cast(
    hub: LocalHub, connect: Callable[..., None], home: str, mode: str, tmp_path: Path, logged: Logged
) -> Iterator[Callable[..., Scene]]:
    """Make task instances on one hub; whatever they raise gives nothing away."""
    connect(hub.url)
    made: list[Scene] = []

    def cast(map_index: int = -1, **arguments: Any) -> Scene:
        out = tmp_path / f"out{map_index}"
        made.append(Scene(hub, home, mode, out, logged, map_index=map_index, arguments=arguments))
        return made[-1]

    yield cast
    for error in [error for scene in made for error in scene.errors]:
        shown = "".join(traceback.format_exception(error)) + repr(error.__dict__)
        assert KEY not in shown
        assert SIGNED not in shown


@pytest.fixture
def broken(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Break:
    """What makes the home of the scene's record fail, whichever it is; a failed write is not repeated."""
    monkeypatch.setattr(recording, "_ATTEMPTS", 1)
    told = Break()
    if scene.store:
        words = {"get": "read", "set": "write", "delete": "remove"}
        scene.store.failing = lambda done, record: told(words[done], record)
    read, put, create, remove = (getattr(LocalFolder, name) for name in ("read", "put", "create", "remove"))

    def is_record(name: str) -> bool:
        return name.endswith(".job.json")

    def failing_read(self: Any, name: str) -> Any:
        if is_record(name):
            told("read")
        return read(self, name)

    def failing_put(self: Any, name: str, source: Any, mark: str, **more: Any) -> None:
        if is_record(name):
            told("write", json.loads(source.read()))
        put(self, name, source, mark, **more)

    def failing_create(self: Any, name: str, content: bytes, mark: str) -> Any:
        if is_record(name):
            told("write", json.loads(content))
        return create(self, name, content, mark)

    def failing_remove(self: Any, name: str) -> None:
        told("remove")
        remove(self, name)

    monkeypatch.setattr(LocalFolder, "read", failing_read)
    monkeypatch.setattr(LocalFolder, "put", failing_put)
    monkeypatch.setattr(LocalFolder, "create", failing_create)
    monkeypatch.setattr(LocalFolder, "remove", failing_remove)
    return told


@pytest.fixture
def scene(cast: Callable[..., Scene]) -> Scene:
    """A task that has not been tried yet."""
    return cast()


@pytest.fixture
def cast_batch(
    hub: LocalHub, connect: Callable[..., None], mode: str, tmp_path: Path, logged: Logged
) -> Iterator[Callable[..., Batch]]:
    """Make batches on one hub; whatever they raise gives nothing away."""
    connect(hub.url)
    made: list[Batch] = []

    def cast_batch(**arguments: Any) -> Batch:
        made.append(Batch(hub, "none", mode, tmp_path / "out", logged, arguments=arguments))
        return made[-1]

    yield cast_batch
    for error in [error for batch in made for error in batch.errors]:
        shown = "".join(traceback.format_exception(error)) + repr(error.__dict__)
        assert KEY not in shown
        assert SIGNED not in shown
