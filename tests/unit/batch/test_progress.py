"""What the log tells of a batch at work, and how often."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from airflow_provider_oxen.batch.progress import Progress, Tally


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.INFO)
    return Clock()


def progress(total: int, clock: Clock) -> Progress:
    return Progress(Tally(total), logging.getLogger("batch"), lambda: "$1.50", clock)


@pytest.mark.parametrize(
    ("statuses", "seconds", "ended", "counts", "speed"),
    [
        (["generated"] * 5, 10, "5 of 20 prompts (25%)", "5 generated, 0 reused, 0 failed",
         "30 a minute, 30 s left"),
        (["failed"], 60, "1 of 20 prompts (5%)", "0 generated, 0 reused, 1 failed",
         "1 a minute, 19 min 0 s left"),
        (["unknown"], 600, "1 of 20 prompts (5%)", "0 generated, 0 reused, 0 failed, 1 unknown",
         "0 a minute, 3 h 10 min left"),
        ([], 60, "0 of 20 prompts (0%)", "0 generated, 0 reused, 0 failed", "0 a minute"),
        (["reused"] * 20, 60, "20 of 20 prompts (100%)", "0 generated, 20 reused, 0 failed", "20 a minute"),
    ],
)  # fmt: skip
def test_line_tells_counts_rate_time_left_and_cost(statuses, seconds, ended, counts, speed):
    tally = Tally(20)
    for status in statuses:
        tally.counts[status] += 1

    assert tally.line(seconds, 0, "$1.50") == f"{ended}: {counts}; {speed}; $1.50 so far."


def test_rows_that_wait_in_the_triggerer_are_counted_as_submitted():
    tally = Tally(2)
    tally.counts["waiting"] = 2

    assert "2 of 2 prompts (100%): 2 submitted, 0 reused" in tally.line(1, 0, "$0.00")


def test_line_comes_at_most_every_ten_seconds_and_at_each_step(clock, caplog):
    with progress(100, clock) as going:
        for number in range(1, 101):
            clock.now = number * 0.5
            going.tally.counts["generated"] += 1
            going.tick()

    assert [int(line.split()[0]) for line in caplog.messages] == [20, 40, 60, 80, 100]


def test_slow_batch_is_told_of_even_without_a_step(clock, caplog):
    with progress(10_000, clock) as going:
        going.tally.counts["generated"] += 1
        for second in range(1, 121):
            clock.now = second
            going.tick()

    assert len(caplog.messages) == 2


def test_last_line_tells_the_end_whenever_that_is(clock, caplog):
    with progress(10, clock) as going:
        going.tally.counts["generated"] += 1

    assert len(caplog.messages) == 1


def test_nothing_is_told_of_nothing(clock, caplog):
    with progress(10, clock) as going:
        going.tick()

    assert caplog.messages == []


def test_terminal_gets_a_bar(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress(10, clock) as going:
        going.tally.counts["generated"] += 1
        going.tally.counts["failed"] += 1
        going.tick()

    shown = terminal.getvalue()
    assert "prompts" in shown
    assert "2/10" in shown
    assert "1 failed, $1.50" in shown


def test_finished_batch_gets_no_bar(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(0, clock) as going:
        going.tick()

    assert terminal.getvalue() == ""
