"""What the log of a deferred task says: since when it waits, and until when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.hooks import triggerer
from airflow_provider_oxen.hooks.triggerer import Triggerer
from airflow_provider_oxen.tasks import deferral


class Operator:
    """Keeps what it logs and what it is deferred with."""

    def __init__(self) -> None:
        self.log, self.said, self.deferred = self, "", dict[str, Any]()

    def info(self, text: str, *values: Any) -> None:
        self.said += text % values

    warning = info

    def defer(self, **deferred: Any) -> None:
        self.deferred = deferred


ARGUMENTS: Any = SimpleNamespace(
    oxen_conn_id="oxen_default",
    poll_interval=3.0,
    lookup_grace=60.0,
    cancel_on_kill=False,
    as_json=lambda: {"model": "z-image-turbo"},
)


def deferred(submitted_at: float | None, deadline: float | None, *, resumed: bool = True) -> Operator:
    record: Any = SimpleNamespace(
        generation_id="8d1f",
        namespace=None,
        submitted_at=submitted_at,
        time=1_780_000_000.0,
        may_be_cancelled=True,
        as_json=lambda: {"generation_id": "8d1f"},
    )
    operator: Any = Operator()
    ti = SimpleNamespace(try_number=1, max_tries=2)
    deferral.defer(operator, ti, ARGUMENTS, resumed, record, deadline)
    assert isinstance(operator, Operator)
    return operator


def test_wait_counts_from_the_submission():
    said = deferred(1_780_000_060.0, 1_780_003_660.0).said

    assert said == (
        "Waiting for generation 8d1f in the triggerer. It was submitted at 2026-05-28 20:27:40 UTC; "
        "the timeout is at 2026-05-28 21:27:40 UTC."
    )


def test_record_of_an_earlier_version_counts_from_its_own_time():
    operator = deferred(None, None)

    assert "submitted at 2026-05-28 20:26:40 UTC; the timeout is off." in operator.said
    assert operator.deferred["timeout"] is None


@pytest.mark.parametrize("resumed", [True, False])
def test_first_deferral_says_that_no_triggerer_runs(monkeypatch, resumed):
    monkeypatch.setattr(triggerer, "find_triggerer", lambda ti: Triggerer(False))

    assert ("No triggerer is running" in deferred(None, None, resumed=resumed).said) is not resumed
