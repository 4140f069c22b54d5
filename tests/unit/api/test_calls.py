"""Each call is the request that the hub's contract names, and understands every shape of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.models import GenerateRequest

REQUEST = GenerateRequest(model="z-image-turbo", prompt="A red cube", seed=7)


@pytest.mark.parametrize(
    ("call", "method", "classic", "ai", "params", "body"),
    [
        (
            calls.generate(REQUEST),
            "POST",
            "/api/images/generate",
            "/api/ai/images/generate",
            None,
            {"model": "z-image-turbo", "prompt": "A red cube", "response_format": "url", "seed": 7},
        ),
        (calls.list_models(), "GET", "/api/evaluations/models", "/api/ai/models", None, None),
        (
            calls.list_models("turbo & co"),
            "GET",
            "/api/evaluations/models/search",
            "/api/ai/models/search",
            {"search": "turbo & co"},
            None,
        ),
        (
            calls.get_model("z-image-turbo"),
            "GET",
            "/api/evaluations/models/z-image-turbo",
            "/api/ai/models/z-image-turbo",
            None,
            None,
        ),
        (
            calls.get_model("my-org/my model?v=1#2"),
            "GET",
            "/api/evaluations/models/my-org%2Fmy%20model%3Fv%3D1%232",
            "/api/ai/models/my-org%2Fmy%20model%3Fv%3D1%232",
            None,
            None,
        ),
        (calls.whose_key()[0], "GET", "/api/users/me", "/api/users/me", None, None),
        (calls.whose_key()[1], "GET", "/api/authorize", "/api/authorize", None, None),
    ],
    ids=["generate", "models", "search", "model", "model_with_odd_name", "me", "authorize"],
)
def test_call_is_the_request_of_the_contract(call, method, classic, ai, params, body):
    assert call.method == method
    assert call.paths == {"classic": classic, "ai": ai}
    assert call.has_layouts is (classic != ai)
    assert call.params == params
    assert call.body == body
    assert call.paid is (method == "POST")


def test_empty_search_lists_all():
    assert calls.list_models("").paths == calls.list_models().paths


def test_representation_holds_no_prompt():
    shown = repr(calls.generate(REQUEST))

    assert "generate an image" in shown
    assert "red cube" not in shown


def parsed(call: calls.Call[Any], data: Any) -> Any:
    return call.parse(data)


def generated(data: Any) -> list[tuple[str | None, str | None]]:
    return [(image.url, image.b64_json) for image in parsed(calls.generate(REQUEST), data).images]


@pytest.mark.parametrize(
    ("data", "images"),
    [
        ({"images": [{"url": "https://a/1"}]}, [("https://a/1", None)]),
        ({"images": [{"b64_json": "aGk="}]}, [(None, "aGk=")]),
        (
            {"images": [{"url": "https://a/1"}, {"url": "https://a/2", "b64_json": None}]},
            [("https://a/1", None), ("https://a/2", None)],
        ),
        ({"image_url": "https://a/1"}, [("https://a/1", None)]),
        ({"images": [{"b64_json": "aGk="}], "image_url": "https://a/1"}, [(None, "aGk=")]),
        (
            {"model": "m", "created": 1, "images": [{"url": "https://a/1", "new": 1}], "new": {}},
            [("https://a/1", None)],
        ),
    ],
    ids=[
        "url",
        "b64_json",
        "several",
        "older_image_url",
        "images_win_over_image_url",
        "fields_of_a_newer_hub",
    ],
)
def test_every_shape_of_a_generate_answer_is_understood(data, images):
    assert generated(data) == images


IMAGELESS: list[Any] = [
    {"images": []},
    {"images": [{}]},
    {"images": [{"url": ""}]},
    {"images": None},
    {"image_url": None},
    [],
    None,
]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        *((data, "neither a link to an image nor its bytes") for data in IMAGELESS),
        ({"id": "g-1", "status": "queued"}, "not there yet"),
    ],
    ids=str,
)
def test_generate_answer_without_an_image_is_refused(data, problem):
    with pytest.raises(ValueError, match=problem):
        generated(data)


def test_odd_item_does_not_cost_the_images_beside_it():
    data = {"images": [{"url": "https://a/1"}, {"revised_prompt": "…"}, 5, None]}

    assert generated(data) == [("https://a/1", None)]
    assert calls.generate(REQUEST).parse(data).unread == 3


@pytest.mark.parametrize(
    "data",
    [
        {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]},
        {"models": [{"name": "a", "display_name": "A"}, {"name": "b"}]},
        [{"id": "a"}, {"id": "b"}],
    ],
    ids=["ai", "classic", "bare"],
)
def test_catalogue_is_read_in_either_layouts_shape(data):
    assert [model.id for model in parsed(calls.list_models(), data)] == ["a", "b"]


def test_odd_entry_of_the_catalogue_does_not_hide_the_others():
    data = {"data": [{"id": "a"}, {"display_name": "no id"}, "x", {"id": "b"}]}

    assert [model.id for model in parsed(calls.list_models(), data)] == ["a", "b"]


@pytest.mark.parametrize("data", [{}, {"data": None}, {"models": "a"}, None, "a"], ids=str)
def test_catalogue_without_a_list_is_refused(data):
    with pytest.raises(ValueError, match="no list of models"):
        parsed(calls.list_models(), data)


@pytest.mark.parametrize(
    "data",
    [
        {"id": "a", "request_schema": {"type": "object"}},
        {"name": "a", "json_request_schema": {"type": "object"}},
        {"data": {"id": "a", "request_schema": {"type": "object"}}},
        {"model": {"name": "a", "json_request_schema": {"type": "object"}}},
    ],
    ids=["ai", "classic", "wrapped_in_data", "wrapped_in_model"],
)
def test_model_is_read_in_either_layouts_shape(data):
    model = parsed(calls.get_model("a"), data)

    assert (model.id, model.request_schema) == ("a", {"type": "object"})


@pytest.mark.parametrize("data", [{}, {"data": {}}, [], None], ids=str)
def test_answer_that_is_no_model_is_refused(data):
    with pytest.raises(ValueError, match="Model"):
        parsed(calls.get_model("a"), data)


@pytest.mark.parametrize(
    "data",
    [
        {"user": {"name": "ox", "email": "ox@example.com"}},
        {"user": {"username": "ox", "name": "An Ox", "email": "ox@example.com"}},
        {"name": "ox", "email": "ox@example.com"},
    ],
    ids=["wrapped", "username", "bare"],
)
def test_user_is_read_bare_or_wrapped(data):
    user = parsed(calls.whose_key()[1], data)

    assert (user.name, user.email) == ("ox", "ox@example.com")


def test_answer_that_is_no_user_is_refused():
    with pytest.raises(ValueError, match="User"):
        parsed(calls.whose_key()[1], ["ox"])
