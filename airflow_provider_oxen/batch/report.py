"""What a batch leaves behind beside its images: a line for each prompt, their sum, and a page for people."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.batch.sheet import PREVIEWS, STATUSES, Sheet
from airflow_provider_oxen.images.sidecar import public
from airflow_provider_oxen.images.storage import Folder

__all__ = ["FAILURES", "FORMAT", "INDEX", "MANIFEST", "SUMMARY", "Counts", "line", "write"]

MANIFEST, SUMMARY, INDEX = "manifest.jsonl", "summary.json", "index.html"
"""The files that tell of the whole batch."""

FORMAT = "airflow-provider-oxen/batch-summary/1"

FAILURES = 20
"""Failures that are told one by one: what a person reads; the manifest has all."""

_ERROR = 300
"""Characters of an error in XCom: it is kept in Airflow's database."""

_IMAGE = {"path": "path", "media_type": "media_type", "width": "width", "height": "height", "bytes": "size",
          "sha256": "sha256"}  # fmt: skip
"""A fact's name in the result of an operator, and in the manifest."""

_KEYS = ("line", "id", "status", "prompt", "model", *_IMAGE.values(), "seed", "generation_id", "cost",
         "error", "images")  # fmt: skip
"""What a line of the manifest tells, in this order."""

_TEXTS = ("prompt", "model", "error")
"""What may hold a URL. A path stays as it is: the connection in it is what it is opened by."""

_SEPARATORS = str.maketrans({mark: f"\\u{mark:04x}" for mark in (0x85, 0x2028, 0x2029)})
"""What JSON allows in a text, and what Python and others take for the end of a line."""


def line(
    number: int,
    id: str,
    status: str,
    prompt: str,
    model: str | None,
    *,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """Return a row's line of the manifest, without what is not known.

    :param number: the row's line in the input, from 1.
    :param id: the user's, or the stem of the row's files.
    :param status: ``generated``, ``reused``, ``failed`` or ``unknown``.
    :param model: that was asked for; the result's own goes before it.
    :param result: as an operator returns it for one prompt, images stored.
    """
    result = result or {}
    images = [
        {name: image.get(theirs) for theirs, name in _IMAGE.items()} for image in result.get("images", ())
    ]
    told = {
        "line": number,
        "id": id,
        "status": status,
        "prompt": prompt,
        "model": result.get("model") or model,
        **(images[0] if images else {}),
        **{name: result.get(name) for name in ("seed", "generation_id", "cost")},
        "error": error,
        "images": [_known(image) for image in images] if len(images) > 1 else None,
    }
    return _known(told)


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


class Counts:
    """Adds up lines of the manifest; what it holds does not grow with their number.

    :ivar cost: USD, of the generated rows whose cost is known.
    """

    def __init__(self) -> None:
        self.prompts = 0
        self.statuses = dict.fromkeys(STATUSES, 0)
        self.not_sent = 0
        self.cost = Decimal(0)
        self.cost_unknown = 0
        self.bytes = 0
        self._models: set[str] = set()
        self._failures: list[dict[str, Any]] = []
        self._unsent: list[dict[str, Any]] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line. A true ``not_sent`` in it says that the batch had stopped before the row was sent."""
        status = line["status"]
        self.prompts += 1
        self.statuses[status] += 1
        if "model" in line:
            self._models.add(line["model"])
        self.bytes += sum(image.get("size") or 0 for image in line.get("images", (line,)))
        if status == "generated":
            self._add_cost(line.get("cost"))
        if status in ("failed", "unknown"):
            not_sent = bool(line.get("not_sent"))
            self.not_sent += not_sent
            kept = self._unsent if not_sent else self._failures
            if len(kept) < FAILURES:
                kept.append(_failure(line))

    def _add_cost(self, cost: Any) -> None:
        if isinstance(cost, int | float) and math.isfinite(cost):
            # What a million of them lose as floats would be seen.
            self.cost += Decimal(cost)
        else:
            self.cost_unknown += 1

    def as_json(self) -> dict[str, Any]:
        """Return the sums as plain JSON, of the same shape for any number of lines.

        What failed comes before what was never sent, where there are too many failures to tell.
        """
        failures = [*self._failures, *self._unsent][:FAILURES]
        return {
            "prompts": self.prompts,
            **self.statuses,
            "not_sent": self.not_sent,
            "cost": float(round(self.cost, 9)),
            "cost_unknown": self.cost_unknown,
            "bytes": self.bytes,
            "models": sorted(self._models),
            "failures": sorted(failures, key=lambda failure: int(failure["line"])),
        }


def _failure(line: Mapping[str, Any]) -> dict[str, Any]:
    error = " ".join(without_queries(line.get("error", "")).split())
    short = error if len(error) <= _ERROR else f"{error[: _ERROR - 1]}…"
    return {**{name: line[name] for name in ("line", "id", "status")}, "error": short}


def write(
    folder: Folder,
    mark: str,
    lines: Iterable[tuple[Mapping[str, Any], str | None]],
    *,
    facts: Mapping[str, Any],
    finished: bool,
    previews: int = PREVIEWS,
) -> dict[str, Any]:
    """Write ``manifest.jsonl``, ``index.html`` and, last, ``summary.json``; return what goes to XCom.

    The lines are read once and none is kept in memory. Nothing is written to the folder before the last
    of them was read. No query of any URL gets out: it may be a signature.

    :param mark: as for :meth:`.Folder.put`.
    :param lines: in the order of the input, each with the preview of its first image, or None.
    :param facts: of the task, for the summary.
    :param finished: whether nothing is under way any more.
    :param previews: how many may stand in the page.
    :raises OSError: or what else the store raises, where it does not take them.
    """
    counts, facts, now = Counts(), public(facts), datetime.now(UTC)
    with ExitStack() as files:
        manifest, tiles, page = (files.enter_context(_temporary()) for _ in range(3))
        sheet = Sheet(tiles, previews)
        for told, preview in lines:
            told = _without_queries(told)
            counts.add(told)
            manifest.write(_dumped({name: told[name] for name in _KEYS if name in told}) + b"\n")
            sheet.add(told, preview)
        sums = counts.as_json()
        sheet.end(page, sums, facts, finished=finished, written_at=now)
        folder.put(MANIFEST, manifest, mark)
        folder.put(INDEX, page, mark)
    summary = {
        "format": FORMAT,
        "finished": finished,
        "written_at": now.isoformat(timespec="seconds"),
        **facts,
        **sums,
    }
    folder.put(SUMMARY, io.BytesIO(_dumped(summary, indent=2) + b"\n"), mark)
    names = {"manifest": MANIFEST, "summary": SUMMARY, "index": INDEX}
    return {**{what: folder.uri(name) for what, name in names.items()}, **sums}


def _without_queries(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: without_queries(value) if name in _TEXTS else value for name, value in told.items()}


def _dumped(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=indent).translate(_SEPARATORS)
    # A half of a surrogate pair cannot be written but as JSON's own escape.
    return text.encode(errors="backslashreplace")


def _temporary() -> BinaryIO:
    """Return a file that has no name, so that no death leaves it behind."""
    return tempfile.TemporaryFile(prefix="oxen-")
