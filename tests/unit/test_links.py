"""Links of a task: to its images, and to its model's page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen import links
from airflow_provider_oxen.links import (
    OxenGenerationLink,
    OxenImageLink,
    OxenModelLink,
    images_page,
    model_page,
)
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.plugins.gallery import OxenPlugin
from airflow_provider_oxen.provider_info import get_provider_info


@pytest.mark.parametrize(
    ("hub", "page"),
    {
        "https://hub.oxen.ai": "https://www.oxen.ai/ai/models/z-image-turbo",
        "http://127.0.0.1:8000": "http://127.0.0.1:8000/ai/models/z-image-turbo",
    }.items(),
)
def test_a_models_page_is_where_the_hubs_pages_for_people_are(hub, page):
    assert model_page(hub, "z-image-turbo") == page


def test_a_models_name_cannot_lead_elsewhere():
    assert model_page("https://hub.oxen.ai", "../x?y#z") == "https://www.oxen.ai/ai/models/..%2Fx%3Fy%23z"


@pytest.mark.parametrize("map_index", [-1, 3])
def test_a_task_is_found_where_the_images_view_has_it(map_index):
    """The view's own address has places that Airflow's web interface fills."""
    [view] = [view for view in OxenPlugin.external_views if view["destination"] == "task_instance"]
    filled = view["href"].format(DAG_ID="a_dag", RUN_ID="run", TASK_ID="group.hero", MAP_INDEX=map_index)

    assert images_page("a_dag", "run", "group.hero", map_index) == filled


def test_a_run_cannot_lead_elsewhere():
    page = images_page("dag", "manual__2026-01-01T00:00:00+00:00&task_id=x#y", "hero", -1)

    assert page.endswith(
        "?run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00%26task_id%3Dx%23y&task_id=hero&map_index=-1"
    )
    assert page.startswith("oxen/images/dag?")


@pytest.mark.parametrize(
    "link", [OxenImageLink(), OxenGenerationLink(), OxenModelLink()], ids=lambda link: link.name
)
@pytest.mark.parametrize("pushed", ["https://hub.example/x", None])
def test_a_link_is_read_from_xcom(link, pushed, monkeypatch):
    asked: list[Any] = []

    def get_value(*, ti_key: Any, key: str) -> Any:
        asked.append((ti_key, key))
        return pushed

    monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=get_value))

    assert link.get_link(SimpleNamespace(), ti_key="the ti") == (pushed or "")
    assert asked == [("the ti", link.key)]
    # What Airflow 3's own web interface reads.
    assert link.xcom_key == link.key


def test_an_instance_that_was_executed_knows_what_it_has_pushed(monkeypatch):
    def get_value(**_: Any) -> Any:
        raise AssertionError("asked for")

    monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=get_value))
    no_key: Any = None
    told = {OxenModelLink.key: "https://hub.example/m", OxenGenerationLink.key: ""}
    operator: Any = SimpleNamespace(pushed_links=told)

    assert OxenModelLink().get_link(operator, ti_key=no_key) == "https://hub.example/m"
    assert OxenGenerationLink().get_link(operator, ti_key=no_key) == ""


def test_the_operators_links_are_registered():
    names = {
        f"{type(link).__module__}.{type(link).__qualname__}"
        for operator in (ImageGenerateOperator, ImageBatchGenerateOperator)
        for link in operator.operator_extra_links
    }

    assert names == set(get_provider_info()["extra-links"])
