"""What is counted, and that counting harms nobody."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen import metrics

ROOT = Path(__file__).resolve().parents[2]


class Stats:
    """Takes what is counted."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, dict[str, str]]] = []

    def take(self, name: str, value: float, tags: dict[str, str]) -> None:
        self.told.append((name, value, tags))

    incr = gauge = timing = take


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    stats = Stats()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", stats, raising=False)
    return stats


def image(**facts: Any) -> dict[str, Any]:
    return {"model": "z", "reused": False, "images": [{}, {}], **facts}


def test_an_image_that_was_generated_is_counted_with_its_cost_and_its_time(stats):
    metrics.image(image(cost=0.014), "queue", 0.0)

    tags = {"model": "z", "endpoint": "queue"}
    *counted, (name, took, timed) = stats.told
    assert counted == [("oxen.images.generated", 2, tags), ("oxen.cost.microdollars", 14_000, tags)]
    assert (name, timed) == ("oxen.images.latency", tags)
    assert took > 1e12


def test_an_image_that_was_there_is_counted_apart_and_costs_nothing(stats):
    metrics.image(image(reused=True, cost=0.014), "generate", 0.0)

    assert stats.told == [("oxen.images.reused", 2, {"model": "z", "endpoint": "generate"})]


def test_what_is_not_known_is_not_counted(stats):
    metrics.image(image(), "generate", None)

    assert [name for name, *_ in stats.told] == ["oxen.images.generated"]


def test_an_image_that_does_not_come_is_counted(stats):
    metrics.failed()

    assert stats.told == [("oxen.images.failed", 1, {})]


def test_only_later_tries_are_retries(stats):
    metrics.retried(1)
    metrics.retried(2)

    assert stats.told == [("oxen.retries", 1, {})]


def test_metrics_that_cannot_be_sent_are_no_error(monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no socket")

    stats = SimpleNamespace(incr=broken, gauge=broken, timing=broken)
    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", stats, raising=False)

    metrics.image(image(), "queue", 0.0)
    metrics.batch({"generated": 1, "reused": 0, "failed": 0, "cost": 0.0}, "queue", 1.0)
    metrics.waiting("oxen_default", 1)


@pytest.mark.parametrize("process", ["task", "triggerer", "before_3_2"])
def test_metrics_go_where_the_process_sends_them(process, monkeypatch):
    from airflow.providers.common.compat import sdk

    tasks = object()
    core: Any = ModuleType("stats_of_the_core")
    core.Stats, core._factory = object(), object if process == "triggerer" else None
    if process != "before_3_2":
        monkeypatch.setitem(sys.modules, core.__name__, core)
    monkeypatch.setattr(sdk, "Stats", tasks, raising=False)
    monkeypatch.setattr(metrics, "_CORE", core.__name__)

    assert metrics._stats() is (core.Stats if process == "triggerer" else tasks)


def test_the_page_tells_of_each():
    page = (ROOT / "docs" / "metrics.md").read_text()
    names = [
        value for value in vars(metrics).values() if isinstance(value, str) and value.startswith("oxen.")
    ]

    assert len(names) == 8
    for name in names:
        assert f"`{name}`" in page
