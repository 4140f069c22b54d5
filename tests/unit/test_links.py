"""Links of a task: to its generation, and to its model's page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen import links
from airflow_provider_oxen.links import OxenGenerationLink, OxenImageLink, OxenModelLink, model_page
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
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
