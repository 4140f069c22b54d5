"""What must be true of a batch when its run has ended, and of what its folder told on the way."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chaos import checks, leaks, tries
from tests.chaos.batch_scene import BatchScene
from tests.chaos.checks import Verdict
from tests.chaos.rows import KILLS, Ending
from tests.chaos.states import Run

_OWN = {"manifest.jsonl", "summary.json", "index.html"}

_STATUSES = ("generated", "reused", "failed", "unknown")


def judge(scene: BatchScene, run: Run, home: Path) -> Verdict:
    """Hold the run, the hub's ledger, the folder and the log against each other, prompt by prompt."""
    books = _Books(scene)
    problems = [
        *checks.course(scene, run, books.ending),
        *_money(books),
        *_manifest(books),
        *_ending(books),
        *_summary(books, run),
        *_on_the_way(books),
        *_leftovers(books),
    ]
    if books.ending == "stopped":
        problems += checks.said(scene.dag_id, home)
    return Verdict(
        scene, run, len(books.billed), len(books.kept), problems, len(books.ids("unknown")), books.ending
    )


class _Books:
    """What the hub and the folder tell in the end."""

    def __init__(self, scene: BatchScene) -> None:
        self.scene = scene
        self.row = scene.row
        self.files = scene.files()
        self.prompts = [line["id"] for line in scene.prompts]
        self.billed = scene.billed()

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The manifest's."""
        try:
            text = (self.scene.output / "manifest.jsonl").read_text()
            return [json.loads(line) for line in text.splitlines()]
        except (OSError, ValueError):
            return []

    @cached_property
    def kept(self) -> set[str]:
        """The prompts whose sidecars are there."""
        return {id for id in self.prompts if f"{id}.json" in self.files}

    @cached_property
    def digests(self) -> dict[str, set[str]]:
        """What the hub has billed, by prompt."""
        digests: dict[str, set[str]] = {id: set() for id in self.prompts}
        for entry in self.scene.hub.ledger():
            digests[self.scene.id_of(entry["prompt"])].add(entry["sha256"])
        return digests

    @cached_property
    def ending(self) -> Ending:
        """How the run must end: as the row says, but where the kill hit a request that was about to leave."""
        return "stopped" if self.row.ending == "kept" and self.unsent else self.row.ending

    @cached_property
    def unsent(self) -> set[str]:
        """The prompts whose intents a kill has left, and whose requests had not left the process.

        That is a moment of a few milliseconds. On the synchronous endpoint no list of the hub tells of it,
        not even a history that shows its calls: the batch must stop, and pay for none of them again.
        """
        found = [told.phases for told in tries.noted(self.scene.place)]
        if self.row.mode != "sync" or self.row.victim not in KILLS or not found:
            return set()
        return {id for id, phase in found[-1].items() if phase == "intent"} - set(self.billed)

    def ids(self, *statuses: str) -> set[str]:
        """Return the prompts of which the manifest tells so."""
        return {line["id"] for line in self.lines if line["status"] in statuses}

    def digest(self, line: dict[str, Any]) -> str | None:
        """Return the digest of the file that a line names; None where it is not there."""
        path = Path(line.get("path", ""))
        if path.parent != self.scene.output or not path.is_file():
            return None
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _money(books: _Books) -> Iterator[str]:
    twice = sorted(id for id, count in Counter(books.billed).items() if count > 1)
    if twice:
        yield f"paid more than once: {', '.join(twice)}"
    missing = sorted(set(books.prompts) - set(books.billed))
    if missing and books.ending != "stopped":
        yield f"never billed: {', '.join(missing)}"
    if books.row.mode != "sync":
        jobs = Counter(books.scene.id_of(job["request"]["prompt"]) for job in books.scene.jobs())
        if again := sorted(id for id, count in jobs.items() if count > 1):
            yield f"more than one job was made: {', '.join(again)}"


def _manifest(books: _Books) -> Iterator[str]:
    """Each line must be true: the file it names is the one that was billed, what failed was not billed."""
    if [line["id"] for line in books.lines] != books.prompts:
        yield f"the manifest's {len(books.lines)} lines are not those of the input, in its order"
    for line in books.lines:
        id, status = line["id"], line["status"]
        if status in ("generated", "reused"):
            digest = books.digest(line)
            if digest is None:
                yield f"{id} is {status}, and its file is not there"
            elif digest != line["sha256"] or digest not in books.digests[id]:
                yield f"{id} is {status}, and its file is not the one that was billed"
            elif not _is_described(books, line):
                yield f"{id}'s sidecar describes another image"
        elif status == "failed" and id in books.billed:
            yield f"{id} is failed, and was billed: {line.get('error')}"
        elif id in books.kept:
            yield f"{id} is {status}, and is kept"


