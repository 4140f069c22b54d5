"""The contact sheet shows every row, loads nothing but its own images, and takes no text for markup."""

from __future__ import annotations

import io
import re
import tracemalloc
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from airflow_provider_oxen.batch import report, sheet
from airflow_provider_oxen.images.preview import LARGE, SMALL, preview

from .lines import line_of

MOMENT = datetime(2025, 11, 23, 9, 8, tzinfo=UTC)
FACTS = {"dag_id": "shop", "run_id": "r1", "task_id": "heroes", "map_index": -1, "try_number": 2}
PREVIEW = "data:image/jpeg;base64,/9j/4AAQ"
VOID = {"meta", "img", "br", "input"}

MARKUP = [
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</li></ol></body></html><h1>over</h1>",
    "</style></title><script>",
    "<!-- ",
    "]]>",
    "&lt;b&gt; &amp; &quot;",
    "javascript:alert(1)",
    "\" onmouseover='alert(1)' x=\"",
    "\u202egnp.exe\u202c \u2066\u2067",
    "a\x00b\x08c\x1b[31m",
    "half \ud800 of a pair \udfff",
    "\ufffe\uffff",
    "line\none\r\ttwo\u2028three",
    "<" * 10_000,
]
"""Texts that break out of a page which does not look after them."""


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def all(self, name: str = "", **attributes: str) -> list[Element]:
        """Return what is below of a name and with these attributes; ``kind`` is the class."""
        found = [inner for child in self.children for inner in child.all(name, **attributes)]
        wanted = {"class" if key == "kind" else key: value for key, value in attributes.items()}
        fits = name in ("", self.name) and wanted.items() <= self.attributes.items()
        return [self, *found] if fits else found

    @property
    def text(self) -> str:
        return " ".join([*self.words, *(child.text for child in self.children)]).strip()


