"""Threads that work on rows."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_provider_oxen.batch.pool import Pool


class Ended(BaseException):
    pass


def test_items_are_worked_on_side_by_side_and_no_more_than_so_many():
    together, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.01)
        with lock:
            together -= 1
        return item * item

    made = sorted(Pool(3, work).map(range(20), ahead=6))

    assert made == [item * item for item in range(20)]
    assert most == 3


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for item in range(10):
            taken.append(item)
            yield item

    made = Pool(2, str).map(items(), ahead=4)
    next(made)

    assert len(taken) <= 4
    assert sorted(made) == sorted({str(item) for item in range(10)} - {"0"})


def test_what_the_work_raises_comes_out_and_the_threads_end():
    def work(item: int) -> int:
        raise Ended(item)

    before = threading.active_count()
    with pytest.raises(Ended):
        list(Pool(2, work).map([1, 2, 3], ahead=1))
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)

    assert threading.active_count() <= before


def test_nothing_comes_of_a_pool_that_is_at_work():
    going = threading.Event()
    pool = Pool(1, lambda item: going.wait(10))
    pool.give(1)

    assert pool.take(0.01) is None
    going.set()
    assert pool.take(10) is True
    assert pool.in_hand == 0
    pool.close()
