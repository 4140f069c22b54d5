"""The hub's clock, as far as its answers prove it."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from airflow_provider_oxen.api.clock import BELIEVED, MAX_RETRY_AFTER, Clock, read_date, retry_after

NOW = 1_780_000_000.0
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def heard(*answers: tuple[float, float, str | float], **headers: str) -> Clock:
    """Return a clock that heard answers: seconds from now when sent and when come, and the date in them."""
    clock = Clock()
    for sent, came, date in answers:
        text = date if isinstance(date, str) else email.utils.formatdate(NOW + date, usegmt=True)
        clock.update({"date": text, **headers}, NOW + sent, NOW + came)
    return clock


@pytest.mark.parametrize("date", [-1, 0, 1])
def test_clocks_that_may_be_equal_are(date):
    assert heard((-0.9, 1.1, date)).ahead == 0.0


@pytest.mark.parametrize(
    ("date", "ahead"), [(-7200, -7199.0), (-10, -9.0), (3600, 3599.5)], ids=["behind", "a little", "ahead"]
)
def test_clocks_differ_by_what_is_proved(date, ahead):
    assert heard((0.0, 0.5, date)).ahead == ahead


def test_a_slow_answer_proves_less():
    assert heard((0.0, 30.0, -20)).ahead == -19.0
    assert heard((0.0, 30.0, 20)).ahead == 0.0


def test_the_latest_answer_counts():
    assert heard((0.0, 0.0, -7200), (5.0, 5.0, 5)).ahead == 0.0
    assert heard((0.0, 0.0, -7200), (5.0, 5.0, "")).ahead == -7199.0


@pytest.mark.parametrize(
    "date",
    [
        "",
        "soon",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        -BELIEVED - 60,
        BELIEVED + 60,
    ],
)
def test_a_date_that_makes_no_sense_is_not_believed(date):
    assert heard((0.0, 0.0, date)).ahead == 0.0


def test_an_answer_out_of_a_cache_tells_no_time():
    assert heard((0.0, 0.0, -7200), age="7100").ahead == 0.0


def test_a_clock_of_ours_that_was_set_meanwhile_proves_nothing():
    assert heard((0.0, -3600.0, 0)).ahead == 0.0


def test_only_a_lag_is_made_up_for():
    assert heard((0.0, 0.0, -7200)).lag == 7199.0
    assert heard((0.0, 0.0, 7200)).lag == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("86400", MAX_RETRY_AFTER),
        ("9" * 100, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Tue, 01 Sep 2026 12:00:30 GMT", 30.0),
        ("Tue, 01 Sep 2026 14:00:30 +0200", 30.0),
        ("Tue, 01 Sep 2026 12:00:30 -0000", 30.0),
        ("Tue, 01 Sep 2026 12:00:30", 30.0),
        ("Tuesday, 01-Sep-26 12:00:30 GMT", 30.0),
        ("Tue, 01 Sep 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("9" * 10_000, None),
        ("5, 5", None),
        ("1e3", None),
        ("٥", None),
        ("Tue, 41 Sep 2026 12:00:30 GMT", None),
        ("Tue, 01 Sep 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    with time_machine.travel(NOON, tick=False):
        assert retry_after({"retry-after": text}) == seconds


def test_date_to_come_back_at_is_by_the_hubs_clock():
    """A worker whose clock is ahead would come back at once, one whose clock is late after an hour."""
    asked = {"retry-after": "Tue, 01 Sep 2026 12:00:30 GMT", "date": "Tue, 01 Sep 2026 12:00:00 GMT"}

    for hours in (-5, 0, 5):
        with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
            assert retry_after(asked) == 30.0


@pytest.mark.parametrize(
    "date", ["", "now", "0", "Tue, 41 Sep 2026", "Tue, 01 Sep 99999999999 12:00:30 GMT", "x" * 9999]
)
def test_what_is_no_date_is_none(date):
    assert read_date(date) is None


def test_retry_after_is_unknown_where_the_header_is_missing():
    assert retry_after({}) is None