class Page(HTMLParser):
    """A page as a tree; refuses one whose elements are not closed in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.source = content.decode()
        self.top = Element("", {})
        self._open = [self.top]
        self.feed(self.source)
        self.close()
        assert self._open == [self.top]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def all(self, name: str = "", **attributes: str) -> list[Element]:
        return self.top.all(name, **attributes)

    def one(self, name: str = "", **attributes: str) -> Element:
        [found] = self.all(name, **attributes)
        return found

    def tile(self, line: int) -> Element:
        return self.one("li", id=f"line-{line}")


def generated(number: int = 1, status: str = "generated", **changes: Any) -> dict[str, Any]:
    facts = {
        "line": number,
        "id": f"row-{number}",
        "status": status,
        "prompt": "A red cube",
        "model": "z-image-turbo",
        "path": f"s3://aws_default@bucket/out/row-{number}.png",
        "media_type": "image/png",
        "width": 64,
        "height": 48,
        "size": 12_345,
        "seed": 42,
        "cost": 0.003,
    }
    return {name: value for name, value in {**facts, **changes}.items() if value is not ...}


def failed(
    number: int = 1, status: str = "failed", error: str = "It was refused.", **more: Any
) -> dict[str, Any]:
    return line_of(number, f"row-{number}", status, "A cube", "z-image-turbo", error=error) | more


def page(
    *rows: Mapping[str, Any] | tuple[Mapping[str, Any], Any],
    facts: Mapping[str, Any] = FACTS,
    finished: bool = True,
    previews: int = sheet.PREVIEWS,
) -> Page:
    tiles, written = io.BytesIO(), io.BytesIO()
    made, counts = sheet.Sheet(tiles, previews), report.Counts()
    for row in rows:
        line, small = row if isinstance(row, tuple) else (row, None)
        made.add(line, small)
        counts.add(line)
    made.end(written, counts.as_json(), facts, finished=finished, written_at=MOMENT)
    return Page(written.getvalue())


def figures(found: Page) -> dict[str, str]:
    """Return what stands at the top, by its label."""
    return {pair.one_text("dt"): pair.one_text("dd") for pair in map(_Pair, found.one("dl").children)}


class _Pair:
    def __init__(self, element: Element) -> None:
        self.element = element

    def one_text(self, name: str) -> str:
        [found] = self.element.all(name)
        return found.text


# What it shows.


def test_a_tile_shows_all_that_is_known_of_its_row():
    tile = page((generated(), PREVIEW)).tile(1)

    assert tile.attributes["class"] == "generated"
    assert tile.all("h3")[0].text == "row-1"
    assert tile.all("img")[0].attributes["src"] == PREVIEW
    for told in ("A red cube", "z-image-turbo", "64 × 48", "12 kB", "$0.003", "seed 42", "generated"):
        assert told in tile.text


def test_a_tile_leaves_out_what_is_not_known():
    unknown: dict[str, Any] = {name: ... for name in ("model", "width", "size", "cost", "seed")}
    tile = page((generated(**unknown), PREVIEW)).tile(1)

    assert tile.text.split() == ["row-1", "generated", "A", "red", "cube"]


@pytest.mark.parametrize("status", ["failed", "unknown"])
def test_a_row_without_an_image_says_why_and_stands_out(status):
    tile = page(failed(status=status)).tile(1)

    assert tile.attributes["class"] == status
    assert (
        tile.all("span", kind="picture")[0].text == {"failed": "Failed", "unknown": "Outcome unknown"}[status]
    )
    assert tile.all(kind="error")[0].text == "It was refused."
    assert not tile.all("a")
    assert not tile.all("img")


def test_a_row_whose_image_is_nowhere_says_so():
    assert page(generated(path=...)).tile(1).all("span", kind="picture")[0].text == "No image"


def test_a_status_that_is_not_known_stands_out_as_a_doubt():
    tiles, written = io.BytesIO(), io.BytesIO()
    made = sheet.Sheet(tiles)
    made.add(generated(status='lost"'), None)
    made.end(written, report.Counts().as_json(), {}, finished=True, written_at=MOMENT)

    tile = Page(written.getvalue()).tile(1)
    assert tile.attributes["class"] == "unknown"
    assert 'lost"' in tile.text


def test_rows_stand_in_their_order():
    rows = [generated(3), failed(1), generated(7), failed(5, "unknown")]

    assert [tile.attributes["id"] for tile in page(*rows).all("li") if "id" in tile.attributes] == [
        "line-3",
        "line-1",
        "line-7",
        "line-5",
    ]


def test_the_figures_stand_at_the_top():
    rows = [generated(1), generated(2, cost=...), generated(3, "reused"), failed(4), failed(5, not_sent=True)]
    found = page(*rows, failed(6, "unknown"))

    assert figures(found) == {
        "Prompts": "6",
        "Generated": "2",
        "Reused": "1",
        "Failed": "2 1 of them not sent",
        "Unknown": "1 perhaps paid for",
        "Cost": "$0.003 1 of unknown cost",
        "Image files": "37 kB",
    }
    parts = [(part.attributes["class"], part.attributes["width"]) for part in found.all("rect")]
    assert parts == [
        ("generated", "333.33"),
        ("reused", "166.67"),
        ("failed", "333.33"),
        ("unknown", "166.67"),
    ]
    assert found.source.index("<dl ") < found.source.index('id="line-1"')


def test_figures_without_more_to_say_say_no_more():
    assert figures(page(generated())) == {
        "Prompts": "1",
        "Generated": "1",
        "Reused": "0",
        "Failed": "0",
        "Unknown": "0",
        "Cost": "$0.003",
        "Image files": "12 kB",
    }


def test_the_task_is_named_at_the_top():
    found = page(generated(), facts={**FACTS, "made_by": "airflow-provider-oxen 1"})

    assert found.one("h1").text == "heroes"
    assert found.one("title").text == "heroes – contact sheet"
    told = found.one("header").text
    assert re.findall("shop|r1|Try|2025-11-23 09:08 UTC", told) == [
        "Try",
        "shop",
        "r1",
        "2025-11-23 09:08 UTC",
    ]
    assert "Map index" not in told
    assert "airflow-provider-oxen 1" in found.one("footer").text
    assert "Map index" in page(facts={**FACTS, "map_index": 0}).one("header").text


def test_without_facts_there_is_a_page_all_the_same():
    assert page(generated(), facts={}).one("h1").text == "Image batch"


def test_what_stopped_the_batch_and_that_it_goes_on_is_said():
    stopped = page(generated(), facts={**FACTS, "stopped": "the credits have run out"})

    assert "Nothing more was sent: <bdi>the credits have run out</bdi>." in stopped.source
    assert stopped.all(kind="note")
    assert "still at work" in page(generated(), finished=False).one(kind="note").text
    assert not page(generated()).all(kind="note")


def test_the_first_failures_are_reached_from_the_top():
    rows = [failed(n, "failed" if n % 2 else "unknown", error=f"Error {n}.") for n in range(1, 31)]
    found = page(generated(100), *rows)
    listed = found.one("ul", kind="missing").children

    assert [item.all("a")[0].attributes["href"] for item in listed] == [f"#line-{n}" for n in range(1, 21)]
    assert all(found.all("li", id=f"line-{n}") for n in range(1, 21))
    assert listed[1].attributes["class"] == "unknown"
    for part in ("Line 2", "row-2", "unknown", "A cube", "Error 2."):
        assert part in listed[1].text
    assert "And 10 more" in found.source


def test_where_nothing_failed_there_is_no_list_of_failures():
    assert not page(generated()).all("ul", kind="missing")
    assert "more: they stand out" not in page(failed()).source


def test_further_images_of_a_prompt_are_linked():
    images = [{"path": f"/out/a{n}.png"} for n in ("", "-2", "-3")]
    tile = page((generated(path="/out/a.png", images=images), PREVIEW)).tile(1)

    assert [link.attributes["href"] for link in tile.all("a")] == ["a.png", "a-2.png", "a-3.png"]


@pytest.mark.parametrize(
    ("cost", "told"),
    [(0, "$0.00"), (0.003, "$0.003"), (0.00005, "$0.00005"), (1.5, "$1.50"), (1234, "$1,234.00"), ("?", "?")],
)
def test_money_is_told_with_the_digits_that_matter(cost, told):
    assert f" · {told}<br>" in page(generated(cost=cost)).source


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (54_321, "54 kB"),
        (999_600, "1.0 MB"),
        (12_345_678, "12 MB"),
        (5_000_000_000, "5.0 GB"),
        ("much", "much"),
    ],
)
def test_sizes_are_told_in_fitting_units(size, told):
    tiles = io.BytesIO()
    sheet.Sheet(tiles).add(generated(size=size), None)

    assert f" · {told} · " in tiles.getvalue().decode()


# Previews.


def test_a_page_holds_so_many_previews_and_says_so():
    found = page(*((generated(n), PREVIEW) for n in range(1, 8)), previews=3)

    assert len(found.all("img")) == 3
    assert [bool(found.tile(n).all("img")) for n in range(1, 8)] == [True] * 3 + [False] * 4
    assert "4 of 7 images have no preview: to stay small, the page holds 3 at most." in found.source
    for n in range(4, 8):
        [link] = found.tile(n).all("a")
        assert link.text == link.attributes["href"] == f"row-{n}.png"


def test_a_page_with_all_previews_says_nothing_of_it():
    assert "have no preview" not in page((generated(), PREVIEW), failed(2)).source


def test_previews_of_a_page_are_a_thousand():
    found = page(*((generated(n), PREVIEW) for n in range(1, 1003)))

    assert len(found.all("img")) == sheet.PREVIEWS == 1000


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_the_largest_preview_fits(size):
    small = preview(Image.effect_noise((size.side, size.side), 80), size)
    full = f"data:image/{size.kind.lower()};base64," + "A" * (4 * size.limit // 3)

    assert page((generated(), small)).one("img").attributes["src"] == small
    assert page((generated(), full)).one("img").attributes["src"] == full


@pytest.mark.parametrize(
    "small",
    [
        "",
        'data:image/jpeg;base64,AA" onerror="alert(1)',
        "data:image/svg+xml;base64,AAAA",
        "data:text/html,<script>alert(1)</script>",
        "https://elsewhere.example/x.jpg",
        "data:image/jpeg;base64," + "A" * 20_000,
        PREVIEW + "\n",
        b"data:image/jpeg;base64,AAAA",
        7,
        {"url": "x"},
    ],
    ids=range(10),
)
def test_what_is_no_preview_of_ours_is_not_shown(small):
    found = page((generated(), small))

    assert not found.all("img")
    assert found.tile(1).all("a")[0].text == "row-1.png"


def test_a_failed_row_has_no_preview_and_takes_no_place_of_one():
    found = page((failed(), PREVIEW), (generated(2), PREVIEW), previews=1)

    assert [bool(found.tile(n).all("img")) for n in (1, 2)] == [False, True]


# The files beside the page.


def shows_file(**changes: Any) -> list[bool]:
    """Return whether the page may show a row's file in place of what the page holds of it."""
    found = page((generated(**changes), PREVIEW), generated(2, **changes))
    return ["data-file" in link.attributes for n in (1, 2) for link in found.tile(n).all("a", kind="picture")]


