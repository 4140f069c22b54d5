"""A task's links out of Airflow, wherever the task has got to."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from airflow_provider_oxen.links import images_page

from .pictures import take

GENERATION = "Generation in Images"
MODEL = "Model on Oxen.ai"
IMAGE = "Image in its store"

TASKS = {"kept": ("postcards", 0), "deferred": ("postcards_under_way", 1), "failed": ("postcards_failed", 1)}
"""Dag, and index of the mapped task."""


@pytest.mark.parametrize(("dag_id", "map_index"), TASKS.values(), ids=TASKS)
def test_mapped_task_links_its_own_images(web, runs, hub, dag_id, map_index):
    web.task(dag_id, runs, "town", map_index)

    expect(web.link(GENERATION)).to_have_attribute("href", images_page(dag_id, runs, "town", map_index))
    expect(web.link(MODEL)).to_have_attribute("href", f"{hub.url}/ai/models/z-image-turbo")


def test_image_in_a_store_of_ones_own_has_no_link_to_amazons_console(web, runs):
    """The store of these runs is on this machine, as MinIO would be."""
    web.task("postcards", runs, "town", 0)

    expect(web.link(MODEL)).to_have_count(1)
    expect(web.link(IMAGE)).to_have_count(0)


def test_batch_links_its_model(web, runs, hub):
    web.task("postcards", runs, "animals")

    expect(web.link(MODEL)).to_have_attribute("href", f"{hub.url}/ai/models/z-image-turbo")
    expect(web.link(GENERATION)).to_have_count(0)


def test_links_open_pages_that_a_person_can_read(web, runs, hub):
    web.task("postcards", runs, "town", 0)
    web.page.set_viewport_size({"width": 1440, "height": 460})
    expect(web.link(GENERATION)).to_be_visible()
    take(web.page, "links")

    with web.page.expect_popup() as opened:
        web.link(MODEL).click()
    expect(opened.value.get_by_text("z-image-turbo").first).to_be_visible()
    opened.value.close()

    web.link(GENERATION).click()
    expect(web.page.get_by_text("harbour in spring").first).to_be_visible()
