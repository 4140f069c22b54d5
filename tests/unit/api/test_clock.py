"""The hub's clock, as far as its answers prove it."""

from __future__ import annotations

import email.utils

import pytest

from airflow_provider_oxen.api.clock import BELIEVED, Clock

NOW = 1_780_000_000.0


def heard(*answers: tuple[float, float, str | float], **headers: str) -> Clock:
    """Return a clock that heard answers: seconds from now when sent and when come, and the date in them."""
    clock = Clock()
    for sent, came, date in answers:
        text = date if isinstance(date, str) else email.utils.formatdate(NOW + date, usegmt=True)
        clock.heard({"date": text, **headers}, NOW + sent, NOW + came)
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