def test_an_image_beside_the_page_is_shown_with_a_preview_and_without():
    assert shows_file() == [True, True]
    assert shows_file(size=5_000_000, width=3000, height=3000) == [True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 20_000_000},
        {"size": 5_000_001},
        {"width": 30_000, "height": 30_000},
        {"size": ...},
        {"width": "64"},
        {"height": None},
        {"path": "/out/row-1.svg"},
        {"path": "/out/row-1.png.rejected"},
        {"path": "/out/.."},
        {"path": "https://elsewhere.example/?x=/.png"},
        {"path": 7},
    ],
    ids=range(11),
)
def test_a_file_that_is_large_or_no_image_is_only_linked(changes):
    assert shows_file(**changes) == [False, False]


def test_a_row_without_an_image_shows_no_file():
    found = page(failed(), generated(2, path=...))

    assert not [item for item in found.all() if "data-file" in item.attributes]


def test_a_page_of_ten_thousand_rows_stays_small():
    tiles, written = io.BytesIO(), io.BytesIO()
    full = f"data:image/webp;base64,{'A' * (4 * LARGE.limit // 3)}"
    small = f"data:image/jpeg;base64,{'A' * (4 * SMALL.limit // 3)}"
    made, counts = sheet.Sheet(tiles), report.Counts()
    for n in range(1, 10_001):
        line = generated(n)
        made.add(line, full if n <= sheet.LARGE_PREVIEWS else small)
        counts.add(line)
    made.end(written, counts.as_json(), FACTS, finished=True, written_at=MOMENT)

    assert written.tell() < 15_000_000
    assert written.getvalue().count(b" data-file") == 10_000


