"""A task's links out of Airflow, wherever the task has got to."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from airflow_provider_oxen.localhub import LocalHub

from .pictures import take

GENERATION = "Generation on Oxen.ai"
MODEL = "Model on Oxen.ai"
IMAGE = "Image in its store"

TASKS = {
    "kept": ("postcards", 0, "harbour in spring"),
    "deferred": ("postcards_under_way", 1, "slow river"),
    "failed": ("postcards_failed", 1, "broken bridge"),
}
"""Dag, index of the mapped task, and what its prompt says."""


@pytest.mark.parametrize(("dag_id", "map_index", "words"), TASKS.values(), ids=TASKS)
def test_mapped_task_links_its_own_generation(web, runs, hub, dag_id, map_index, words):
    web.task(dag_id, runs, "town", map_index)

    expect(web.link(GENERATION)).to_have_attribute("href", address(hub, words))
    expect(web.link(MODEL)).to_have_attribute("href", f"{hub.url}/ai/models/z-image-turbo")


def test_kept_image_links_to_its_store(web, runs):
    web.task("postcards", runs, "town", 0)

    href = web.link(IMAGE).get_attribute("href") or ""
    assert href.startswith("https://s3.console.aws.amazon.com/s3/object/shop-pictures?prefix=spring%2F")


def test_batch_links_its_model(web, runs, hub):
    web.task("postcards", runs, "animals")

    expect(web.link(MODEL)).to_have_attribute("href", f"{hub.url}/ai/models/z-image-turbo")
    expect(web.link(GENERATION)).to_have_count(0)


def test_link_opens_beside_airflow(web, runs, hub):
    web.task("postcards", runs, "town", 0)
    link = web.link(GENERATION)
    web.page.set_viewport_size({"width": 1440, "height": 460})
    take(web.page, "links")

    with web.page.expect_popup() as opened:
        link.click()

    assert opened.value.url == address(hub, "harbour in spring")


def address(hub: LocalHub, words: str) -> str:
    """Return where the hub tells of the one job whose prompt has these words."""
    [job] = [job for job in hub.jobs() if words in prompt(job)]
    return f"{hub.url}/api/ai/queue/{job['generation_id']}"


def prompt(job: dict[str, Any]) -> str:
    return str(job["request"]["prompt"])
