"""The contact sheet of a batch, opened from the disk and from a server, with its images and without."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.sheet import Sheet
from airflow_provider_oxen.images.preview import preview

from ..unit.batch.lines import line_of
from . import axe
from .pictures import take

FACTS = {"dag_id": "shop", "run_id": "spring", "task_id": "postcards", "map_index": -1, "try_number": 1}
SHAPES = {"portrait": (600, 1800), "landscape": (1800, 600), "square": (1200, 1200)}
ODD = """sheep #1 at 50%? 'so "big" &amp; red'.png"""
"""A file's name that means something else in an address and in markup."""


def write_sheet(folder: Path, rows: int) -> Path:
    """Write a contact sheet of images of each shape, and of one row that failed; return its path.

    Rows after the twelfth share the files of the first.
    """
    tiles, counts = io.BytesIO(), report.Counts()
    made = Sheet(tiles, previews=12)
    for number in range(1, rows + 1):
        name, (width, height) = list(SHAPES.items())[(number - 1) % len(SHAPES)]
        first = (number - 1) % 12 + 1
        file = folder / (ODD if first == 4 else f"{name}-{first}.png")
        picture = Image.radial_gradient("L").resize((width, height))
        if first == number:
            picture.save(file)
        image = {"path": str(file), "width": width, "height": height, "bytes": 20_000}
        result = {"images": [image], "cost": number / 100, "seed": number}
        tile = line_of(
            number, f"{name}-{number}", "generated", f"A {name} harbour", "z-image-turbo", result=result
        )
        counts.add(tile)
        made.add(tile, preview(picture))
    bad = line_of(rows + 1, "owl", "failed", "A broken owl", "flux-2", error="The model ran out of memory.")
    counts.add(bad)
    made.add(bad, None)
    path = folder / "index.html"
    with path.open("wb") as written:
        made.end(
            written, counts.as_json(), FACTS, finished=True, written_at=datetime(2026, 11, 29, tzinfo=UTC)
        )
    return path


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contact sheet beside its twelve images."""
    return write_sheet(tmp_path_factory.mktemp("sheet"), 12)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    """An empty page, in which nothing may be refused."""
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    yield page
    context.close()
    # A file that is not there is no refusal.
    assert [text for text in refused if "Failed to load resource" not in text] == []


@pytest.fixture
def page(opened: Page, sheet: Path) -> Page:
    """The contact sheet, opened from the disk."""
    opened.goto(sheet.as_uri())
    return opened


class Bucket:
    """A folder that a server serves, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.referrers: set[str | None] = set()
        bucket = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                bucket.asked.append(unquote(self.path).rpartition("/")[2])
                bucket.referrers.add(self.headers["Referer"])
                super().do_GET()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Bucket]]:
    """Serve a folder over HTTP."""
    with ExitStack() as ends:

        def serve(folder: Path) -> Bucket:
            bucket = Bucket(folder)
            Thread(target=bucket.server.serve_forever, daemon=True).start()
            ends.callback(bucket.server.server_close)
            ends.callback(bucket.server.shutdown)
            return bucket

        yield serve


def shown(page: Page, line: int) -> tuple[int, int]:
    """Return width and height of the picture that a tile shows, in the picture's own pixels."""
    size = page.locator(f"#line-{line} a.picture img").evaluate("it => [it.naturalWidth, it.naturalHeight]")
    return tuple(size)


def wait_for_files(page: Page, *lines: int) -> None:
    """Wait until tiles show the files beside the page."""
    for line in lines:
        expect(page.locator(f"#line-{line} a.picture img:not([src^='data:'])")).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_sheet_fits_every_width_and_no_picture_leaves_its_box(page, width, theme):
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(color_scheme=theme)
    wait_for_files(page, 1, 2)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator("a.picture").all():
        outer, inner = box.bounding_box(), box.get_by_role("img").bounding_box()
        assert outer["width"] >= 140
        assert inner["height"] <= outer["height"] + 0.5
        assert inner["width"] <= outer["width"] + 0.5
    assert axe.found(page) == []
    take(page, f"sheet-{width}-{theme}")


def test_sheet_is_filtered_and_names_what_failed_with_its_prompt(page):
    seen = page.locator("[data-tile]:not([hidden])")
    expect(seen).to_have_count(13)
    expect(page.get_by_role("region", name="Without an image")).to_contain_text("A broken owl")

    page.get_by_label("State").select_option("failed")
    expect(seen).to_have_count(1)
    expect(page.locator("#matches")).to_have_text("1 of the 13 on this page")
    page.get_by_label("State").select_option("")
    page.get_by_label("Cost from").fill("0.1")
    expect(seen).to_have_count(3)


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_each_picture_is_the_file_beside_the_page(opened, sheet, serve, place):
    bucket = serve(sheet.parent)
    opened.set_viewport_size({"width": 1440, "height": 1000})
    opened.goto(sheet.as_uri() if place == "disk" else f"{bucket.url}/index.html?signature=secret")

    wait_for_files(opened, 1, 2, 3, 4)

    for line, size in enumerate([*SHAPES.values(), SHAPES["portrait"]], 1):
        assert shown(opened, line) == size
        picture = opened.locator(f"#line-{line} a.picture img")
        assert picture.get_attribute("alt") == f"A {list(SHAPES)[(line - 1) % 3]} harbour"
        # Sharp on a screen with two pixels for each of the page's.
        assert max(size) >= 2 * max(picture.bounding_box()[side] for side in ("width", "height"))
    if place == "bucket":
        assert ODD in bucket.asked
        assert bucket.referrers == {None}


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_copy_of_the_sheet_alone_shows_its_previews(opened, sheet, serve, tmp_path, place):
    copied = Path(shutil.copy(sheet, tmp_path))
    bucket = serve(tmp_path)
    opened.goto(copied.as_uri() if place == "disk" else f"{bucket.url}/index.html")

    opened.wait_for_load_state("networkidle")

    assert [shown(opened, line) for line in (1, 2, 3)] == [(43, 128), (128, 43), (128, 128)]
    expect(opened.locator("a.picture img")).to_have_count(12)


def test_files_are_loaded_near_the_screen_alone_and_left_when_they_are_far(opened, serve, tmp_path):
    bucket = serve(write_sheet(tmp_path, 600).parent)
    opened.set_viewport_size({"width": 1440, "height": 1000})
    opened.goto(f"{bucket.url}/index.html")
    files = opened.locator("a.picture img:not([src^='data:'])")
    wait_for_files(opened, 1, 2)
    assert files.count() < 40

    # Without a preview, the tile names the file until it is shown.
    last = opened.locator("#line-600 a.picture")
    expect(last).to_have_text("square-12.png")
    last.scroll_into_view_if_needed()
    wait_for_files(opened, 600)
    expect(last.get_by_role("img")).to_have_attribute("alt", "square-600")

    expect(opened.locator("#line-1 img[src^='data:']")).to_have_count(1)
    assert files.count() < 40
    assert axe.found(opened) == []


def test_the_sheet_is_complete_without_its_script(browser, sheet):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(sheet.as_uri())

    expect(page.locator("a.picture img[src^='data:']")).to_have_count(12)
    context.close()
