"""The Images view: images, some under way, some that failed, and none at all; in light and in dark."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from playwright.sync_api import FrameLocator, Locator, expect

from .conftest import BUCKET, RUN
from .pages import Web
from .pictures import colour, take


class State(NamedTuple):
    """What a run's view says.

    :ivar status: in its first line.
    :ivar badges: the states of its tiles, in any order.
    """

    dag_id: str
    status: str
    badges: list[str]


STATES = {
    "images": State("postcards", "7 images", ["Generated"] * 7),
    "running": State("postcards_under_way", "1 under way", ["Generated", "Waiting for the hub"]),
    "failed": State("postcards_failed", "1 failed", ["Failed", "Generated"]),
    "empty": State("no_postcards", "No task of this run makes images", []),
}

THEMES = ("light", "dark")


@pytest.mark.parametrize("name", STATES)
def test_view_of_a_run_says_how_it_stands(web, runs, name):
    state = STATES[name]
    refused = violations(web)
    web.run(state.dag_id, runs)
    frame = web.images()

    expect(frame.get_by_role("status")).to_contain_text(state.status)
    assert sorted(badges(frame)) == state.badges
    for image in frame.get_by_role("img").all():
        assert drawn(image)
    assert refused == []
    for theme in THEMES:
        web.page.emulate_media(color_scheme=theme)
        expect(frame.locator("html")).to_have_attribute("data-theme", theme)
        assert is_seamless(web)
        frame.get_by_role("heading").scroll_into_view_if_needed()
        if name == "images":
            take(web.page, f"gallery-{theme}")
        elif theme == "light":
            take(web.page, f"gallery-{name}")


def test_view_has_the_theme_that_was_chosen_in_airflow_rather_than_the_systems(web, runs):
    web.run("no_postcards", runs)
    frame = web.images()
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")

    # As Airflow's own menu does.
    web.page.evaluate("document.documentElement.classList.replace('light', 'dark')")

    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    assert is_seamless(web)


def test_tile_tells_what_was_asked_for_and_where_it_is(web, runs):
    web.run("postcards", runs)
    tile = tiles(web.images()).filter(has_text="An origami fox")

    expect(tile.get_by_role("img")).to_have_attribute("alt", "An origami fox on a wooden table")
    for fact in ("z-image-turbo", "512 × 512", "$0.01"):
        expect(tile).to_contain_text(fact)
    path = tile.get_by_role("link", name=f"s3://{BUCKET}/animals/fox.webp")
    expect(path).to_have_attribute(
        "href", f"https://s3.console.aws.amazon.com/s3/object/{BUCKET}?prefix=animals%2Ffox.webp"
    )


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
    expect(tiles(frame).first).to_contain_text(RUN)


def test_keyboard_leads_from_a_tile_to_its_task(web, runs):
    web.run("postcards_failed", runs)
    frame = web.images()
    link = frame.get_by_role("link", name="town [1]")

    web.page.get_by_role("link", name="Images", exact=True).focus()
    for _ in range(9):
        web.page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    expect(link).to_be_focused()
    web.page.keyboard.press("Enter")

    # Airflow shows it, not the frame.
    web.page.wait_for_url(f"**/dags/postcards_failed/runs/{RUN}/tasks/town/mapped/1")
    expect(web.page.get_by_role("heading", name="town [1]")).to_be_visible()


def test_view_looks_again_while_something_is_under_way(web, runs):
    web.run("postcards_under_way", runs)
    web.images()

    # A clock would be the whole browser's, so the time is really waited for.
    with web.page.expect_response("**/oxen/images/**"):
        pass


def tiles(frame: FrameLocator) -> Locator:
    return frame.get_by_role("listitem")


def badges(frame: FrameLocator) -> list[str]:
    return frame.locator(".badge").all_inner_texts()


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
