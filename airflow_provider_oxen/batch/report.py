"""The files of a batch beside its images: a line for each prompt, their sums, and a page for people."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from airflow_provider_oxen.api.redact import redact_unless_echoed, redacted_line, without_queries
from airflow_provider_oxen.api.values import usd
from airflow_provider_oxen.batch.rowstore import Row
from airflow_provider_oxen.batch.sheet import STATUSES, Sheet
from airflow_provider_oxen.images.storage import Folder

__all__ = ["FAILURES", "FORMAT", "INDEX", "MANIFEST", "SUMMARY", "Counts", "line", "summed", "write"]

MANIFEST, SUMMARY, INDEX = "manifest.jsonl", "summary.json", "index.html"
"""Names of the files about the whole batch."""

FORMAT = "airflow-provider-oxen/batch-summary/1"

FAILURES = 20
"""Failures that are listed in the result; the manifest has all of them."""

_ERROR = 300
"""Characters of an error in XCom, which is stored in Airflow's database."""

_PROMPT = 200
"""Characters of a prompt beside it."""

_IMAGE = {"path": "path", "media_type": "media_type", "width": "width", "height": "height", "bytes": "size",
          "sha256": "sha256"}  # fmt: skip
"""A fact's name in the result of an operator, and in the manifest."""

_KEYS = ("line", "id", "status", "prompt", "model", *_IMAGE.values(), "seed", "generation_id", "cost",
         "error", "not_sent", "images")  # fmt: skip
"""The fields of a line of the manifest, in this order."""

_SEPARATORS = str.maketrans({mark: f"\\u{mark:04x}" for mark in (0x85, 0x2028, 0x2029)})
"""Characters that JSON allows in a text, and that Python and others take for a line end."""


def line(
    row: Row, status: str, *, result: Mapping[str, Any] | None = None, error: str | None = None
) -> dict[str, Any]:
    """Return a row's line of the manifest, without unknown facts.

    :param status: one of :data:`.sheet.STATUSES`.
    :param result: as an operator returns it for one prompt, with stored images.
    """
    result = result or {}
    images = [
        _known({name: image.get(theirs) for theirs, name in _IMAGE.items()})
        for image in result.get("images", ())
    ]
    asked, hubs = row.request, result.get("model")
    return _known(
        {
            "line": row.line,
            "id": row.stem,
            "status": status,
            "prompt": asked.prompt,
            "model": asked.model if hubs is None else redact_unless_echoed(hubs, asked.model),
            **(images[0] if images else {}),
            **{name: result.get(name) for name in ("seed", "generation_id", "cost")},
            "error": error,
            "images": images if len(images) > 1 else None,
        }
    )


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


class Counts:
    """Adds up lines of the manifest; its size does not depend on their number.

    :ivar cost: USD that the hub has charged for rows that did not exist before, whatever their outcome.
    :ivar cost_unknown: rows that were billed, or may have been, and for which the hub does not say how much.
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
        """Add a line. ``not_sent`` in it says that the batch had stopped before the row was sent.

        ``unclear`` says that a row without an image was billed, or may have been.
        """
        status = line["status"]
        self.prompts += 1
        self.statuses[status] += 1
        if "model" in line:
            self._models.add(line["model"])
        self.bytes += sum(image.get("size") or 0 for image in line.get("images", (line,)))
        if status != "reused":
            if (cost := usd(line.get("cost"))) is not None:
                # The rounding errors of a million floats would be visible.
                self.cost += Decimal(str(cost))
            else:
                self.cost_unknown += status == "generated" or bool(line.get("unclear"))
        if status in ("failed", "unknown"):
            not_sent = bool(line.get("not_sent"))
            self.not_sent += not_sent
            kept = self._unsent if not_sent else self._failures
            if len(kept) < FAILURES:
                kept.append(_failure(line))

    def as_json(self) -> dict[str, Any]:
        """Return the sums as plain JSON, of the same shape for any number of lines.

        If there are too many failures to list, failed rows come before rows that were never sent.
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
    names = ("line", "id", "status", "seed", "generation_id", "cost")
    shown = {name: line[name] for name in names if name in line}
    prompt = line.get("prompt") or ""
    shown["prompt"] = prompt if len(prompt) <= _PROMPT else f"{prompt[: _PROMPT - 1]}…"
    return shown | {"error": redacted_line(line.get("error"), _ERROR) or ""}


def write(
    folder: Folder,
    mark: str,
    lines: Iterable[tuple[Mapping[str, Any], str | None]],
    *,
    facts: Mapping[str, Any],
    finished: bool,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write ``manifest.jsonl``, ``index.html`` and, last, ``summary.json``; return the value for XCom.

    The lines are read once, and none is kept in memory. Nothing is written to the folder before the last line
    was read. The user's own text stays exactly as it is; a URL in an error loses its query, which may be a
    signature.

    :param mark: as for :meth:`.Folder.put`.
    :param lines: in the order of the input, each with the preview of its first image, or None.
    :param facts: facts of the task, for the summary.
    :param finished: whether nothing is under way any more.
    :param check: raises if this try must not write any more; called before each file.
    :raises OSError: or what else the store raises, if it does not accept the files.
    """
    counts, now = Counts(), datetime.now(UTC)
    with ExitStack() as files:
        # Without a name, they disappear if the process dies.
        manifest, tiles, page = (
            files.enter_context(tempfile.TemporaryFile(prefix="oxen-")) for _ in range(3)
        )
        sheet = Sheet(tiles)
        for line, preview in lines:
            if "error" in line:
                line = {**line, "error": without_queries(line["error"])}
            counts.add(line)
            manifest.write(_dumped({name: line[name] for name in _KEYS if name in line}) + b"\n")
            sheet.add(line, preview)
        sums = counts.as_json()
        sheet.end(page, sums, facts, finished=finished, written_at=now)
        for name, file in ((MANIFEST, manifest), (INDEX, page)):
            check()
            folder.put(name, file, mark)
    head = {"format": FORMAT, "finished": finished, "written_at": now.isoformat(timespec="seconds")}
    check()
    folder.put(SUMMARY, io.BytesIO(_dumped({**head, **facts, **sums}, indent=2) + b"\n"), mark)
    return {**_places(folder), **sums}


def summed(folder: Folder, lines: Iterable[tuple[Mapping[str, Any], str | None]]) -> dict[str, Any]:
    """Return the value for XCom, as :func:`write` does, and write nothing."""
    counts = Counts()
    for line, _ in lines:
        counts.add(line)
    return {**_places(folder), **counts.as_json()}


def _places(folder: Folder) -> dict[str, str]:
    return {"manifest": folder.uri(MANIFEST), "summary": folder.uri(SUMMARY), "index": folder.uri(INDEX)}


def _dumped(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=indent).translate(_SEPARATORS)
    # Half of a surrogate pair can only be written as JSON's own escape.
    return text.encode(errors="backslashreplace")
