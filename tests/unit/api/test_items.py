"""Images of an answer in other clothes are the same images."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from airflow_provider_oxen.api.items import bare_of, images_of, link_of
from airflow_provider_oxen.api.models import GenerateAnswer

LINK = "https://hub.example/files/1.png?signature=x"
TEXT = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(300)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(300)).decode()


@pytest.mark.parametrize(
    "answer",
    [
        {"images": [{"url": LINK}]},
        {"images": {"url": LINK}},
        {"images": LINK},
        {"images": [LINK]},
        {"images": [[{"url": LINK}]]},
        {"images": [{"url": 5, "image_url": {"url": f" {LINK}\n"}}]},
        {"images": [], "data": [{"url": LINK}]},
        {"data": {"images": [{"url": LINK}]}},
        {"data": [{"image": {"url": LINK}}]},
        {"image": LINK},
        {"image": {"url": LINK}},
        {"image_url": LINK},
        {"url": LINK},
        {"output": LINK},
        {"result": {"output": [LINK]}},
        {"generations": [{"id": "g-1", "status": "succeeded", "result_url": LINK}]},
        [{"url": LINK}],
        [LINK],
        LINK,
    ],
    ids=str,
)
def test_link_is_found(answer):
    found = GenerateAnswer.model_validate(answer)

    assert [(item.url, item.b64_json) for item in found.images] == [(LINK, None)]
    assert found.unread == 0


@pytest.mark.parametrize(
    "text", [TEXT, JPEG, f"data:image/png;base64,{TEXT}", JPEG.replace("/", "_"), f" {TEXT}\n"]
)
@pytest.mark.parametrize("key", ["b64_json", "base64", "url", "image", None])
def test_text_of_an_image_is_no_link_whatever_it_is_called(text, key):
    [item] = GenerateAnswer.model_validate({"images": [text if key is None else {key: text}]}).images

    assert (item.url, item.b64_json) == (None, text.strip())


@pytest.mark.parametrize(
    "bad", [None, 5, True, "", "no link", {}, {"url": 5}, {"url": None}, [], {"note": "…"}]
)
def test_bad_item_costs_neither_of_those_beside_it(bad):
    found = GenerateAnswer.model_validate({"images": [{"url": LINK}, bad, {"b64_json": TEXT}]})

    assert [(item.url, item.b64_json) for item in found.images] == [(LINK, None), (None, TEXT)]
    assert found.unread == 1


@pytest.mark.parametrize(
    "link", ["/files/1.png", "//hub.example/1.png", "files/1.PNG?x=1", "./1", "../files/1"]
)
def test_link_may_be_relative(link):
    assert link_of([link]) == link_of({"url": link}) == link


def test_both_are_kept_where_both_are_told():
    [item] = GenerateAnswer.model_validate(
        {"images": [{"url": LINK, "b64_json": "#", "revised_prompt": "p"}]}
    ).images

    assert (item.url, item.b64_json, item.revised_prompt) == (LINK, "#", "p")


def test_long_text_of_nobody_knows_what_may_be_an_image_and_is_kept_as_such():
    assert images_of(["Zm9v" * 100]) == [{"b64_json": "Zm9v" * 100}]
    assert images_of(["Zm9v bar " * 100]) == [None]


def test_answer_of_any_depth_comes_to_an_end():
    deep: Any = {"url": LINK}
    for _ in range(5000):
        deep = {"data": [deep], "image": deep}

    assert images_of(deep) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"\x89PNG\r\n\x1a\n", {"images": [{"b64_json": "iVBORw0KGgo="}]}),
        (b"\0\0\0\x1cftypavif", {"images": [{"b64_json": "AAAAHGZ0eXBhdmlm"}]}),
        (f" {LINK}\n".encode(), {"images": [LINK]}),
        (TEXT.encode(), {"images": [TEXT]}),
        (b"<html>", None),
        (b'{"images": [', None),
        ("é".encode(), None),
        (b"", None),
    ],
    ids=repr,
)
def test_body_that_is_no_json_may_be_the_image_itself(body, found):
    assert bare_of(body) == found
