"""What a batch's folder told when a try began: nothing but the process that was lost has written it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_TRIES = "tries"
"""Name of the folder, in a row's, of what is noted here."""


class Told(NamedTuple):
    """What there was at one moment.

    :ivar time: unix seconds.
    :ivar files: names in the output's folder.
    :ivar phases: how far the job of each prompt is that has a record, by the prompt's id.
    :ivar manifest: its lines; None where there was none.
    """

    time: float
    files: set[str]
    phases: dict[str, str]
    manifest: list[dict[str, Any]] | None


def note(place: Path) -> None:
    """Note what there is; to be called by the task's process before its work begins."""
    output, tries = place / "output", place / _TRIES
    tries.mkdir(exist_ok=True)
    manifest = output / "manifest.jsonl"
    facts = {
        "time": time.time(),
        "files": sorted(path.name for path in output.iterdir()),
        "phases": {path.name.split(".")[1]: _phase(path) for path in output.glob(".*.job.json")},
        "manifest": manifest.read_text() if manifest.exists() else None,
    }
    (tries / f"{len(list(tries.iterdir()))}.json").write_text(json.dumps(facts))


def noted(place: Path) -> Iterator[Told]:
    """Yield what each try found, and each that came back from the triggerer; first first."""
    tries = place / _TRIES
    for number in range(len(list(tries.glob("*.json")))):
        facts = json.loads((tries / f"{number}.json").read_text())
        told = facts["manifest"]
        lines = None if told is None else [json.loads(line) for line in told.splitlines()]
        yield Told(facts["time"], set(facts["files"]), facts["phases"], lines)


def _phase(path: Path) -> str:
    return str(json.loads(path.read_bytes())["phase"])
