"""What must be true of a row when its run has ended: billed = prompts, kept = billed, and said clearly."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.chaos import checks, leaks
from tests.chaos.states import Run
from tests.cluster.rows import KILLS
from tests.cluster.scene import Scene

_OWN = {"manifest.jsonl", "summary.json", "index.html"}

_LINK = re.compile(r"http://127\.0\.0\.1:[^\"\\ ]+/files/[^\"\\ ]+")


class Verdict(NamedTuple):
    """What became of a row.

    :ivar kept: billed images that are there, whole and described.
    :ivar problems: sentences; none where all is as it must be.
    """

    scene: Scene
    run: Run
    billed: int
    kept: int
    problems: list[str]


def judge(scene: Scene, run: Run, home: Path) -> Verdict:
    """Hold the run, the hub's ledger, the place and the log against each other.

    :param home: a folder above all homes of Airflow.
    """
    files = scene.place.files()
    digests = _kept(scene, run, files)
    ledger = scene.hub.ledger()
    lost = [entry["prompt"] for entry in ledger if entry["sha256"] not in digests]
    problems = [
        *_course(scene, run),
        *_money(scene),
        *(_lost(lost) if scene.row.ending == "kept" else _said(scene, home)),
        *_files(scene, files),
    ]
    return Verdict(scene, run, len(ledger), len(ledger) - len(lost), problems)


def _course(scene: Scene, run: Run) -> Iterator[str]:
    wanted = "failed" if scene.row.ending == "stopped" else "success"
    if run.state != wanted:
        yield f"the run is {run.state}, not {wanted}"
    wanted_strikes = {"none": 0, "ten kills": KILLS}.get(scene.row.strike, 1)
    if scene.trouble or len(scene.strikes) < wanted_strikes:
        yield f"it was struck {len(scene.strikes)} times, not {wanted_strikes}: {scene.trouble or 'no why'}"
    elif scene.row.loses_a_try and run.tries < 2:
        yield f"nothing was lost: it took {run.tries} try"


def _said(scene: Scene, home: Path) -> Iterator[str]:
    if scene.row.act != "disks":
        yield from checks.said(scene.dag_id, home)
        return
    # Of what was paid for on another disk, only the number is known.
    yield from checks.said(
        scene.dag_id, home, "is not there. .* generations were submitted|paid for until then is not here"
    )


def _money(scene: Scene) -> Iterator[str]:
    billed = Counter(entry["prompt"] for entry in scene.hub.ledger())
    if twice := sorted(prompt for prompt, count in billed.items() if count > 1):
        yield f"paid more than once: {'; '.join(twice)}"
    missing = sorted(set(scene.prompts) - set(billed))
    if missing and scene.row.ending == "kept":
        yield f"never billed: {'; '.join(missing)}"
    live = [job for job in scene.jobs() if job["status"] not in ("failed", "cancelled")]
    if more := [prompt for prompt, count in Counter(map(_prompt, live)).items() if count > 1]:
        yield f"more than one job was made: {'; '.join(more)}"


def _prompt(job: Mapping[str, Mapping[str, str]]) -> str:
    return job["request"]["prompt"]


def _lost(prompts: list[str]) -> Iterator[str]:
    if prompts:
        yield f"billed and not kept: {'; '.join(prompts)}"


def _kept(scene: Scene, run: Run, files: Mapping[str, list[bytes]]) -> set[str]:
    """Return the digests of the images that are kept: a sidecar beside the image describes it."""
    if scene.place.url is None:
        return {hashlib.sha256(_fetch(link)).hexdigest() for link in _LINK.findall(run.result)}
    images = {
        (name, hashlib.sha256(content).hexdigest())
        for name, contents in files.items()
        for content in contents
    }
    described = set()
    for name in files:
        if name.endswith(".json") and not name.startswith(".") and name not in _OWN:
            for content in files[name]:
                sidecar = json.loads(content)
                described.add((sidecar.get("file"), sidecar.get("sha256")))
    return {digest for name, digest in images & described}


def _fetch(link: str) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(link, timeout=30) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def _files(scene: Scene, files: Mapping[str, list[bytes]]) -> Iterator[str]:
    """Nothing but images, sidecars and what tells of a batch may lie there for all to see, and no secret."""
    shown = {name for name in files if not name.startswith(".")}
    stems = {name.rpartition(".")[0] for name in shown if name.endswith(".json")}
    alone = {name for name in shown - _OWN if name.rpartition(".")[0] not in stems}
    if alone and scene.row.ending == "kept":
        yield f"without a sidecar: {', '.join(sorted(alone))}"
    for name, contents in sorted(files.items()):
        if any(scene.key.encode() in content for content in contents):
            yield f"{name} holds the hub's key"
        if name in shown and any(leaks.SIGNED.search(content) for content in contents):
            yield f"{name} holds a signed link"
