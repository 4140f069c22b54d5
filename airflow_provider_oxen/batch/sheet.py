"""The contact sheet of a batch: one page for people, whole in itself, beside the images that it shows.

It needs no script and loads nothing: previews stand in it as text, and its style too. Every text in it comes
from somebody else, so it all goes through :func:`_text`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, BinaryIO
from urllib.parse import quote

from airflow_provider_oxen.batch.style import STYLE

__all__ = ["PREVIEWS", "STATUSES", "Sheet"]

PREVIEWS = 1000
"""Previews that a page holds: some 4 MB, which a browser still opens at once. Further tiles are links."""

STATUSES = ("generated", "reused", "failed", "unknown")
"""What may become of a row."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_TOGETHER = 60
"""Tiles of a list, which a browser lays out when it comes into sight: with 10,000 in one list, it scrolls in
jerks. Fills whole rows of two to five."""

_LIST = '<ol class="grid" role="list">'

_SHOWN, _TITLE, _ERROR = 120, 1000, 600
"""Characters of a prompt that a tile shows, that it tells when pointed at, and of an error."""

_PREVIEW = re.compile(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/]{1,16400}={0,2}")
"""What :func:`.preview.preview` returns; what a sidecar holds in its place may have been changed."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What no page may hold: control characters and halves of characters."""


class Sheet:
    """Takes rows one after the other; holds none of them in memory.

    What stands at the top of the page is known only at the end, so the tiles wait in a file of their own.

    :param tiles: an empty file to write to and read from, for as long as the sheet is in use.
    :param previews: how many may stand in the page.
    """

    def __init__(self, tiles: BinaryIO, previews: int = PREVIEWS) -> None:
        self._tiles = tiles
        self._previews = previews
        self._embedded = 0
        self._rows = 0
        self._images = 0

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
            self._tiles.write(f"</ol>\n{_LIST}\n".encode())
        self._rows += 1
        self._tiles.write(_tile(line, shown).encode())

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
        head = [*_head(facts, written_at), *_counts(counts, facts, finished), *_failures(counts)]
        page.write(("\n".join([*head, *self._about()]) + "\n").encode())
        self._tiles.seek(0)
        shutil.copyfileobj(self._tiles, page, 1024 * 1024)
        page.write(("\n".join(_foot(facts)) + "\n").encode())

    def _about(self) -> Iterator[str]:
        yield '<section aria-labelledby="prompts">'
        yield '<h2 id="prompts">Prompts</h2>'
        told = "In the order of the input. A preview opens the image, which lies beside this page."
        if self._embedded < self._images:
            bare = self._images - self._embedded
            told += (
                f" {bare:,} of {self._images:,} images are linked without a preview: to stay small, a page "
                f"holds {self._previews:,} at most."
            )
        yield f'<p class="muted">{told}</p>\n{_LIST}'


def _head(facts: Mapping[str, Any], written_at: datetime) -> Iterator[str]:
    task = _text(facts.get("task_id", "Image batch"))
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    # The page's own address may be signed.
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{task} – contact sheet</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f'<header>\n<p class="kicker">Contact sheet</p>\n<h1 dir="auto">{task}</h1>'
    names = {"dag_id": "Dag", "run_id": "Run", "map_index": "Map index", "try_number": "Try"}
    told = [
        f"{label} <bdi>{_text(facts[name])}</bdi>"
        for name, label in names.items()
        if facts.get(name) is not None and (name, facts[name]) != ("map_index", -1)
    ]
    moment = f'<time datetime="{written_at:%Y-%m-%dT%H:%M:%SZ}">{written_at:%Y-%m-%d %H:%M} UTC</time>'
    yield f'<p class="muted">{" · ".join([*told, f"Written {moment}"])}</p>'


def _counts(counts: Mapping[str, Any], facts: Mapping[str, Any], finished: bool) -> Iterator[str]:
    if facts.get("stopped"):
        yield f'<p class="note">Nothing more was sent: <bdi>{_text(facts["stopped"], _ERROR)}</bdi>.</p>'
    if not finished:
        yield '<p class="note">The batch was still at work when this was written.</p>'
    parts = [f'<i class="{name}" style="flex:{counts[name]}"></i>' for name in STATUSES if counts[name]]
    yield f'<div class="bar" aria-hidden="true">{"".join(parts)}</div>\n<dl>'
    yield _count("Prompts", f"{counts['prompts']:,}")
    notes = {
        "failed": f"{counts['not_sent']:,} of them not sent" if counts["not_sent"] else "",
        "unknown": "perhaps paid for" if counts["unknown"] else "",
        "cost": f"{counts['cost_unknown']:,} of unknown cost" if counts["cost_unknown"] else "",
    }
    for name in STATUSES:
        kind = f' class="{name}"' if counts[name] else ""
        yield _count(name.capitalize(), f"{counts[name]:,}", notes.get(name, ""), kind)
    yield _count("Cost", _money(counts["cost"]), notes["cost"])
    yield _count("Image files", _size(counts["bytes"]))
    yield "</dl>\n</header>\n<main>"


