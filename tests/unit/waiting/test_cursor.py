"""A position in what ends: nothing twice, nothing left out, however the history is ordered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.waiting import cursor as module
from airflow_provider_oxen.waiting.cursor import DEEPEST, DEPTH, OVERLAP, REMEMBERED, Cursor

NOW = 1_800_000_000.0


def row(id: str, completed: float | None = None, enqueued: float | None = None, **more: Any) -> Generation:
    fields = {
        "generation_id": id.replace(" ", "_"),
        "status": "succeeded",
        "completed_at": completed,
        "enqueued_at": enqueued,
    }
    return Generation.model_validate(fields | more)


def ids(rows: list[Generation]) -> list[str]:
    return [item.generation_id for item in rows]


class TestTaking:
    def test_ends_come_in_their_order_and_once(self):
        cursor = Cursor(NOW)

        assert ids(cursor.take([row("b", NOW + 2), row("a", NOW + 1), row("b", NOW + 2)], NOW + 9)) == [
            "a",
            "b",
        ]
        assert cursor.take([row("a", NOW + 1)], NOW + 9) == []
        assert cursor.knows("a")
        assert not cursor.knows("c")

    def test_new_is_what_ended_since(self):
        cursor = Cursor(NOW + 0.9)

        assert cursor.is_new(row("of the same second, as whole seconds tell it", NOW))
        assert not cursor.is_new(row("before", NOW - 1))
        assert not cursor.is_new(row("running", NOW + 1, status="processing"))
        cursor.take([row("dealt with", NOW + 1)], NOW + 1)
        assert not cursor.is_new(row("dealt with", NOW + 1))

    def test_a_row_that_shows_late_is_new_still(self):
        cursor = Cursor(NOW)
        cursor.take([row("a", NOW + 5000)], NOW + 5000)

        assert cursor.since == NOW + 5000 - OVERLAP
        assert cursor.is_new(row("late", NOW + 5000 - OVERLAP))
        assert not cursor.is_new(row("too late", NOW + 5000 - OVERLAP - 1))

    def test_the_overlap_does_not_reach_before_the_start(self):
        cursor = Cursor(NOW)
        cursor.take([row("a", NOW + 10)], NOW + 10)

        assert cursor.since == NOW

    def test_the_position_stays_where_something_may_be_missing(self):
        cursor = Cursor(NOW)

        cursor.take([row("a", NOW + 5000)], NOW + 5000, hold=True)
        assert cursor.since == NOW

        cursor.take([], NOW + 5000)
        assert cursor.since == NOW + 5000 - OVERLAP

    @pytest.mark.parametrize("moment", [NOW * 1000, float("inf")])
    def test_a_time_in_the_future_does_not_move_it_there(self, moment):
        cursor = Cursor(NOW)
        cursor.take([row("a", moment)], NOW + 10)

        assert cursor.since == NOW

    def test_a_row_without_times_counts_as_of_now(self):
        cursor = Cursor(NOW)

        assert cursor.is_new(row("a"))
        assert cursor.is_new(row("b", float("nan"), NOW))
        assert not cursor.is_new(row("c", None, NOW - 1))

    def test_memory_is_bounded(self, monkeypatch):
        monkeypatch.setattr(module, "_KNOWN", 3)
        cursor = Cursor(NOW)

        taken = cursor.take([row(str(number), NOW + number) for number in range(6)], NOW + 10)
        for item in taken:
            cursor.mark_reported(item)

        # Those that are not remembered are not looked at again, but for the last one's second.
        assert [number for number in range(6) if cursor.is_new(row(str(number), NOW + number))] == [2]
        assert list(cursor.as_json()["told"]) == ["3", "4", "5"]


class TestDepth:
    def test_rows_are_read_as_far_down_as_one_may_have_been_asked_for(self):
        cursor = Cursor(NOW)
        assert cursor.floor == NOW - DEPTH

        cursor.note_unfinished(
            [row("a", None, NOW - DEPTH - 7, status="queued"), row("b", None, NOW, status="odd")]
        )
        assert cursor.floor == NOW - DEPTH - 7

        cursor.note_unfinished([row("b", None, NOW, status="processing"), row("c", status="queued")])
        assert cursor.floor == NOW - DEPTH

        cursor.note_unfinished([row("ended", NOW, NOW - DEEPEST)])
        assert cursor.floor == NOW - DEPTH

    def test_one_that_never_ends_is_given_up(self):
        cursor = Cursor(NOW)
        cursor.note_unfinished([row("a", None, 7.0, status="processing")])

        assert cursor.floor == NOW - DEEPEST


class TestKeeping:
    def told(self, number: int) -> Cursor:
        cursor = Cursor(NOW)
        for item in cursor.take([row(f"{n:036d}", NOW + n) for n in range(number)], NOW + 10_000):
            cursor.mark_reported(item)
        return cursor

    def test_a_position_survives(self):
        cursor = self.told(3)
        cursor.note_unfinished([row("a", None, NOW - DEPTH - 7, status="queued")])

        again = Cursor.from_json(json.loads(json.dumps(cursor.as_json())))

        assert again.as_json() == cursor.as_json()
        assert (again.since, again.floor) == (cursor.since, cursor.floor)
        assert again.knows(f"{2:036d}")

    def test_what_was_passed_over_is_not_kept(self):
        cursor = self.told(1)
        cursor.take([row("another model's", NOW + 1)], NOW + 10)

        assert list(cursor.as_json()["told"]) == [f"{0:036d}"]

    def test_what_is_not_looked_at_again_is_not_kept(self):
        cursor = self.told(2)
        cursor.take([row("later", NOW + 1 + OVERLAP)], NOW + 5000)

        assert list(cursor.as_json()["told"]) == [f"{1:036d}"]

    def test_it_stays_small(self):
        position = self.told(int(OVERLAP) + 1).as_json()

        assert len(json.dumps(position)) < 16_000
        assert len(position["told"]) == REMEMBERED
        again = Cursor.from_json(position)
        repeated = [n for n in range(int(OVERLAP) + 1) if again.is_new(row(f"{n:036d}", NOW + n))]
        assert repeated == [int(OVERLAP) - REMEMBERED]

    @pytest.mark.parametrize(
        "value",
        [
            "x",
            7,
            [],
            {},
            {"version": 2},
            {"version": 1, "start": "x", "latest": 0, "unfinished": None, "told": {}},
            {"version": 1, "start": 0, "latest": 0, "unfinished": None, "told": []},
            {"version": 1, "start": 1e300, "latest": 0, "unfinished": None, "told": {}},
        ],
    )
    def test_what_is_none_is_refused(self, value):
        with pytest.raises(ValueError, match="not a position"):
            Cursor.from_json(value)
