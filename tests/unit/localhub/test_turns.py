from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub.turns import Turns


def test_a_thousand_calls_of_a_second_at_64_at_a_time_take_16_waves():
    turns = Turns()
    ends = [turns.take(100.0, 1.0, 64) for _ in range(1000)]
    assert ends == sorted(ends)
    assert [ends.count(wave) for wave in range(1, 17)] == [64] * 15 + [40]


def test_any_number_is_worked_on_at_once_where_nothing_is_set():
    turns = Turns()
    assert {turns.take(0.0, 2.0, None) for _ in range(100)} == {2.0}


def test_who_comes_when_another_has_ended_does_not_wait():
    turns = Turns()
    assert turns.take(0.0, 5.0, 1) == 5.0
    assert turns.take(5.0, 5.0, 1) == 5.0


def test_the_next_turn_begins_at_the_end_that_comes_first():
    turns = Turns()
    turns.take(0.0, 9.0, 2)
    turns.take(0.0, 4.0, 2)
    assert turns.take(1.0, 2.0, 2) == 5.0
    assert turns.take(1.0, 2.0, 2) == 7.0
    assert turns.take(1.0, 2.0, 2) == 9.0
    assert turns.take(1.0, 2.0, 2) == 10.0


@pytest.mark.parametrize(("at_once", "wait"), [(4, 1.0), (3, 2.0), (2, 3.0), (1, 4.0)])
def test_another_limit_holds_from_the_next_call_on(at_once, wait):
    turns = Turns()
    for seconds in (1.0, 2.0, 3.0):
        turns.take(0.0, seconds, None)
    assert turns.take(0.0, 1.0, at_once) == wait
