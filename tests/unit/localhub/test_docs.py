from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from airflow_provider_oxen.localhub.faults import Kind, Route, Shape

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "testing-your-dags.md").read_text()
WORDS = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))


@pytest.mark.parametrize(
    "names",
    [
        get_args(Kind),
        get_args(Route),
        get_args(Shape),
        [item.name for item in dataclasses.fields(Fault)],
        list(HubSettings.model_fields),
    ],
    ids=["kinds", "routes", "shapes", "fault", "settings"],
)
def test_page_names_everything_that_can_be_set(names):
    assert sorted(set(names) - WORDS - {"kind"}) == []


def test_page_calls_only_what_there_is():
    called = set(re.findall(r"\bhub\.(\w+)\(", PAGE))
    assert called
    assert called <= set(dir(LocalHub))


def test_examples_are_python():
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        compile(block, "testing-your-dags.md", "exec")
