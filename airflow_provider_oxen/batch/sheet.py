"""The contact sheet of a batch: one page for people, beside the images that it shows.

It opens by itself, from a disk and from a bucket: previews, style and script are in it, and its policy lets
no other script run. The script filters, and shows the files beside the page, which are sharp, in place of the
previews. Without it, or away from the images, the page is complete. Every text in it is somebody else's: the
templates escape all, and :func:`.pages.text` makes them short and harmless.
"""

from __future__ import annotations

import re
import shutil
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from airflow_provider_oxen.images import pages
from airflow_provider_oxen.images.media import SUFFIXES

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["LARGE_PREVIEWS", "PREVIEWS", "STATUSES", "Sheet"]

PREVIEWS, LARGE_PREVIEWS = 1000, 200
"""Most previews in a page, and how many of them are the larger ones: about 5 MB, which a browser still opens
at once. Further tiles have none."""

STATUSES = ("generated", "reused", "failed", "unknown")
"""The possible outcomes of a row."""

_LEADS = {"seed": "seed", "generation_id": "generation"}
"""Facts for finding a job again, and their labels."""

_TOGETHER = 60
"""Tiles in one list, which the browser lays out when it becomes visible; with 10,000 in one list, scrolling
would stutter. The number fills whole rows of two to six."""

_MOST_BYTES, _MOST_PIXELS = 5_000_000, 9_000_000
"""Largest file that the page shows in place of its preview. A large screen shows about 30 at a time, and a
browser takes 4 bytes of memory for a pixel."""

_PREVIEW = re.compile(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/]{1,16400}={0,2}")
"""The form of what :func:`.preview.preview` returns; others may have changed the value in a sidecar."""

_TILES = "\0"
"""Stands in the page in place of its tiles; no text in it can contain it."""


class Sheet:
    """Takes rows one after the other, and keeps none of them in memory.

    The top of the page is known only at the end, so the tiles wait in a separate file.

    :param tiles: an empty file to write to and read from, as long as the sheet is in use.
    :param previews: how many previews the page may hold.
    """

    def __init__(self, tiles: BinaryIO, previews: int = PREVIEWS) -> None:
        self._tiles = tiles
        self._previews = previews
        # A macro: rendering a template for each of a million tiles would take half as long again.
        self._templates: Any = _templates().get_template("tile.html").module
        self._embedded = self._rows = self._images = 0

    def add(self, line: Mapping[str, Any], preview: str | None) -> None:
        """Add a row.

        :param line: its line of the manifest.
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
        tile = self._templates.tile(line, shown, why, _facts(line), _is_light(line))
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
        :param facts: facts of the task.
        :param finished: whether nothing is under way any more.
        """
        html = _templates().get_template("sheet.html").render(
            task=pages.text(facts.get("task_id", "Image batch")),
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
            **_own(),
        )  # fmt: skip
        head, foot = html.split(_TILES)
        page.write(head.encode())
        self._tiles.seek(0)
        shutil.copyfileobj(self._tiles, page, 1024 * 1024)
        page.write(foot.encode())


@cache
def _templates() -> Environment:
    templates = pages.environment(Path(__file__).with_name("templates"))
    templates.filters |= {"kind": _kind, "name": _name, "link": _link, "leads": _leads}
    return templates


@cache
def _own() -> dict[str, str]:
    """Return style and script as the page holds them, and the hashes by which its policy knows them."""
    here = Path(__file__).with_name("templates")
    style = (pages.SHARED / "shared.css").read_text() + (here / "sheet.css").read_text()
    script = (pages.SHARED / "filter.js").read_text() + (here / "sheet.js").read_text()
    return {
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


def _facts(line: Mapping[str, Any]) -> list[str]:
    """Return the facts of a row's tile, line by line."""
    facts = [f"{pages.text(line['width'])} × {pages.text(line['height'])}"] if "width" in line else []
    facts += [pages.size(line["size"])] if "size" in line else []
    facts += [pages.money(line["cost"])] if "cost" in line else []
    leads = [f"{word} {pages.text(value)}" for word, value in _leads(line)]
    return [*filter(None, [" · ".join(facts)]), *(leads[:1] if "path" in line else leads)]


def _leads(line: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts for finding a job again."""
    return [(word, line[name]) for name, word in _LEADS.items() if name in line]


def _kind(status: object) -> str:
    """Return the CSS class of a tile; an unknown status gets the class of a doubt."""
    return next((name for name in STATUSES if name == status), "unknown")


def _name(path: object) -> str:
    """Return the name of a file of this folder; a path may come from anywhere."""
    return str(path).rpartition("/")[2]


def _link(path: object) -> str:
    """Return the link to a file beside the page, quoted so that it is neither a scheme nor markup."""
    return quote(_name(path), errors="replace")


def _is_light(line: Mapping[str, Any]) -> bool:
    """Return whether the page may show a row's file, by what is known of it."""
    size, width, height = (line.get(fact) for fact in ("size", "width", "height"))
    if not (isinstance(size, int) and isinstance(width, int) and isinstance(height, int)):
        return False
    suffix = PurePosixPath(_name(line.get("path"))).suffix
    return suffix in SUFFIXES and size <= _MOST_BYTES and width * height <= _MOST_PIXELS
