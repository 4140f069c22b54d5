"""Times and amounts in whatever clothes they come."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.values import unix_seconds, usd

NONSENSE: list[Any] = [
    None, True, False, "", "soon", [], {}, b"1", "1_000", "٣", float("nan"), float("inf"), -float("inf"),
    1e400, 10**400, "1e400", "nan", "Infinity", -1, "-1",
]  # fmt: skip


@pytest.mark.parametrize("value", [*NONSENSE, 1e7, "0,02", "0.02 USD", "$1"], ids=repr)
def test_what_is_no_sensible_amount_is_none(value):
    assert usd(value) is None


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.02", 0.02), (" 0.02 ", 0.02), (".5", 0.5), ("4e-3", 0.004), (1, 1.0), (0.014, 0.014), (0, 0.0)],
    ids=repr,
)
def test_amount_is_a_number_or_its_text(value, amount):
    assert usd(value) == amount


@pytest.mark.parametrize(
    "value", [*NONSENSE, 0, "0", 1e30, "2026-13-01", "9999-12-31", "0001-01-01T00:00:00+14:00"], ids=repr
)
def test_what_is_no_sensible_time_is_none(value):
    assert unix_seconds(value) is None


@pytest.mark.parametrize(
    "value",
    [
        1_780_000_000.5,
        1_780_000_000_500,
        1_780_000_000_500_000,
        1_780_000_000_500_000_000,
        "1780000000.5",
        " 1780000000500 ",
        "2026-05-28T20:26:40.5Z",
        "2026-05-28T20:26:40.500000+00:00",
        "2026-05-28T22:26:40.5+02:00",
        "2026-05-28 20:26:40.5",
    ],
    ids=repr,
)
def test_time_comes_in_any_usual_unit_and_as_text(value):
    assert unix_seconds(value) == pytest.approx(1_780_000_000.5)
