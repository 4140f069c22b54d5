"""Kills from within, where nothing outside marks the instant.

The chaos Dag arms one of them in the task's own process before the operator runs: a function of the
package is wrapped, and at its step the process kills itself with SIGKILL. Once for each row: a file in
the row's folder says that it has happened. The package itself knows nothing of this.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

STRUCK = "struck"
"""Name of the file that says that a row's strike has happened, and where."""

PROCESS = "process"
"""Name of the file in which the task's process tells its id and its supervisor's."""


def arm(trap: str | None, place: str, context: Any) -> None:
    """Tell the harness which process this is, and set the trap; Airflow's ``pre_execute`` calls it."""
    here = Path(place)
    (here / f"{PROCESS}.new").write_text(f"{os.getpid()} {os.getppid()}")
    os.replace(here / f"{PROCESS}.new", here / PROCESS)
    if trap and not (here / STRUCK).exists():
        TRAPS[trap](lambda: _die(here, trap))


def _die(here: Path, trap: str) -> None:
    with (here / STRUCK).open("x") as file:
        file.write(trap)
        file.flush()
        os.fsync(file.fileno())
    os.kill(os.getpid(), signal.SIGKILL)


def _before_post(die: Callable[[], None]) -> None:
    from airflow_provider_oxen.api.client import Client

    send = Client.send

    def dying(self: Client, call: Any, *arguments: Any, **more: Any) -> Any:
        if call.method == "POST":
            die()
        return send(self, call, *arguments, **more)

    Client.send = dying  # type: ignore[method-assign]


def _after_answer(die: Callable[[], None]) -> None:
    from airflow_provider_oxen.api.client import Client

    send = Client.send

    def dying(self: Client, call: Any, *arguments: Any, **more: Any) -> Any:
        answer = send(self, call, *arguments, **more)
        if call.method == "POST":
            die()
        return answer

    Client.send = dying  # type: ignore[method-assign]


def _inside_image(die: Callable[[], None]) -> None:
    from airflow_provider_oxen.images.storage import LocalFolder

    put = LocalFolder.put

    def dying(self: LocalFolder, name: str, source: BinaryIO, mark: str) -> None:
        put(self, name, source if name.endswith(".json") else _Half(source, die), mark)

    LocalFolder.put = dying  # type: ignore[method-assign]


def _before_sidecar(die: Callable[[], None]) -> None:
    from airflow_provider_oxen.images.storage import LocalFolder

    put = LocalFolder.put
    stems = set()

    def dying(self: LocalFolder, name: str, source: BinaryIO, mark: str) -> None:
        stem, _, suffix = name.rpartition(".")
        if suffix == "json" and stem in stems:
            die()
        put(self, name, source, mark)
        stems.add(stem)

    LocalFolder.put = dying  # type: ignore[method-assign]


def _after_sidecar(die: Callable[[], None]) -> None:
    from airflow_provider_oxen.images.storage import LocalFolder

    put = LocalFolder.put
    stems = set()

    def dying(self: LocalFolder, name: str, source: BinaryIO, mark: str) -> None:
        put(self, name, source, mark)
        stem, _, suffix = name.rpartition(".")
        if suffix == "json" and stem in stems:
            die()
        stems.add(stem)

    LocalFolder.put = dying  # type: ignore[method-assign]


class _Half(io.RawIOBase):
    """A source of bytes that kills its reader halfway."""

    def __init__(self, source: BinaryIO, die: Callable[[], None]) -> None:
        self.source = source
        self.die = die
        self.half = source.seek(0, os.SEEK_END) // 2

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.source.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if self.source.tell() >= self.half:
            self.die()
        return self.source.read(self.half)


TRAPS = {
    "before_post": _before_post,
    "after_answer": _after_answer,
    "inside_image": _inside_image,
    "before_sidecar": _before_sidecar,
    "after_sidecar": _after_sidecar,
}