def _is_described(books: _Books, line: dict[str, Any]) -> bool:
    try:
        sidecar = json.loads((books.scene.output / f"{line['id']}.json").read_bytes())
    except (OSError, ValueError):
        return False
    return (sidecar["file"], sidecar["sha256"]) == (Path(line["path"]).name, line["sha256"])


def _ending(books: _Books) -> Iterator[str]:
    """What was under way at a kill may be unknown on the synchronous endpoint, and nothing else may."""
    unknown, lost = books.ids("unknown"), _under_way(books)
    if books.row.ending == "kept":
        lost = books.unsent
    if lost is not None and unknown != lost:
        yield f"unknown are {_named(unknown)}, and must be {_named(lost)}"
    if books.ending != "kept" and not unknown:
        yield "nothing is unknown"
    if books.ending != "stopped" and (failed := books.ids("failed")):
        yield f"failed: {_named(failed)}"


def _under_way(books: _Books) -> set[str] | None:
    """Return the prompts whose outcome a kill, or a lost answer, has hidden; None where it is not said."""
    if books.row.victim == "network":
        return None
    if books.row.victim == "answer":
        dropped = (books.row.fault or {}).get("times", 1)
        unknown = books.ids("unknown")
        # Which ones, only the hub's dice knew.
        return unknown if len(unknown) == dropped and unknown <= set(books.billed) else set()
    found = [told.phases for told in tries.noted(books.scene.place)]
    return {id for id, phase in found[-1].items() if phase == "intent"} if found else set()


def _summary(books: _Books, run: Run) -> Iterator[str]:
    try:
        summary = json.loads((books.scene.output / "summary.json").read_bytes())
    except (OSError, ValueError) as error:
        yield f"the summary cannot be read: {error}"
        return
    told = {status: len(books.ids(status)) for status in _STATUSES}
    if {status: summary.get(status) for status in _STATUSES} != told:
        yield "the summary does not add up to the manifest"
    if summary.get("prompts") != len(books.prompts) or not summary.get("finished"):
        yield f"the summary tells of {summary.get('prompts')} prompts, finished: {summary.get('finished')}"
    if books.ending != "stopped" and not all(
        f'"{name}": {count}' in run.result.replace("\\", "") for name, count in told.items()
    ):
        yield "the task's result does not add up to the manifest"


def _on_the_way(books: _Books) -> Iterator[str]:
    """Whatever the manifest told when a try began, it must not have been wrong about what was paid."""
    for number, told in enumerate(tries.noted(books.scene.place)):
        accepted = books.scene.accepted_by(told.time)
        if told.manifest is None:
            if accepted:
                yield f"before process {number} no manifest told of {_named(accepted)}"
            continue
        lines = {line["id"]: line for line in told.manifest}
        if missing := accepted - set(lines):
            yield f"before process {number} the manifest did not tell of {_named(missing)}"
        wrong = {id for id in accepted & set(lines) if lines[id]["status"] == "failed"}
        if wrong:
            yield f"before process {number} the manifest called failed what was paid for: {_named(wrong)}"
        for id, line in lines.items():
            if line["status"] in ("generated", "reused") and not (
                Path(line["path"]).name in told.files and line["sha256"] in books.digests[id]
            ):
                yield f"before process {number} the manifest told of {id} as {line['status']}; it was not"


def _leftovers(books: _Books) -> Iterator[str]:
    """Nothing may lie there but images, their sidecars, what tells of the batch, and open records."""
    images = {Path(line["path"]).name for line in books.lines if line["status"] in ("generated", "reused")}
    wanted = _OWN | images | {f"{id}.json" for id in books.kept}
    # The folder's mark stays; what the batch remembers of its spending, until all of its images are kept.
    wanted.add(".oxen-folder.json")
    if len(images) < len(books.lines):
        wanted |= {name for name in books.files if re.fullmatch(r"\.account-[0-9a-f]{16}\.json", name)}
    open_jobs = {name for name in books.files if name.endswith(".job.json")}
    wanted |= {name for name in open_jobs if name.split(".")[1] in books.ids("unknown")}
    if left := books.files - wanted - checks.half_written(books.files, open_jobs & wanted):
        yield f"left over: {', '.join(sorted(left))}"
    if len(open_jobs & wanted) != len(books.ids("unknown")):
        yield f"{len(open_jobs)} records tell of {len(books.ids('unknown'))} prompts that are unknown"
    for name in sorted(books.files - open_jobs):
        content = (books.scene.output / name).read_bytes()
        if books.scene.key.encode() in content:
            yield f"{name} holds the hub's key"
        if leaks.SIGNED.search(content):
            yield f"{name} holds a signed link"


def _named(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "none"
