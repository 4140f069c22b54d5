"""Kills from within, where nothing outside marks the instant.

The chaos Dag arms one of them in the task's own process before the operator runs: a function of the
package is wrapped, and at its step the process kills itself with SIGKILL. Once for each row: a file in
the row's folder says that it has happened. The package itself knows nothing of this.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_oxen.images.media import SUFFIXES
from tests.chaos import tries

Die = Callable[[], None]
"""Kills the process; of a batch, when its step is reached for the time that is meant."""

STRUCK = "struck"
"""Name of the file that says that a row's strike has happened, and where."""

PROCESS = "process"
"""Name of the file in which the task's process tells its id and its supervisor's."""


def arm(trap: str | None, place: str, context: Any, nth: int = 1) -> None:
    """Tell the harness which process this is, and set the trap; Airflow's ``pre_execute`` calls it.

    :param nth: which time the trap's step is reached is the one that kills.
    """
    here = Path(place)
    (here / f"{PROCESS}.new").write_text(f"{os.getpid()} {os.getppid()}")
    os.replace(here / f"{PROCESS}.new", here / PROCESS)
    tries.note(here)
    if trap and not (here / STRUCK).exists():
        times = itertools.count(1)
        TRAPS[trap](lambda: _die(here, trap) if next(times) == nth else None)


def _die(here: Path, trap: str) -> None:
    with (here / STRUCK).open("x") as file:
        file.write(trap)
        file.flush()
        os.fsync(file.fileno())
    os.kill(os.getpid(), signal.SIGKILL)


def _before_post(die: Die) -> None:
    _around_post(before=die)


def _after_answer(die: Die) -> None:
    _around_post(after=die)


def _around_post(before: Die = lambda: None, after: Die = lambda: None) -> None:
    """Do something before and after each paid request: of a single image, and of a batch's rows."""
    from airflow_provider_oxen.api.client import AsyncClient, Client

    send, asend = Client.send, AsyncClient.send

    def dying(self: Client, call: Any, *arguments: Any, **more: Any) -> Any:
        if call.method == "POST":
            before()
        answer = send(self, call, *arguments, **more)
        if call.method == "POST":
            after()
        return answer

    async def adying(self: AsyncClient, call: Any, *arguments: Any, **more: Any) -> Any:
        if call.method == "POST":
            before()
        answer = await asend(self, call, *arguments, **more)
        if call.method == "POST":
            after()
        return answer

    Client.send = dying  # type: ignore[method-assign]
    AsyncClient.send = adying  # type: ignore[method-assign]


def _inside_image(die: Die) -> None:
    _around_put(lambda name, source: _Half(source, die) if _is_image(name) else source)


def _before_sidecar(die: Die) -> None:
    _around_put(lambda name, source: _first(die, source) if _is_sidecar(name) else source)


def _after_sidecar(die: Die) -> None:
    _around_put(after=lambda name: die() if _is_sidecar(name) else None)


def _before_waiting(die: Die) -> None:
    _around_put(lambda name, source: _first(die, source) if _is_waiting(name) else source)


def _after_waiting(die: Die) -> None:
    _around_put(after=lambda name: die() if _is_waiting(name) else None)


def _inside_manifest(die: Die) -> None:
    """Strike the manifest that tells the end; others are written before."""
    ending = _ending()
    _around_put(lambda name, source: _Half(source, die) if name == "manifest.jsonl" and ending() else source)


def _after_summary(die: Die) -> None:
    """Strike after the summary that tells the end, the last file that is written."""
    ending = _ending()
    _around_put(after=lambda name: die() if name == "summary.json" and ending() else None)


def _is_image(name: str) -> bool:
    return Path(name).suffix in SUFFIXES


def _is_sidecar(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".") and name != "summary.json"


def _is_waiting(name: str) -> bool:
    return name.startswith(".batch-")


def _first(die: Die, source: BinaryIO) -> BinaryIO:
    die()
    return source


def _ending() -> Callable[[], bool]:
    """Return what tells whether the end of a batch is being written."""
    from airflow_provider_oxen.batch.results import Results

    write = Results.write
    ending: list[bool] = []

    def telling(self: Results, *, finished: bool, **more: Any) -> Any:
        ending[:] = [finished]
        return write(self, finished=finished, **more)

    Results.write = telling  # type: ignore[method-assign]
    return lambda: ending == [True]


def _around_put(
    before: Callable[[str, BinaryIO], Any] = lambda name, source: source,
    after: Callable[[str], None] = lambda name: None,
) -> None:
    """Do something before and after each file that is written.

    :param before: may put another source in the place of a file's.
    """
    from airflow_provider_oxen.images.storage import LocalFolder

    put, create = LocalFolder.put, LocalFolder.create

    def dying(self: LocalFolder, name: str, source: BinaryIO, writer_id: str, **more: Any) -> None:
        put(self, name, before(name, source), writer_id, **more)
        after(name)

    def dying_new(self: LocalFolder, name: str, source: BinaryIO | bytes, writer_id: str) -> bool:
        if isinstance(source, bytes):  # a record: its trap is another
            return create(self, name, source, writer_id)
        made = create(self, name, before(name, source), writer_id)
        after(name)
        return made

    LocalFolder.put = dying  # type: ignore[method-assign]
    LocalFolder.create = dying_new  # type: ignore[method-assign, assignment]


class _Half(io.RawIOBase):
    """A source of bytes that may kill its reader halfway."""

    def __init__(self, source: BinaryIO, die: Die) -> None:
        self.source = source
        self.die = die
        self.half = source.seek(0, os.SEEK_END) // 2
        self.halfway = False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.source.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if self.source.tell() >= self.half and not self.halfway:
            self.halfway = True
            self.die()
        return self.source.read(self.half)


TRAPS = {
    "before_post": _before_post,
    "after_answer": _after_answer,
    "inside_image": _inside_image,
    "before_sidecar": _before_sidecar,
    "after_sidecar": _after_sidecar,
    "before_waiting": _before_waiting,
    "after_waiting": _after_waiting,
    "inside_manifest": _inside_manifest,
    "after_summary": _after_summary,
}
