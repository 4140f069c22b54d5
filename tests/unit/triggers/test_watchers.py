"""A position is kept with each asset that is watched, and "could not be read" is never "none"."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_oxen.waiting.cursor import Cursor

pytest.importorskip("airflow.triggers.shared_stream", reason="Airflow shares streams from 3.3 on")

from airflow_provider_oxen.triggers import _watchers
from airflow_provider_oxen.triggers._watchers import Positions

KEY = "oxen-events:1"


class Blocking:
    """As Airflow 3.3.0 and 3.3.1 hand it out."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.problems: list[Exception] = []
        self.writes = 0

    def get(self, key: str) -> Any:
        assert key == KEY
        if self.problems:
            raise self.problems.pop()
        return self.value

    def set(self, key: str, value: Any) -> None:
        assert key == KEY
        if self.problems:
            raise self.problems.pop()
        self.value = value
        self.writes += 1


class Store(Blocking):
    """As Airflow 3.3.2 does."""

    async def aget(self, key: str) -> Any:
        return Blocking.get(self, key)

    async def aset(self, key: str, value: Any) -> None:
        Blocking.set(self, key, value)

    get = set = None  # type: ignore[assignment]


class Accessors:
    """What a trigger gets that serves several assets; only one at a time may be asked without a name."""

    def __init__(self, **stores: Store) -> None:
        self._by_name = stores
        self._by_uri: dict[str, Store] = {}

    async def aget(self, key: str) -> Any:
        raise ValueError("which?")


def position(start: float) -> dict[str, Any]:
    return Cursor(start).as_json()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchers, "_PAUSES", (0.0, 0.001))


@pytest.mark.parametrize("kind", [Store, Blocking])
async def test_what_was_saved_is_loaded(kind):
    store = kind()

    await Positions(store, KEY).save(position(7))

    assert (await Positions(store, KEY).load(60)).since == 7


@pytest.mark.parametrize("store", [None, Store()])
async def test_without_one_it_begins_so_long_ago(store):
    before = int(time.time())

    cursor = await Positions(store, KEY).load(60)

    assert before - 60 <= cursor.since <= time.time() - 60


async def test_what_has_not_changed_is_not_written_again():
    store = Store()
    positions = Positions(store, KEY)

    for start in (7, 7, 8):
        await positions.save(position(start))

    assert store.writes == 2


async def test_several_assets_move_together():
    one, other = Store(position(7)), Store()
    positions = Positions(Accessors(one=one, other=other), KEY)

    assert (await positions.load(60)).since == 7
    await positions.save(position(8))

    assert one.value == other.value == position(8)


async def test_the_newest_of_several_counts():
    accessors = Accessors(one=Store(position(7)), other=Store(position(9)), third=Store(position(8)))

    assert (await Positions(accessors, KEY).load(60)).since == 9


async def test_one_that_cannot_be_used_is_told_of(caplog):
    cursor = await Positions(Store({"version": 99}), KEY).load(60)

    assert cursor.since > time.time() - 70
    assert "A watcher's position cannot be used: not a position" in caplog.text


async def test_one_that_cannot_be_read_is_waited_for(caplog):
    store = Store(position(7))
    store.problems = [RuntimeError("see https://f.example/a?X-Signature=s")] * 3

    assert (await Positions(store, KEY).load(60)).since == 7
    assert "cannot be read: RuntimeError: see https://f.example/a Trying again in 0 s." in caplog.text
    assert caplog.text.count("Trying again") == 3


async def test_one_that_cannot_be_kept_is_kept_the_next_time(caplog):
    store = Store()
    store.problems = [RuntimeError("database is locked")]
    positions = Positions(store, KEY)

    await positions.save(position(7))
    assert "A watcher's position was not kept: RuntimeError: database is locked" in caplog.text

    await positions.save(position(7))
    assert store.value == position(7)
