"""Rows that ask at once share one reading of the hub's lists, and never one that began too early."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenUnavailable
from airflow_provider_oxen.batch import shared
from airflow_provider_oxen.batch.shared import SharedLookup

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def all_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "is_candidate", lambda body, row: True)


def lookup(lists: Lists) -> Any:
    return SharedLookup(lists.read)


def record(namespace: str | None = None) -> Any:
    return SimpleNamespace(namespace=namespace, body={})


class Lists:
    """The hub's lists: each reading gives its number, and may be held up."""

    def __init__(self) -> None:
        self.readings: list[tuple[str | None, int]] = []
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, namespace: str | None, records: Sequence[Any]) -> list[Any]:
        self.readings.append((namespace, len(records)))
        number = len(self.readings)
        self.reading.set()
        await self.go_on.wait()
        if self.error:
            raise self.error
        return [number]


async def test_who_asks_during_a_reading_waits_for_the_next_and_shares_it():
    lists = Lists()
    one = lookup(lists)
    first = asyncio.create_task(one.rows(record()))
    await lists.reading.wait()
    later = [asyncio.create_task(one.rows(record())) for _ in range(4)]
    await asyncio.sleep(0)
    lists.go_on.set()

    assert await first == [1]
    assert await asyncio.gather(*later) == [[2]] * 4
    assert lists.readings == [(None, 1), (None, 4)]


async def test_each_namespace_is_read_for_itself():
    lists = Lists()
    lists.go_on.set()
    one = lookup(lists)

    assert (await one.rows(record("a")), await one.rows(record("b"))) == ([1], [2])
    assert lists.readings == [("a", 1), ("b", 1)]


async def test_reading_that_fails_fails_all_who_asked_and_nobody_else():
    lists = Lists()
    lists.go_on.set()
    lists.error = OxenUnavailable("The hub is down.")
    one = lookup(lists)
    with pytest.raises(OxenUnavailable, match="The hub is down"):
        await one.rows(record())
    lists.error = None

    assert await one.rows(record()) == [2]


async def test_reader_that_is_called_off_leaves_the_reading_to_the_next_who_asked_the_same():
    lists = Lists()
    one = lookup(lists)
    asking = [asyncio.create_task(one.rows(record())) for _ in range(2)]
    await lists.reading.wait()
    asking[0].cancel()
    lists.go_on.set()

    assert await asking[1] == [2]
