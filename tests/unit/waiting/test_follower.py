"""From a ring to what is told: the right ids, each once, whatever the history says and when."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenError, OxenGenerationNotFound, OxenServerError
from airflow_provider_oxen.api.models import Generation, HistoryPage
from airflow_provider_oxen.waiting import follower as module
from airflow_provider_oxen.waiting.cursor import DEPTH, OVERLAP, Cursor
from airflow_provider_oxen.waiting.follower import LATE, Filter, GenerationFollower

NOW = float(int(time.time()))


class History:
    """What the hub tells, newest first.

    :ivar asked: ids and pages that were asked for.
    :ivar agains: the further rings that were wished for.
    """

    lag = 0.0

    @property
    def listener(self) -> History:
        return self

    def __init__(self, *rows: Generation, size: int = 100, namespace: str | None = None) -> None:
        self.rows = list(rows)
        self.size = size
        self.of_connection = namespace
        self.asked: list[Any] = []
        self.agains: list[float] = []
        self.problem: Exception | None = None
        self.page_problem: Exception | None = None
        self.own: set[str] | None = None
        self.is_ordered = True

    async def namespace(self) -> str | None:
        if self.problem:
            raise self.problem
        return self.of_connection

    async def row(self, id: str) -> Generation:
        self.asked.append(id)
        if self.problem:
            raise self.problem
        for row in self.rows:
            if row.generation_id == id:
                return row
        raise OxenGenerationNotFound("Generation not found")

    async def page(self, namespace: str | None, number: int) -> HistoryPage:
        self.asked.append((namespace, number))
        if self.page_problem:
            raise self.page_problem
        rows = [row for row in self.rows if self.own is None or row.generation_id in self.own]
        if self.is_ordered:
            rows.sort(key=lambda row: -(row.enqueued_at or 0))
        pages = -(-len(rows) // self.size)
        return HistoryPage(
            generations=[row.model_dump() for row in rows[(number - 1) * self.size : number * self.size]],
            total_pages=pages,
        )

    def again(self, seconds: float) -> None:
        self.agains.append(seconds)

    def ring(self, *told: Generation, connected: bool = False) -> Any:
        self.ended, self.connected = told, connected
        return self


def row(id: str, completed: float | None = NOW, enqueued: float | None = NOW, **more: Any) -> Generation:
    fields = {"generation_id": id, "status": "succeeded", "model": "z", "completed_at": completed}
    return Generation.model_validate(fields | {"enqueued_at": enqueued} | more)


def told(id: str, status: str = "succeeded") -> Generation:
    return Generation.model_validate(
        {"generation_id": id, "status": status, "url": "https://f.example/a?s=1"}
    )


def follower(
    start: float = NOW - 60, namespace: str | None = None, models: tuple[str, ...] = (), statuses: Any = None
) -> GenerationFollower:
    wanted = Filter(namespace, frozenset(models), frozenset(statuses or ["succeeded"]))
    return GenerationFollower(wanted, Cursor(start))


async def hear(follower: GenerationFollower, ring: Any) -> list[str]:
    return [row.generation_id for row in await follower.follow(ring)]


async def caught_up(history: History, **arguments: Any) -> GenerationFollower:
    following = follower(**arguments)
    await following.follow(history.ring(connected=True))
    history.asked.clear()
    return following


class TestCatchingUp:
    async def test_a_hub_whose_clock_is_behind_is_heard_all_the_same(self):
        then = NOW - 7200
        rows = [row("b", then, then), row("a", then - 5, then - 5), row("before", then - 61, then - 61)]
        history = History(*rows, row("c", None, then - 10, status="queued"))
        history.lag = 7200.0
        following = follower()

        assert await hear(following, history.ring(connected=True)) == ["a", "b"]
        assert following.cursor.since == NOW - 60
        assert following.cursor.as_json()["unfinished"] == NOW - 10

    async def test_what_ended_since_is_told_in_the_order_of_the_ends(self):
        history = History(
            row("b", NOW), row("a", NOW - 5), row("before", NOW - 61), row("c", status="queued")
        )

        assert await hear(follower(), history.ring()) == ["a", "b"]
        assert await hear(follower(), history.ring(connected=True)) == ["a", "b"]

    async def test_once(self):
        history = History(row("a"))
        someone = follower()

        assert await hear(someone, history.ring(connected=True)) == ["a"]
        assert await hear(someone, history.ring(connected=True)) == []

    async def test_a_ring_that_is_of_no_concern_asks_nothing(self):
        history = History()
        someone = await caught_up(history)

        assert await hear(someone, history.ring()) == []
        assert history.asked == []

    async def test_pages_are_read_as_far_down_as_one_may_have_been_asked_for(self):
        rows = [row(f"{n}", NOW - n, NOW - n * 3600) for n in range(12)]
        history = History(*rows, row("old", NOW - 59, NOW - DEPTH - 59), size=2)

        # Ten rows are on the pages whose newest is not too old.
        assert len(await hear(follower(), history.ring())) == 10
        assert history.asked == [(None, number) for number in range(1, 6)]

    async def test_one_that_was_seen_unfinished_is_found_however_deep(self):
        slow = row("slow", None, NOW - 3 * DEPTH, status="processing")
        many = [row(f"{n}", NOW - 100, NOW - n * 3600) for n in range(30)]
        history = History(*many, slow, size=5)
        someone = follower(NOW - 3 * DEPTH)
        await someone.follow(history.ring())

        history.rows[-1] = row("slow", NOW, NOW - 3 * DEPTH)

        assert await hear(someone, history.ring(connected=True)) == ["slow"]

    async def test_an_old_row_out_of_order_ends_no_search(self):
        history = History(row("a"), row("old", NOW - 9 * DEPTH, NOW - 9 * DEPTH), row("b"), size=2)
        history.is_ordered = False

        assert await hear(follower(), history.ring()) == ["a", "b"]

    async def test_rows_without_a_time_of_their_order_end_no_search(self):
        history = History(*[row(f"{n}", NOW, None) for n in range(3)], size=1)

        assert len(await hear(follower(), history.ring())) == 3

    async def test_a_history_without_end_is_left(self, monkeypatch, caplog):
        monkeypatch.setattr(module, "PAGES", 2)
        history = History(*[row(f"{n}") for n in range(3)], size=1)
        someone = follower()

        assert len(await hear(someone, history.ring())) == 2
        assert not someone.is_behind
        assert "Only the newest 2 pages" in caplog.text

    async def test_an_empty_page_is_the_last(self):
        history = History()
        history.page = empty  # type: ignore[method-assign]

        assert await hear(follower(), history.ring()) == []

    async def test_connections_namespace_is_asked_for(self):
        history = History(namespace="team")
        someone = follower()
        await someone.follow(history.ring())

        assert history.asked == [("team", 1)]
        assert someone.namespace == "team"


async def empty(namespace: str | None, number: int) -> HistoryPage:
    assert number == 1
    return HistoryPage(generations=[], total_pages=None)


class TestRinging:
    async def test_what_the_stream_tells_is_looked_up_by_its_id(self):
        history = History()
        someone = await caught_up(history)
        # Long before the position: its end was told just now.
        history.rows = [row("a", NOW - 5000, cost="0.01"), row("b")]

        [found] = await someone.follow(history.ring(told("a")))

        assert (found.generation_id, found.charged) == ("a", 0.01)
        assert history.asked == ["a"]
        assert await hear(someone, history.ring(told("a"))) == []
        assert history.asked == ["a"]

    async def test_status_and_model_are_chosen(self):
        history = History()
        someone = await caught_up(history, models=("z",), statuses=["failed"])
        history.rows = [row("z", status="failed"), row("y", model="y", status="failed"), row("ok")]

        rung = [told("z", "failed"), told("y", "failed"), told("ok")]
        assert await hear(someone, history.ring(*rung)) == ["z"]
        assert history.asked == ["z", "y"]

    async def test_cancelled_ones_are_seen_with_the_next_catching_up(self):
        history = History(row("a", status="cancelled"))

        assert await hear(follower(statuses=["cancelled"]), history.ring()) == ["a"]

    async def test_a_row_that_lags_is_asked_for_again(self):
        history = History()
        someone = await caught_up(history)
        history.rows = [row("a", None, status="processing")]

        assert await hear(someone, history.ring(told("a"), told("b"))) == []
        history.rows = [row("a"), row("b")]
        assert await hear(someone, history.ring()) == ["a", "b"]
        assert history.agains == [LATE[0]] * 2

    async def test_what_the_history_never_shows_is_told_as_the_stream_tells_it(self):
        history = History()
        someone = await caught_up(history)

        heard = [await hear(someone, history.ring(told("a"))) for _ in range(len(LATE) + 1)]

        assert heard == [[]] * len(LATE) + [["a"]]
        assert history.agains == list(LATE)
        assert await hear(someone, history.ring(told("a"))) == []

    async def test_a_broken_row_keeps_nothing_else_back(self):
        history = History()
        someone = await caught_up(history)
        history.rows = [row("a"), row("b")]
        history.row = broken  # type: ignore[method-assign]

        assert await hear(someone, history.ring(told("a"))) == ["a", "b"]
        assert not someone.is_behind


async def broken(id: str) -> Generation:
    raise OxenServerError("The hub answered 'broken'.")


class TestNamespaces:
    async def test_a_row_that_tells_another_is_left_alone(self):
        history = History()
        someone = await caught_up(history, namespace="team")
        history.rows = [row("a", target_namespace="team"), row("b", target_namespace="others")]

        assert await hear(someone, history.ring(told("a"), told("b"))) == ["a"]
        assert history.asked == ["a", "b"]
        assert history.agains == []

    async def test_a_row_that_tells_none_is_looked_for_in_the_list(self):
        history = History(size=1)
        someone = await caught_up(history, namespace="team")
        history.rows = [row("a", enqueued=NOW + 1), row("b", enqueued=NOW + 2), row("c", enqueued=NOW - 1)]
        history.own = {"a", "c"}

        assert await hear(someone, history.ring(told("a"), told("b"))) == ["a", "c"]
        assert history.asked == ["a", "b", ("team", 1), ("team", 2)]
        for _ in LATE:
            assert await hear(someone, history.ring()) == []
        assert history.agains == list(LATE)
        history.asked.clear()
        assert await hear(someone, history.ring()) == []
        assert history.asked == []

    async def test_the_list_is_read_until_it_is_found(self):
        history = History(size=1)
        someone = await caught_up(history, namespace="team")
        history.rows = [row(f"{n}", enqueued=NOW - n) for n in range(5)]

        assert await hear(someone, history.ring(told("1"))) == ["0", "1"]
        assert history.asked == ["1", ("team", 1), ("team", 2)]


class TestTroubles:
    async def test_what_could_not_be_looked_up_is_looked_up_later(self, caplog):
        history = History()
        someone = await caught_up(history)
        history.rows = [row("missed"), row("a")]
        history.problem = history.page_problem = OxenServerError("The hub answered 'https://h/a?sig=1'.")

        assert await hear(someone, history.ring(told("a"), connected=True)) == []
        assert await hear(someone, history.ring()) == []
        assert someone.is_behind
        assert history.agains == [2.0, 4.0]
        assert "Looking again for what has ended in 2 s." in caplog.text

        history.problem = history.page_problem = None
        assert sorted(await hear(someone, history.ring())) == ["a", "missed"]
        assert not someone.is_behind

    async def test_a_gap_stays_open_until_it_was_looked_at(self):
        """What was told meanwhile must not move the position past what was missed."""
        history = History()
        someone = await caught_up(history, start=NOW - 5 * OVERLAP)
        history.rows = [row("missed", NOW - 3 * OVERLAP), row("a")]
        history.page_problem = OxenServerError("The hub answered 'later'.")

        assert await hear(someone, history.ring(told("a"), connected=True)) == ["a"]
        history.page_problem = None
        assert await hear(someone, history.ring()) == ["missed"]

    async def test_pauses_grow_to_a_limit(self):
        history = History()
        history.page_problem = OxenError("x")
        someone = follower()
        for _ in range(8):
            await someone.follow(history.ring())

        assert history.agains == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]

    async def test_errors_that_nobody_foresaw_pass_too(self, caplog):
        history = History()
        history.page_problem = RuntimeError("see https://f.example/a?X-Signature=s")

        assert await hear(follower(), history.ring()) == []
        assert "RuntimeError: see https://f.example/a Looking" in caplog.text

    async def test_a_history_that_takes_for_ever(self, monkeypatch, caplog):
        monkeypatch.setattr(module, "TIMEOUT", 0.01)
        history = History()

        async def never(namespace: str | None, number: int) -> HistoryPage:
            await asyncio.Event().wait()
            raise AssertionError

        history.page = never  # type: ignore[method-assign]
        someone = follower()

        assert await hear(someone, history.ring()) == []
        assert someone.is_behind
        assert "The history was not read within 0.01 s." in caplog.text


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
