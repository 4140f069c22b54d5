"""A stream stands in for the list only after it has told an end, and while it has missed none."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.waiting.trust import WITHIN, StreamTrust


def opened(*unfinished: str) -> StreamTrust:
    """Trust in a stream that was opened before a list showed these unfinished."""
    trust = StreamTrust()
    trust.opened()
    trust.listed(set(unfinished), trust.opening)
    return trust


def proved(*unfinished: str) -> StreamTrust:
    trust = opened("first", *unfinished)
    trust.reported("first", is_waited_for=True)
    trust.ended("first", "succeeded", 0.0)
    trust.forget("first")
    assert trust.holds(0.0)
    return trust


def test_one_that_was_only_opened_is_not_trusted():
    assert not StreamTrust().holds(0.0)
    assert not opened("a").holds(0.0)


def test_an_event_alone_proves_nothing():
    """It may name any id: only the row of a job that somebody waits for shows that it was true."""
    trust = opened("a")
    assert trust.reported("a", is_waited_for=True)
    assert not trust.reported("nobody-knows", is_waited_for=False)

    assert not trust.holds(0.0)
    trust.ended("nobody-knows", "succeeded", 0.0)
    assert not trust.holds(0.0)
    trust.ended("a", "failed", 0.0)
    assert trust.holds(0.0)


def test_an_event_that_is_repeated_is_no_news():
    trust = opened("a")

    assert [trust.reported("a", is_waited_for=True) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("change", [StreamTrust.lost, StreamTrust.opened])
def test_one_that_was_lost_or_opened_anew_begins_anew(change):
    trust = proved("a")

    change(trust)

    assert not trust.holds(0.0)
    # What ended meanwhile was not told, and is no fault of the stream.
    trust.ended("a", "succeeded", 0.0)
    trust.reported("b", is_waited_for=True)
    trust.ended("b", "succeeded", 0.0)
    assert trust.holds(10 * WITHIN)


class TestAnEndThatIsNotTold:
    def test_ends_the_trust_after_a_while_and_until_the_stream_is_opened_anew(self):
        trust = proved("a", "b")
        trust.ended("a", "succeeded", 100.0)
        trust.ended("a", "succeeded", 103.0)

        assert trust.holds(100.0 + WITHIN - 0.1)
        assert not trust.holds(100.0 + WITHIN)
        trust.reported("b", is_waited_for=True)
        trust.ended("b", "succeeded", 110.0)
        assert not trust.holds(110.0)
        trust.opened()
        trust.reported("c", is_waited_for=True)
        trust.ended("c", "succeeded", 120.0)
        assert trust.holds(120.0)

    def test_counts_when_the_next_list_shows_that_the_job_has_left_it(self):
        trust = proved("a", "b")
        trust.listed({"b"}, trust.opening)
        trust.ended("a", "succeeded", 100.0)

        assert not trust.holds(100.0 + WITHIN)

    def test_may_be_told_a_little_later_when_nobody_waits_any_more(self):
        trust = proved("a")
        trust.ended("a", "failed", 100.0)
        trust.forget("a")

        trust.reported("a", is_waited_for=False)

        assert trust.holds(100.0 + WITHIN)

    def test_counts_of_jobs_that_the_list_showed_after_the_stream_was_opened(self):
        trust = proved()
        opening = trust.opening
        trust.ended("not listed", "succeeded", 0.0)
        trust.opened()
        trust.listed({"listed before"}, opening)
        trust.ended("listed before", "succeeded", 0.0)
        trust.reported("b", is_waited_for=True)
        trust.ended("b", "succeeded", 0.0)

        assert trust.holds(10 * WITHIN)

    def test_does_not_count_where_the_job_was_cancelled(self):
        trust = proved("a")

        trust.ended("a", "cancelled", 0.0)

        assert trust.holds(10 * WITHIN)

    def test_does_not_count_where_the_job_had_ended_for_somebody_before(self):
        trust = proved("a")
        trust.reported("a", is_waited_for=True)
        trust.ended("a", "succeeded", 0.0)
        trust.forget("a")

        # Somebody comes late, and looks at its row.
        trust.ended("a", "succeeded", 1.0)

        assert trust.holds(10 * WITHIN)
