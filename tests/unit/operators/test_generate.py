"""The example of docs/operators.md returns what its page says, in each way of waiting."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from tests.conftest import ROOT

from .scene import Scene, all_modes, by_queue, paid_once

PAGE = (ROOT / "docs" / "operators.md").read_text()


@pytest.fixture
def example(mode: str) -> dict[str, Any]:
    """The arguments of the page's first example, but for its store and its way of waiting."""
    [code] = re.findall(r"```python\nImageGenerateOperator\((.*?)\n\)\n```", PAGE, re.DOTALL)
    call = ast.parse(f"f({code})", mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    elsewhere = ("task_id", "retries", "deferrable", "storage_path", "storage_conn_id")
    return {name: value for name, value in arguments.items() if name not in elsewhere}


def documented(where: str) -> set[str]:
    """Return the names in the page's list of facts of an image."""
    [names] = re.findall(rf"^- {re.escape(where)}.*?: `([^`]+)`", PAGE, re.MULTILINE)
    return set(names.split(", "))


@all_modes
def test_the_example_gives_the_documented_facts(scene: Scene, example: dict[str, Any], mode: str):
    played = scene.play(**example)

    assert paid_once(scene, played)
    [names] = re.findall(r"^`\{([^}]+)\}`\. Facts that are not known", PAGE, re.MULTILINE)
    told = {name.strip(' "').partition('"')[0] for name in re.sub(r": \[…\]", "", names).split(",")}
    unknown = {"generation_id", "cost"} if mode == "synchronous" else set()
    assert set(played.result) == told - unknown
    assert set(played.image) == documented("with `storage_path`")


@pytest.mark.parametrize(
    ("response_format", "where"),
    [("url", 'without it, with `response_format="url"`'), ("b64_json", "without it, with `b64_json`")],
)
@pytest.mark.parametrize("home", ["none"])
@all_modes
def test_without_a_place_it_gives_the_documented_facts(
    scene: Scene, example: dict[str, Any], response_format: str, where: str
):
    played = scene.play(**example, response_format=response_format)

    assert played.state == "success"
    assert scene.paid == 1
    assert set(played.image) == documented(where)


@by_queue
def test_the_example_tells_its_generation_as_documented(scene: Scene, example: dict[str, Any]):
    result = scene.play(**example).result

    pushed = dict(scene.xcoms)
    assert "to the XComs `generation_id` and `generation_link`" in PAGE.replace("\n", " ")
    assert pushed["generation_id"] == result["generation_id"]
    assert result["generation_id"] in pushed["generation_link"]


@all_modes
def test_a_finished_output_is_returned_without_asking_the_hub(scene: Scene, example: dict[str, Any]):
    scene.play(**example)
    asked = len(scene.hub.requests())

    again = scene.clear()

    assert again.result["reused"] is True
    assert len(scene.hub.requests()) == asked
    assert paid_once(scene, again)


def test_a_slip_in_a_parameters_name_is_an_error_before_anything_is_sent(
    scene: Scene, example: dict[str, Any]
):
    played = scene.play(**{**example, "model_params": {"aspect_ration": "16:9"}})

    assert played.state == "failed"
    assert scene.sent == 0
    assert "aspect_ratio" in played.error