# Texts of others.


def shape(elements: Iterable[Element]) -> list[Any]:
    """Return the tree without any text: element and attribute names."""
    return [(item.name, sorted(item.attributes), shape(item.children)) for item in elements]


def plain(text: str) -> str:
    """Return what a page may hold of a text."""
    words = " ".join(text.split())
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", words)


@pytest.mark.parametrize("text", MARKUP, ids=range(len(MARKUP)))
@pytest.mark.parametrize("name", ["prompt", "model", "id", "error"])
def test_no_text_of_a_row_becomes_markup(name, text):
    known = page((generated(), PREVIEW), failed(2))
    found = page((generated(**{name: text} if name != "error" else {}), PREVIEW), failed(2) | {name: text})

    usual = shape(known.top.children)
    if name == "prompt" and len(text) > 120:
        for tile in (known.tile(1), known.tile(2)):
            tile.all("p", dir="auto")[0].attributes["title"] = ""
        usual = shape(known.top.children)
    assert shape(found.top.children) == usual
    assert plain(text)[:100] in found.tile(2).text


@pytest.mark.parametrize("text", MARKUP, ids=range(len(MARKUP)))
def test_no_fact_of_the_task_becomes_markup(text):
    names = ["dag_id", "run_id", "task_id", "made_by", "stopped"]
    known = page(generated(), facts=FACTS | dict.fromkeys(names, "x"))
    found = page(generated(), facts=FACTS | dict.fromkeys(names, text))

    assert shape(found.top.children) == shape(known.top.children)
    assert plain(text)[:100] in found.one("h1").text


@pytest.mark.parametrize("name", ["line", "seed", "width", "height", "size", "cost", "status"])
def test_no_fact_of_an_image_becomes_markup(name):
    tiles = io.BytesIO()
    sheet.Sheet(tiles).add(generated(1, **{name: MARKUP[0]}), None)

    top = Page(tiles.getvalue()).top
    assert not top.all("script")
    [tile] = top.all("li")
    assert MARKUP[0] in tile.text + tile.attributes["id"]


def test_a_long_prompt_is_shortened_and_told_when_pointed_at():
    words = "every word counts " * 600
    assert len(words) > 10_000
    [prompt] = page((generated(prompt=words), PREVIEW)).tile(1).all("p", dir="auto")

    assert len(prompt.text) <= 120
    assert prompt.text.endswith("…")
    assert 900 < len(prompt.attributes["title"]) <= 1000
    assert "title" not in page(generated()).tile(1).all("p", dir="auto")[0].attributes


def test_a_prompt_of_megabytes_takes_no_more_room_than_another():
    row, made = generated(prompt="x y " * 1_000_000), sheet.Sheet(io.BytesIO())
    tracemalloc.start()
    try:
        made.add(row, None)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert len(page(row).source) < len(page(generated()).source) + 2000


