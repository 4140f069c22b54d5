"""The contact sheet of a batch: one page for people, whole in itself, beside the images that it shows.

It needs no script and loads nothing: previews stand in it as text, and its style too. Every text in it comes
from somebody else: the templates escape all of them, and :func:`_text` makes them short and harmless.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

__all__ = ["PREVIEWS", "STATUSES", "Sheet"]

PREVIEWS = 1000
"""Previews that a page holds: some 4 MB, which a browser still opens at once. Further tiles are links."""

STATUSES = ("generated", "reused", "failed", "unknown")
"""What may become of a row."""

_LEADS = {"seed": "seed", "generation_id": "generation"}
"""Facts by which a job is found again, and what they are called."""

_TOGETHER = 60
"""Tiles of a list, which a browser lays out when it comes into sight: with 10,000 in one list, it scrolls in
jerks. Fills whole rows of two to five."""

_PREVIEW = re.compile(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/]{1,16400}={0,2}")
"""What :func:`.preview.preview` returns; what a sidecar holds in its place may have been changed."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What no page may hold: control characters and halves of characters."""

_TILES = "\0"
"""Stands in the page where its tiles go: no text in it can hold one."""


class Sheet:
    """Takes rows one after the other; holds none of them in memory.

    What stands at the top of the page is known only at the end, so the tiles wait in a file of their own.

    :param tiles: an empty file to write to and read from, for as long as the sheet is in use.
    :param previews: how many may stand in the page.
    """

    def __init__(self, tiles: BinaryIO, previews: int = PREVIEWS) -> None:
        self._tiles = tiles
        self._previews = previews
        # A macro: to render a template for each of a million tiles takes half as long again.
        self._templates: Any = _templates().get_template("tile.html").module
        self._embedded = self._rows = self._images = 0

    def add(self, line: Mapping[str, Any], preview: str | None) -> None:
        """Add a row.

        :param line: of the manifest.
        :param preview: a data URI of its first image.
        """
        fits = "path" in line and self._embedded < self._previews
        shown = preview if fits and isinstance(preview, str) and _PREVIEW.fullmatch(preview) else None
        self._embedded += shown is not None
        self._images += "path" in line
        if self._rows and self._rows % _TOGETHER == 0:
            self._tiles.write(b'</ol>\n<ol class="grid" role="list">\n')
        self._rows += 1
        why = {"failed": "Failed", "unknown": "Outcome unknown"}.get(line["status"], "No image")
        tile = self._templates.tile(line, shown, why, _facts(line))
        self._tiles.write(tile.encode())

    def end(
        self,
        page: BinaryIO,
        counts: Mapping[str, Any],
        facts: Mapping[str, Any],
        *,
        finished: bool,
        written_at: datetime,
    ) -> None:
        """Write the page.

        :param counts: as :meth:`.report.Counts.as_json` returns them.
        :param facts: of the task.
        :param finished: whether nothing is under way any more.
        """
        html = _templates().get_template("sheet.html").render(
            task=_text(facts.get("task_id", "Image batch")),
            counts=counts,
            missing=counts["failed"] + counts["unknown"],
            facts={"made_by": "", **facts},
            finished=finished,
            written_at=written_at,
            statuses=STATUSES,
            images=self._images,
            bare=self._images - self._embedded,
            previews=self._previews,
            tiles=_TILES,
        )  # fmt: skip
        head, foot = html.split(_TILES)
        page.write(head.encode())
        self._tiles.seek(0)
        shutil.copyfileobj(self._tiles, page, 1024 * 1024)
        page.write(foot.encode())


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"text": _text, "kind": _kind, "link": _link, "money": _money, "size": _size}
    templates.filters |= {"count": "{:,}".format, "leads": _leads}
    return templates


def _facts(line: Mapping[str, Any]) -> list[str]:
    """Return the facts of a row's tile, line by line."""
    facts = [f"{_text(line['width'])} × {_text(line['height'])}"] if "width" in line else []
    facts += [_size(line["size"])] if "size" in line else []
    facts += [_money(line["cost"])] if "cost" in line else []
    leads = [f"{word} {_text(value)}" for word, value in _leads(line)]
    return [*filter(None, [" · ".join(facts)]), *(leads[:1] if "path" in line else leads)]


def _leads(line: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what a job is found by again."""
    return [(word, line[name]) for name, word in _LEADS.items() if name in line]


def _kind(status: object) -> str:
    """Return the class of a tile: that of a doubt, where its status is none that is known."""
    return next((name for name in STATUSES if name == status), "unknown")


def _link(path: object) -> str:
    """Return what leads to a file beside the page: quoted, so that it is neither a scheme nor markup."""
    return quote(str(path).rpartition("/")[2], errors="replace")


def _money(cost: object) -> str:
    """Return USD, with all the digits that a price has, and two at least."""
    if not isinstance(cost, int | float):
        return _text(cost)
    whole, _, digits = f"{cost:,.6f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"


def _size(size: object) -> str:
    if not isinstance(size, int):
        return _text(size)
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"


def _text(value: object, limit: int = 200) -> str:
    """Return a text on one line, shortened and without what no page may hold; the templates escape it."""
    # Only what can be seen of a text that may be megabytes long is looked at.
    words = _UNFIT.sub("\ufffd", " ".join(str(value)[: 4 * limit + 100].split()))
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"
