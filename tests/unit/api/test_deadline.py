"""The nearest deadline holds, and it can be stopped and given more."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from airflow_provider_oxen.api import deadline
from airflow_provider_oxen.api.deadline import Deadline


class Time:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def test_nothing_limits_what_has_no_deadline():
    assert deadline.left() == float("inf")


def test_the_nearest_holds(clock):
    with Deadline(10):
        with Deadline(30):
            clock.now = 4
            assert deadline.left() == 6
        with Deadline(2):
            assert deadline.left() == 2
        assert deadline.left() == 6
    assert deadline.left() == float("inf")


def test_it_can_be_stopped_and_counted_anew(clock):
    with Deadline(10) as inner:
        clock.now = 9
        inner.suspend()
        clock.now = 1000
        assert deadline.left() == float("inf")
        inner.restart()
        assert deadline.left() == 10


def test_what_brings_something_gets_more(clock):
    with Deadline(10) as inner:
        clock.now = 9
        inner.allow(5)
        assert deadline.left() == 6


@pytest.mark.asyncio
async def test_async_work_is_ended():
    with pytest.raises(httpx.ReadTimeout, match=r"not done within 0\.001 s"):
        async with Deadline(0.001):
            await asyncio.sleep(60)


@pytest.mark.asyncio
async def test_async_work_is_not_ended_while_nothing_counts():
    async with Deadline(0.001) as inner:
        inner.suspend()
        await asyncio.sleep(0.01)
        inner.restart()


@pytest.mark.asyncio
async def test_async_work_that_brings_something_gets_more():
    async with Deadline(0.001) as inner:
        inner.allow(60)
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_error_of_the_work_is_its_own():
    with pytest.raises(TimeoutError, match="another's"):
        async with Deadline(60):
            raise TimeoutError("another's")