def test_texts_that_run_from_right_to_left_turn_nothing_else_around():
    tile = page(failed(error="\u202eerror") | {"prompt": "\u202eprompt", "id": "\u202eid"}).tile(1)

    assert [item.name for item in tile.all() if item.words and "\u202e" in item.words[0]] == ["bdi", "p", "p"]
    assert [item.attributes["dir"] for item in tile.all("p") if "\u202e" in item.text] == ["auto", "auto"]


# Links.


@pytest.mark.parametrize(
    "name",
    [
        "a b.png",
        "100%.png",
        "a?b#c.png",
        "javascript:alert(1).png",
        "Würfel.png",
        'a".png',
        "a&amp;b.png",
        "//x",
    ],
)
def test_a_link_leads_to_the_file_beside_the_page(name):
    [link] = page((generated(path=f"s3://aws_default@bucket/out/{name}"), PREVIEW)).tile(1).all("a")
    parts = urlsplit(link.attributes["href"])

    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert "/" not in parts.path
    assert unquote(parts.path) == name.rpartition("/")[2]


# A page by itself.


def digest(source: str, name: str) -> str:
    """Return the hash of what is in an element, as a policy names it."""
    [content] = re.findall(f"<{name}>(.*?)</{name}>", source, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def test_a_row_can_be_filtered_by_what_is_known_of_it():
    found = page((generated(), PREVIEW), failed(2))

    names = ("data-state", "data-model", "data-cost")
    assert [[found.tile(n).attributes.get(name) for name in names] for n in (1, 2)] == [
        ["generated", "z-image-turbo", "0.003"],
        ["failed", "z-image-turbo", None],
    ]
    # Without the script it would do nothing.
    assert "hidden" in found.one("form").attributes
    assert {select.attributes["name"] for select in found.all("select")} == {"state", "model"}


def test_the_page_runs_no_script_but_its_own_and_loads_nothing_by_itself():
    found = page((generated(), PREVIEW), generated(2), failed(3))
    policy = found.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data: 'self' file:",
        "style-src": digest(found.source, "style"),
        "script-src": digest(found.source, "script"),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # It counts only for what comes after it.
    assert found.source.index(policy) < found.source.index("<style>")
    used = {name for item in found.all() for name in item.attributes}
    assert not {name for name in used if name.startswith("on")}
    assert not {item.name for item in found.all()} & {"link", "iframe", "object", "base"}
    assert not {name for name in used if name == "style"}
    assert all(item.attributes["src"].startswith("data:") for item in found.all() if "src" in item.attributes)
    assert "url(" not in found.source
    assert "@import" not in found.source
    assert '<meta name="referrer" content="no-referrer">' in found.source


def test_the_page_can_be_read_without_seeing_it():
    found = page((generated(), PREVIEW), generated(2), failed(3))

    assert found.one("html").attributes["lang"] == "en"
    assert found.one("meta", charset="utf-8")
    assert [item.name for item in found.all() if re.fullmatch("h[1-6]", item.name)] == [
        "h1", "h2", "h2", "h3", "h3", "h3",
    ]  # fmt: skip
    assert [item.attributes["alt"] for item in found.all("img")] == ["A red cube"]
    assert all(link.text or link.all("img") for link in found.all("a"))
    assert [part.name for part in found.one("body").children] == ["header", "main", "footer", "script"]
    ids = [item.attributes["id"] for item in found.all() if "id" in item.attributes]
    assert len(ids) == len(set(ids))
    assert {item.attributes["aria-labelledby"] for item in found.all("section")} <= set(ids)


def test_an_image_without_a_prompt_goes_by_its_id():
    assert page((generated(prompt=""), PREVIEW)).one("img").attributes["alt"] == "row-1"


@pytest.mark.parametrize(
    "word",
    ["prefers-color-scheme: dark", ":focus-visible", "content-visibility: auto", "object-fit: contain"],
)
def test_the_style_has_what_was_promised(word):
    assert word in page().one("style").text


def test_a_long_page_is_laid_out_in_parts():
    rows = [generated(n) for n in range(1, 122)]

    for number, parts in ((0, [0]), (1, [1]), (60, [60]), (61, [60, 1]), (120, [60, 60]), (121, [60, 60, 1])):
        assert [len(part.children) for part in page(*rows[:number]).all("ol")] == parts


def test_the_other_files_are_linked():
    assert [link.attributes["href"] for link in page().one("footer").all("a")] == [
        "manifest.jsonl",
        "summary.json",
    ]
