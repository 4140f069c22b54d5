"""What may be sent again, and when."""

from __future__ import annotations

from typing import Any

import pytest
import tenacity

from airflow_provider_oxen.api import errors, retries
from airflow_provider_oxen.api.errors import OxenDownloadError, OxenError, OxenRateLimited, OxenUnavailable

CLASSES = [getattr(errors, name) for name in errors.__all__]
REPEATED = {"OxenConnectionError", "OxenRateLimited", "OxenUnavailable", "OxenServerError"}


class Work:
    """Fails as told, then succeeds, and remembers.

    :ivar tries: how often it was tried.
    :ivar slept: the seconds in between.
    """

    def __init__(self, *failures: BaseException) -> None:
        self.tries = 0
        self.slept: list[float] = []
        self._failures = list(failures)

    def __call__(self) -> str:
        self.tries += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"

    def run(self, max_retries: int = 3) -> Any:
        return tenacity.Retrying(sleep=self.slept.append, **retries.policy(max_retries))(self)


@pytest.mark.parametrize("kind", CLASSES)
def test_only_what_provably_costs_nothing_is_repeated(kind):
    assert retries.may_repeat(kind("…")) is (kind.__name__ in REPEATED)


@pytest.mark.parametrize("error", [ValueError("…"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_what_is_not_ours_is_not_repeated(error):
    assert retries.may_repeat(error) is False


@pytest.mark.parametrize("passing", [True, False])
def test_download_is_repeated_where_that_may_help(passing):
    assert retries.may_repeat(OxenDownloadError("…", passing=passing)) is passing


@pytest.mark.parametrize(
    ("seconds", "repeated"), [(None, True), (0.0, True), (60.0, True), (60.5, False), (3600.0, False)]
)
def test_longer_wait_than_the_cap_belongs_to_airflow(seconds, repeated):
    assert retries.RETRY_AFTER_CAP == 60.0
    assert retries.may_repeat(OxenRateLimited("…", retry_after=seconds)) is repeated
    assert retries.may_repeat(OxenDownloadError("…", passing=True, retry_after=seconds)) is repeated


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_last_error_comes_as_it_is_after_all_retries(max_retries):
    failures = [OxenUnavailable(f"try {number}") for number in range(9)]
    work = Work(*failures)

    with pytest.raises(OxenUnavailable) as caught:
        work.run(max_retries)

    assert caught.value is failures[max_retries]
    assert work.tries == max_retries + 1
    assert len(work.slept) == max_retries


def test_hub_says_how_long_to_wait():
    work = Work(OxenUnavailable("…", retry_after=7.5), OxenRateLimited("…", retry_after=0.0))

    assert work.run() == "done"
    assert work.slept[0] == 7.5


def test_hub_that_says_at_once_is_waited_for_longer_each_time():
    """Many clients that came back at once would be a flood."""
    work = Work(*[OxenRateLimited("…", retry_after=0.0)] * 8)

    assert work.run(max_retries=8) == "done"
    for number, seconds in enumerate(work.slept):
        assert min(0.5 * 2**number, 8.0) <= seconds


def test_waits_grow_where_the_hub_does_not_say():
    work = Work(*[OxenUnavailable("…")] * 8)

    assert work.run(max_retries=8) == "done"
    for number, seconds in enumerate(work.slept):
        base = min(0.5 * 2**number, 8.0)
        assert base <= seconds <= base + 0.5


def test_waits_differ_so_that_workers_do_not_come_back_together():
    waits = set()
    for _ in range(5):
        work = Work(OxenUnavailable("…"))
        work.run()
        waits.update(work.slept)

    assert len(waits) > 1


def test_each_wait_is_told_in_one_line(caplog):
    Work(OxenRateLimited("Too many requests.", status=429, retry_after=5.0)).run()

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Nothing was spent. Too many requests. (HTTP 429) Asking again in 5.0 s (attempt 1 failed)."
    )


def test_what_may_not_be_repeated_is_tried_once():
    error = OxenError("…")
    work = Work(error)

    with pytest.raises(OxenError) as caught:
        work.run()

    assert caught.value is error
    assert (work.tries, work.slept) == (1, [])
