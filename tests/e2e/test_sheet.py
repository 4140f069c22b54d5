"""The contact sheet of a batch, opened from the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.sheet import Sheet
from airflow_provider_oxen.images.preview import preview

from . import axe
from .pictures import take

FACTS = {"dag_id": "shop", "run_id": "spring", "task_id": "postcards", "map_index": -1, "try_number": 1}
SHAPES = {"portrait": (300, 900), "landscape": (900, 300), "square": (600, 600)}


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a contact sheet with images of each shape, and with one row that failed."""
    tiles, counts = io.BytesIO(), report.Counts()
    made = Sheet(tiles)
    rows = [
        (name, {"path": f"/out/{name}.png", "width": shape[0], "height": shape[1], "bytes": 20_000})
        for name, shape in SHAPES.items()
    ]
    for number, (name, image) in enumerate(rows * 4, 1):
        result = {"images": [image], "cost": number / 100, "seed": number}
        line = report.line(
            number, f"{name}-{number}", "generated", f"A {name} harbour", "z-image-turbo", result=result
        )
        picture = Image.radial_gradient("L").resize(SHAPES[name])
        counts.add(line)
        made.add(line, preview(picture))
    bad = report.line(13, "owl", "failed", "A broken owl", "flux-2", error="The model ran out of memory.")
    counts.add(bad)
    made.add(bad, None)
    path = tmp_path_factory.mktemp("sheet") / "index.html"
    with path.open("wb") as file:
        made.end(file, counts.as_json(), FACTS, finished=True, written_at=datetime(2026, 11, 29, tzinfo=UTC))
    return path


@pytest.fixture
def page(browser: Browser, sheet: Path) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    page.goto(sheet.as_uri())
    yield page
    context.close()
    assert refused == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_sheet_fits_every_width_and_no_picture_leaves_its_box(page, width, theme):
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(color_scheme=theme)

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
