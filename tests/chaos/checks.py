"""What must be true of a row when its run has ended: paid for once, kept once, and said clearly."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tests.chaos.rows import KILLS, Ending
from tests.chaos.scene import Scene
from tests.chaos.states import Run

RECORD = ".job.json"
"""How the record's file ends, where Airflow has no task state store."""

_PAID, _GO_ON = "may have been[^.]*paid for", "on_unknown_outcome"
"""What the log of a task that stopped must say: that an image may have been paid for, and how to go on."""


class Verdict(NamedTuple):
    """What became of a row.

    :ivar problems: sentences; none where all is as it must be.
    :ivar unknown: prompts of a batch that may have been paid for, as its manifest tells.
    :ivar ending: in place of the row's.
    """

    scene: Scene
    run: Run
    billed: int
    images: int
    problems: list[str]
    unknown: int = 0
    ending: Ending | None = None


def judge(scene: Scene, run: Run, home: Path) -> Verdict:
    """Hold the run, the hub's ledger, the folder and the log against each other."""
    files = scene.files()
    images = [name for name in files if not name.startswith(".") and not name.endswith(".json")]
    problems = [
        *course(scene, run),
        *_money(scene),
        *(_kept(scene, run, images) if scene.row.ending == "kept" else _stopped(scene, images, home)),
        *_leftovers(scene, files, images),
    ]
    return Verdict(scene, run, len(scene.hub.ledger()), len(images), problems)


def course(scene: Scene, run: Run, ending: Ending | None = None) -> Iterator[str]:
    """Whether the run was struck, and ended as it must.

    :param ending: in place of the row's.
    """
    wanted = "failed" if (ending or scene.row.ending) == "stopped" else "success"
    if run.state != wanted:
        yield f"the run is {run.state}, not {wanted}"
    if not scene.struck():
        yield f"it was not struck{f': {scene.trouble}' if scene.trouble else ''}"
    elif scene.row.victim in KILLS and run.tries < scene.row.tries:
        yield f"nothing was lost: it took {run.tries} try"


def _money(scene: Scene) -> Iterator[str]:
    billed = len(scene.hub.ledger())
    if billed != scene.row.billed:
        yield f"{billed} images are billed, not {scene.row.billed}"
    if scene.row.mode != "sync":
        live = [job for job in scene.jobs() if job["status"] not in ("failed", "cancelled")]
        if len(live) > 1:
            yield f"{len(live)} jobs were made"


def _kept(scene: Scene, run: Run, images: list[str]) -> Iterator[str]:
    if len(images) != 1:
        yield f"{len(images)} images are kept: {', '.join(images) or 'none'}"
        return
    path = scene.output / images[0]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest not in [entry["sha256"] for entry in scene.hub.ledger()]:
        yield "the kept image is not the one that was billed"
    if digest not in run.result:
        yield "the task's result does not name the kept image"
    try:
        with Image.open(path) as image:
            image.load()
    except OSError as error:
        yield f"the kept file is not a whole image: {error}"
    try:
        sidecar = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError) as error:
        yield f"the sidecar cannot be read: {error}"
        return
    if (sidecar.get("file"), sidecar.get("sha256")) != (path.name, digest):
        yield "the sidecar describes another image"


def _stopped(scene: Scene, images: list[str], home: Path) -> Iterator[str]:
    if images:
        yield f"half-kept: {', '.join(images)}"
    yield from said(scene.dag_id, home)


def said(dag_id: str, home: Path, paid: str = _PAID) -> Iterator[str]:
    """Whether the log of a task that stopped says why, and what now.

    :param paid: how it says that images were paid for, or may have been.
    """
    text = task_log(home, dag_id)
    for pattern in (paid, _GO_ON):
        if not re.search(pattern, text):
            yield f"the log does not say {pattern!r}"


def _leftovers(scene: Scene, files: set[str], images: list[str]) -> Iterator[str]:
    """Nothing may lie there but the image and its sidecar; of a job that was stopped, its record."""
    wanted = {*images, *(f"{Path(name).stem}.json" for name in images)}
    if scene.row.ending == "stopped":
        records = {name for name in files if name.endswith(RECORD)}
        wanted |= records | half_written(files, records)
    if left := files - wanted:
        yield f"left over: {', '.join(sorted(left))}"


def half_written(files: set[str], names: set[str]) -> set[str]:
    """Return the parts of files that a kill has left in the middle of being written.

    The next who writes such a file takes its part away, so they may lie beside a record that is still open.
    """
    starts = tuple(f".{name}." for name in names)
    return {name for name in files if name.endswith(".part") and name.startswith(starts)}


def task_log(home: Path, dag_id: str) -> str:
    """Return the logs of all tries of a Dag's task, the triggerer's share included, of every home below."""
    paths = sorted(home.glob(f"**/logs/dag_id={dag_id}/**/*.log*"))
    return "\n".join(
        f"--- {path.name}\n{path.read_text(errors='replace')}" for path in paths if path.is_file()
    )
