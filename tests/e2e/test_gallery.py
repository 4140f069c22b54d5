"""The Images view: images, some under way, some that failed, and none at all; in light and in dark."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Frame, FrameLocator, Locator, Page, expect

from . import axe
from .conftest import BUCKET, RUN
from .pages import Web
from .pictures import colour, take


class State(NamedTuple):
    """What a run's view says.

    :ivar status: in its first line.
    :ivar badges: the states of its tiles that are seen, in any order.
    :ivar images: how many are shown.
    """

    dag_id: str
    status: str
    badges: list[str]
    images: int


STATES = {
    "images": State("postcards", "7 images", ["Done"], 7),
    "running": State("postcards_under_way", "1 task under way", ["Waiting for the hub"], 1),
    "failed": State("postcards_failed", "2 failed", ["Done with failures", "Failed"], 2),
    "empty": State("no_postcards", "No task of this run makes images", [], 0),
}

THEMES = ("light", "dark")


@pytest.mark.parametrize("name", STATES)
def test_view_of_a_run_says_how_it_stands(web, runs, name):
    state = STATES[name]
    refused = violations(web)
    web.run(state.dag_id, runs)
    frame = web.images()

    expect(frame.get_by_role("status").first).to_contain_text(state.status)
    assert sorted(badges(frame)) == state.badges
    expect(frame.get_by_role("img")).to_have_count(state.images)
    for image in frame.get_by_role("img").all():
        assert drawn(image)
    assert refused == []
    for theme in THEMES:
        web.page.emulate_media(color_scheme=theme)
        expect(frame.locator("html")).to_have_attribute("data-theme", theme)
        assert is_seamless(web)
        assert axe.found(inside(web)) == []
        frame.get_by_role("heading", level=1).scroll_into_view_if_needed()
        if name == "images":
            take(web.page, f"gallery-{theme}")
        elif theme == "light":
            take(web.page, f"gallery-{name}")


def test_view_has_the_theme_and_the_font_of_airflow_rather_than_the_systems(web, runs):
    web.run("no_postcards", runs)
    frame = web.images()
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")

    # As Airflow's own menu does.
    web.page.evaluate("document.documentElement.classList.replace('light', 'dark')")

    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    assert is_seamless(web)
    fonts = [
        shown.evaluate("getComputedStyle(document.body).fontFamily") for shown in (web.page, inside(web))
    ]
    assert fonts[0] == fonts[1]


@pytest.mark.parametrize("theme", [*THEMES, "forced"])
@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_view_fits_every_width(web, runs, width, theme):
    alone(web, "postcards_failed", runs)
    web.page.set_viewport_size({"width": width, "height": 1000})
    web.page.emulate_media(
        color_scheme="dark" if theme == "dark" else "light",
        forced_colors="active" if theme == "forced" else "none",
    )

    wide = web.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    assert axe.found(web.page) == []
    take(web.page, f"gallery-{width}-{theme}")


def test_tile_tells_what_was_asked_for_and_where_it_is(web, runs):
    web.run("postcards", runs)
    tile = tiles(web.images()).filter(
        has=web.page.frame_locator("iframe").get_by_alt_text("An origami fox on a wooden table")
    )
    for fact in ("z-image-turbo", "$0.01"):
        expect(tile).to_contain_text(fact)

    tile.locator("summary").click()
    expect(tile).to_contain_text("512 × 512")
    path = f"s3://{BUCKET}/animals/fox.webp"
    expect(tile).to_contain_text(path)
    # It is in a store of this machine's own, which Amazon's console does not know.
    expect(tile.get_by_role("link", name=path)).to_have_count(0)


def test_failures_come_first_with_their_reasons_and_their_logs(web, runs):
    web.run("postcards_failed", runs)
    shown = tiles(web.images())

    batch, town = shown.nth(0), shown.nth(1)
    for words in ("Line 2", "broken owl", "ran out of memory", "1 of 2 prompts"):
        expect(batch).to_contain_text(words)
    # A link where the store has a console; this machine's own has none.
    expect(batch).to_contain_text(f"s3://{BUCKET}/birds/index.html")
    expect(town).to_contain_text("Failed")
    expect(town).to_contain_text("ran out of memory")
    expect(town.locator(".paid")).to_have_text("Perhaps paid")
    town.get_by_role("link", name="Log of town [1]").click()
    web.page.wait_for_url(f"**/dags/postcards_failed/runs/{RUN}/tasks/town/mapped/1?try_number=1")


def test_filters_and_sorting_cover_the_page(web, runs):
    alone(web, "postcards", runs)
    page = web.page
    seen = page.locator("[data-tile]:not([hidden])")
    expect(page.locator("#matches")).to_have_text("Filters cover this page")

    page.get_by_label("Task").select_option("animals")
    expect(seen).to_have_count(4)
    expect(page.locator("#matches")).to_have_text("4 of the 8 on this page")
    page.get_by_label("State").select_option("Generated")
    expect(seen).to_have_count(3)
    page.get_by_label("Words").fill("WHALE")
    expect(seen).to_have_count(1)
    page.get_by_label("Words").fill("")
    page.get_by_label("Cost from").fill("0.5")
    expect(seen).to_have_count(0)
    page.get_by_label("Cost from").fill("")
    page.get_by_label("Task").select_option("")
    page.get_by_label("Sort").select_option("prompt")
    first, second = (seen.nth(n).locator(".prompt").inner_text() for n in (0, 1))
    assert first.startswith("A postcard of a harbour")
    assert second.startswith("A postcard of a lighthouse")


def test_lightbox_goes_on_with_arrow_keys_and_opens_the_original(web, runs):
    alone(web, "postcards", runs)
    page = web.page
    page.get_by_role("button", name="Enlarge: A postcard of a harbour").click()
    box = page.get_by_role("dialog", name="Image")
    image = box.get_by_role("img")

    expect(box).to_contain_text("4 of 7")
    expect(image).to_have_attribute("alt", "A postcard of a harbour in spring, flat colours")
    assert drawn(image)
    # The preview has half of it.
    assert image.evaluate("image => image.naturalWidth") == 512
    assert "/oxen/original/postcards?" in (image.get_attribute("src") or "")
    expect(box.get_by_role("link", name="Open the original")).to_be_visible()
    assert axe.found(page) == []
    take(page, "gallery-lightbox")
    page.keyboard.press("ArrowRight")
    expect(image).to_have_attribute("alt", "A postcard of a lighthouse in spring, flat colours")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(image).to_have_attribute("alt", "An origami whale on a wooden table")
    # That folder is not allowed.
    assert (image.get_attribute("src") or "").startswith("data:image/webp")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(page.get_by_role("button", name="Enlarge: An origami whale")).to_be_focused()


def test_two_images_are_compared_with_what_differs_marked(web, runs):
    alone(web, "postcards", runs)
    page = web.page
    for name in ("An origami fox", "A postcard of a mill"):
        page.get_by_role("checkbox", name=f"Compare: {name}").check()
    page.get_by_role("button", name="Compare").click()
    pair = page.get_by_role("dialog", name="Comparison")

    expect(pair.get_by_role("img")).to_have_count(2)
    expect(pair.get_by_role("rowheader", name="Seed ≠")).to_be_visible()
    expect(pair.get_by_role("rowheader", name="Model", exact=True)).to_be_visible()
    assert axe.found(page) == []
    take(page, "gallery-compare")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("prompt", "A postcard of a mill in spring, flat colours"),
        ("seed", "11"),
        ("path", f"s3://{BUCKET}/spring/"),
        (
            "request as Python",
            "ImageGenerateOperator(\n    task_id='town',\n    prompt='A postcard of a mill",
        ),
    ],
)
def test_facts_are_copied(web, runs, context, what, text):
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=web.url)
    alone(web, "postcards", runs)
    page = web.page
    page.get_by_role("button", name="Enlarge: A postcard of a mill").click()
    page.get_by_role("dialog").get_by_role("button", name=f"Copy {what}").click()

    expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith(text)


@pytest.mark.parametrize(
    ("task_id", "map_index", "images"),
    [("town", 2, ["A postcard of a market in spring, flat colours"]), ("animals", None, None)],
    ids=["mapped", "not_mapped"],
)
def test_task_has_a_view_of_its_own(web, runs, task_id, map_index, images):
    web.task("postcards", runs, task_id, map_index)
    shown = web.images().get_by_role("img")

    expect(shown).to_have_count(len(images) if images else 3)
    for image, alt in zip(shown.all(), images or [], strict=False):
        expect(image).to_have_attribute("alt", alt)


def test_dag_has_a_view_of_its_runs(web, runs):
    web.dag("postcards")
    frame = web.images()

    expect(frame.get_by_role("img")).to_have_count(7)
    heading = frame.get_by_role("heading", level=2)
    expect(heading).to_contain_text("UTC")
    heading.get_by_role("link", name=RUN).click()
    web.page.wait_for_url(f"**/dags/postcards/runs/{RUN}**")


def test_keyboard_leads_from_a_tile_to_its_task(web, runs):
    web.run("postcards_failed", runs)
    frame = web.images()
    link = frame.get_by_role("link", name="Log of town [1]")

    web.page.get_by_role("link", name="Images", exact=True).focus()
    for _ in range(20):
        web.page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    expect(link).to_be_focused()
    web.page.keyboard.press("Enter")

    # Airflow shows it, not the frame.
    web.page.wait_for_url(f"**/dags/postcards_failed/runs/{RUN}/tasks/town/mapped/1**")
    expect(web.page.get_by_role("heading", name="town [1]")).to_be_visible()


def test_view_looks_again_without_loading_the_page_while_something_is_under_way(web, runs):
    alone(web, "postcards_under_way", runs)
    page = web.page
    page.evaluate("window.kept = document.querySelector('.tile.image')")
    page.locator(".tile.image summary").click()
    waiting = tiles(page).filter(has_text="Waiting for the hub")
    expect(waiting).to_contain_text("Try 1")
    before = waiting.locator("time").inner_text()

    # A clock would be the whole browser's, so the time is really waited for.
    with page.expect_response("**/oxen/images/**"):
        pass

    expect(waiting.locator("time")).not_to_have_text(before)
    # What has not changed stays as it was.
    assert page.evaluate("window.kept.isConnected && window.kept.querySelector('details').open")


def alone(web: Web, dag_id: str, run_id: str) -> None:
    """Open a run's view without Airflow around it."""
    web.page.goto(f"{web.url}/oxen/images/{dag_id}?{urlencode({'run_id': run_id})}")


def inside(web: Web) -> Frame:
    """Return the view's own document."""
    handle = web.page.locator("iframe").element_handle()
    frame = handle.content_frame() if handle else None
    assert frame
    return frame


def tiles(frame: FrameLocator | Page) -> Locator:
    return frame.locator("[data-tile]")


def badges(frame: FrameLocator) -> list[str]:
    return frame.locator(".badge:visible").all_inner_texts()


def drawn(image: Locator) -> bool:
    """Whether the browser could make a picture of it."""
    image.scroll_into_view_if_needed()
    return bool(image.evaluate("async image => { await image.decode(); return image.naturalWidth > 0; }"))


def is_seamless(web: Web) -> bool:
    """Whether the view has the colour of Airflow's page around it."""
    box = web.page.locator("iframe").bounding_box()
    assert box
    inside = colour(web.page, box["x"] + 3, box["y"] + box["height"] - 3)
    return inside == colour(web.page, box["x"] - 3, box["y"] + box["height"] - 3)


def violations(web: Web) -> list[str]:
    """Return what the page's own security policy refuses, as it comes."""
    refused: list[str] = []
    web.page.on(
        "console",
        lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None,
    )
    return refused
