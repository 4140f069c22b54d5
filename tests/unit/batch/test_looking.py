"""Rows that ask at once share one reading of the hub's lists, and never one that began too early."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenUnavailable
from airflow_provider_oxen.batch import looking
from airflow_provider_oxen.batch.looking import Looking


@pytest.fixture(autouse=True)
def all_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "may_matter", lambda body, row: True)


def record(namespace: str | None = None) -> Any:
    return SimpleNamespace(namespace=namespace, body={})


class Lists:
    """The hub's lists: each reading gives its number, and may be held up."""

    def __init__(self) -> None:
        self.readings: list[tuple[str | None, int]] = []
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def read(self, namespace: str | None, records: list[Any]) -> list[Any]:
        self.readings.append((namespace, len(records)))
        number = len(self.readings)
        self.reading.set()
        assert self.go_on.wait(10)
        if self.error:
            raise self.error
        return [number]


def test_who_asks_during_a_reading_waits_for_the_next_and_shares_it():
    lists = Lists()
    one = Looking(lists.read)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(one.rows, record())
        assert lists.reading.wait(10)
        later = [threads.submit(one.rows, record()) for _ in range(4)]
        while sum(len(question.records) for question in one._open.values()) < 4:
            pass
        lists.go_on.set()

        assert first.result() == [1]
        assert [answer.result() for answer in later] == [[2]] * 4
    assert lists.readings == [(None, 1), (None, 4)]


def test_each_namespace_is_read_for_itself():
    lists = Lists()
    lists.go_on.set()
    one = Looking(lists.read)

    assert (one.rows(record("a")), one.rows(record("b"))) == ([1], [2])
    assert lists.readings == [("a", 1), ("b", 1)]


def test_reading_that_fails_fails_all_who_asked_and_nobody_else():
    lists = Lists()
    lists.go_on.set()
    lists.error = OxenUnavailable("The hub is down.")
    one = Looking(lists.read)
    with pytest.raises(OxenUnavailable, match="The hub is down"):
        one.rows(record())
    lists.error = None

    assert one.rows(record()) == [2]