def _count(label: str, value: str, more: str = "", kind: str = "") -> str:
    below = f"<small>{more}</small>" if more else ""
    return f"<div{kind}><dt>{label}</dt><dd>{value}{below}</dd></div>"


def _failures(counts: Mapping[str, Any]) -> Iterator[str]:
    failures, missing = counts["failures"], counts["failed"] + counts["unknown"]
    if not failures:
        return
    yield '<section aria-labelledby="missing">\n<h2 id="missing">Without an image</h2>\n<ul class="missing">'
    for item in failures:
        number = _text(item["line"])
        yield (
            f'<li class="{_kind(item["status"])}"><a href="#line-{number}">Line {number}</a> '
            f"<bdi>{_text(item['id'])}</bdi> {_badge(item['status'])} "
            f"<bdi>{_text(item.get('error', ''), _ERROR)}</bdi></li>"
        )
    yield "</ul>"
    if missing > len(failures):
        yield f'<p class="muted">And {missing - len(failures):,} more: they stand out among the prompts.</p>'
    yield "</section>"


def _foot(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "</ol>\n</section>\n</main>\n<footer>"
    yield (
        '<p class="muted">The same for programs: <a href="manifest.jsonl">manifest.jsonl</a>, a line a '
        f'prompt, and <a href="summary.json">summary.json</a>. {_text(facts.get("made_by", ""))}</p>'
    )
    yield "</footer>\n</body>\n</html>"


def _tile(line: Mapping[str, Any], preview: str | None) -> str:
    status, prompt = str(line["status"]), str(line.get("prompt", ""))
    short = _text(prompt, _SHOWN)
    title = f' title="{_text(prompt, _TITLE)}"' if len(prompt) > _SHOWN else ""
    error = f'<p class="error" dir="auto">{_text(line["error"], _ERROR)}</p>' if line.get("error") else ""
    return (
        f'<li id="line-{_text(line["line"])}" class="{_kind(status)}">'
        f'{_picture(line, preview)}<div class="told"><h3><bdi>{_text(line["id"])}</bdi></h3>{_badge(status)}'
        f'<p dir="auto"{title}>{short}</p>{error}'
        f'<p class="muted">{_facts(line)}</p>{_others(line)}</div></li>\n'
    )


def _picture(line: Mapping[str, Any], preview: str | None) -> str:
    if "path" not in line:
        why = {"failed": "Failed", "unknown": "Outcome unknown"}.get(line["status"], "No image")
        return f'<span class="picture">{why}</span>'
    opening = f'<a class="picture" href="{_link(line["path"])}"'
    if preview:
        shown = _text(line.get("prompt") or line["id"], _SHOWN)
        return f'{opening}><img src="{preview}" alt="{shown}" decoding="async"></a>'
    return f'{opening} aria-label="Not previewed: image of {_text(line["id"])}">Not previewed</a>'


def _kind(status: object) -> str:
    """Return the class of a tile: that of a doubt, where its status is none that is known."""
    return next((name for name in STATUSES if name == status), "unknown")


def _badge(status: object) -> str:
    return f'<span class="badge">{_text(status)}</span>'


def _facts(line: Mapping[str, Any]) -> str:
    told = [f"{_text(line['width'])} × {_text(line['height'])}"] if "width" in line else []
    told += [_size(line["size"])] if "size" in line else []
    told += [_money(line["cost"])] if "cost" in line else []
    model = f"<bdi>{_text(line['model'])}</bdi>" if "model" in line else ""
    seed = f"seed {_text(line['seed'])}" if "seed" in line else ""
    return "<br>".join(filter(None, [model, " · ".join(told), seed]))


def _others(line: Mapping[str, Any]) -> str:
    links = [
        f'<a href="{_link(image["path"])}">{number}</a>'
        for number, image in enumerate(line.get("images", [])[1:], start=2)
    ]
    return f'<p class="muted">More of this prompt: {" ".join(links)}</p>' if links else ""


def _link(path: object) -> str:
    """Return what leads to a file beside the page: quoted, so that it is neither a scheme nor markup."""
    return quote(str(path).rpartition("/")[2], errors="replace")


def _money(cost: object) -> str:
    """Return USD, with all the digits that tell of a price, and two at least."""
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
    """Return a text on one line, shortened, as it may stand in an element and in an attribute."""
    # Only what can be seen of a text that may be megabytes long is looked at.
    words = _UNFIT.sub("\ufffd", " ".join(str(value)[: 4 * limit + 100].split()))
    return escape(words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…")
