"""What a task tells the web interface of itself, and that nothing of it can harm the task."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat import version_compat

from airflow_provider_oxen.links import OxenGenerationLink, OxenImageLink, OxenModelLink
from airflow_provider_oxen.tasks.xcoms import KEY, MAX_IMAGES, TaskXComs, of_manifest, of_result

HUB = "https://hub.oxen.ai"


@pytest.fixture
def pushed() -> dict[str, Any]:
    return {}


@pytest.fixture
def show(pushed, monkeypatch):
    def show(*, wanted: bool = True, views: bool = True) -> TaskXComs:
        monkeypatch.setattr(version_compat, "AIRFLOW_V_3_1_PLUS", views)
        ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
        return TaskXComs(ti, logging.getLogger("task"), wanted)

    return show


def test_what_is_asked_for_is_told_before_anything_is(show, pushed):
    show().push_request(HUB, "z-image-turbo", "A red cube")

    assert pushed == {
        OxenModelLink.key: "https://www.oxen.ai/ai/models/z-image-turbo",
        KEY: {"total": 1, "images": [{"prompt": "A red cube", "model": "z-image-turbo"}]},
    }


@pytest.mark.parametrize("state", [{"wanted": False}, {"views": False}], ids=["unwanted", "before_3_1"])
def test_no_previews_are_pushed_where_nobody_sees_them(show, pushed, state):
    xcoms = show(**state)
    xcoms.push_request(HUB, "z-image-turbo", "A red cube")
    xcoms.push_images([{"prompt": "x"}], 1)

    assert set(pushed) == {OxenModelLink.key}
    assert xcoms.size is None


def test_a_batch_without_a_model_of_its_own_has_no_link_to_one(show, pushed):
    show().push_request(HUB, None, None, 1000)

    assert pushed == {KEY: {"total": 1000, "images": []}}


def test_the_first_images_are_shown(show, pushed):
    show().push_images(({"prompt": str(n)} for n in range(100)), 100)

    assert pushed[KEY]["total"] == 100
    assert [image["prompt"] for image in pushed[KEY]["images"]] == [str(n) for n in range(MAX_IMAGES)]


def test_xcom_that_does_not_take_it_is_no_reason_to_fail(show, caplog):
    xcoms = show()

    def push(key: str, value: Any) -> None:
        raise RuntimeError("the XCom backend is away")

    xcoms.ti.xcom_push = push
    xcoms.push_request(HUB, "z-image-turbo", "A red cube")
    xcoms.push_images([], 0)

    assert caplog.text.count("could not be pushed to XCom: the XCom backend is away") == 3


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("s3://my_conn@bucket/a.png", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a.png"),
        ("/data/a.png", None),
        (None, None),
    ],
)
def test_an_output_links_to_its_stores_console(show, pushed, path, told):
    show().push_page(path)

    assert pushed.get(OxenImageLink.key) == told


@pytest.mark.parametrize("is_public", [True, False])
def test_no_link_to_the_console_of_a_store_that_is_not_there(show, pushed, is_public):
    xcoms = show()
    xcoms.folder = SimpleNamespace(is_public=is_public)
    xcoms.push_page("s3://bucket/a.png")
    xcoms.push_images([{"path": "s3://bucket/a.png"}], 1)

    assert (OxenImageLink.key in pushed) is is_public
    # The Images view knows the path only.
    assert pushed[KEY].get("console", True) is is_public


@pytest.mark.parametrize(("map_index", "told"), [(None, -1), (-1, -1), (4, 4)])
def test_a_task_has_a_page_where_there_is_an_images_view(show, pushed, map_index, told):
    xcoms = show()
    vars(xcoms.ti).update(dag_id="d", run_id="r", task_id="t", map_index=map_index)
    xcoms.push_generation("g", f"{HUB}/g")

    assert pushed == {
        "generation_id": "g",
        "generation_link": f"{HUB}/g",
        OxenGenerationLink.key: f"oxen/images/d?run_id=r&task_id=t&map_index={told}",
    }


def test_before_airflow_3_1_a_task_has_no_page(show, pushed):
    show(views=False).push_generation("g", f"{HUB}/g")

    assert pushed == {"generation_id": "g", "generation_link": f"{HUB}/g"}


def test_a_result_is_shown_image_by_image():
    result = {
        "model": "z",
        "seed": 7,
        "cost": 0.01,
        "reused": True,
        "images": [
            {"path": "s3://my_conn@bucket/a.png", "width": 1, "height": 2, "bytes": 3, "sha256": "x"},
            {"url": "https://hub.example/x.png?signature=secret"},
        ],
    }

    body = {
        "model": "z",
        "prompt": "p",
        "seed": 7,
        "image_size": {"width": 8},
        "image_urls": ["https://elsewhere.example/x.png?signature=secret"],
        "image": "A" * 2000,
    }
    first, second = of_result(result, "p" * 6000, ["data:image/webp;base64,AAAA"], body)
    assert first == {
        "prompt": f"{'p' * 3999}…",
        "model": "z",
        "seed": 7,
        "cost": 0.01,
        "status": "reused",
        "width": 1,
        "height": 2,
        "bytes": 3,
        "path": "s3://bucket/a.png",
        "request": {
            "image_size": {"width": 8},
            "image_urls": ["https://elsewhere.example/x.png"],
        },
        "preview": "data:image/webp;base64,AAAA",
    }
    # A signed link is for nobody but the task that asked for it.
    assert "secret" not in str(second)
    assert "preview" not in second


def test_a_line_of_a_manifest_is_shown():
    line = {
        "line": 1,
        "id": "p1",
        "status": "failed",
        "prompt": "A cube",
        "error": "why",
        "size": 7,
        "path": "/a@b",
    }

    assert of_manifest(line, None) == {
        "id": "p1",
        "status": "failed",
        "error": "why",
        "prompt": "A cube",
        "bytes": 7,
        "path": "/a@b",
    }
