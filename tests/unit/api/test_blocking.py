"""Async code without a loop, and blocking code beside one."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from airflow_provider_oxen.api.blocking import Threads, unsuspended


async def value(given: Any) -> Any:
    return given


def test_coroutine_that_never_waits_needs_no_loop():
    assert unsuspended(value(3)) == 3


def test_coroutine_that_waits_is_a_mistake():
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits for an event loop"):
        unsuspended(waits())


def test_error_of_the_coroutine_is_its_own():
    async def fails() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        unsuspended(fails())


def test_threads_are_begun_where_they_are_needed_and_no_more_than_that():
    threads, began = Threads(2, "test-threads"), threading.Barrier(3)

    assert threads.submit(sum, [1, 2]).result(5) == 3
    assert threads.submit(sum, [1, 2]).result(5) == 3
    both = [threads.submit(began.wait, 5) for _ in range(2)]
    began.wait(5)
    more = [threads.submit(threading.get_ident) for _ in range(8)]

    assert [future.result(5) for future in both]
    assert len({future.result(5) for future in more}) <= 2
    threads.shutdown()


def test_what_the_work_raises_comes_out_and_the_thread_goes_on():
    class Struck(BaseException):
        pass

    def struck() -> None:
        raise Struck

    threads = Threads(1, "test-threads")

    with pytest.raises(Struck):
        threads.submit(struck).result(5)
    assert threads.submit(int).result(5) == 0
    threads.shutdown()


def test_work_that_was_called_off_is_not_begun():
    done: list[int] = []
    threads, go_on = Threads(1, "test-threads"), threading.Event()
    threads.submit(go_on.wait, 5)
    called_off = threads.submit(done.append, 1)
    assert called_off.cancel()
    go_on.set()

    assert threads.submit(len, done).result(5) == 0
    threads.shutdown()


def test_what_is_made_of_many_items_comes_in_their_order():
    threads = Threads(2, "test-threads")

    assert list(threads.each(str, range(40))) == [str(number) for number in range(40)]
    threads.shutdown()
