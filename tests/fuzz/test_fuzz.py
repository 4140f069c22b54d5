"""A share of ``make fuzz``: some thousand cases of every kind, the same each time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from airflow_provider_oxen.api import redact
from airflow_provider_oxen.api.errors import OxenBadImage
from tests.fuzz import kept, strangers
from tests.fuzz.guard import Guard, Wrong
from tests.fuzz.kinds import KINDS, play
from tests.fuzz.mutate import KEY, SIGNATURE
from tests.fuzz.run import CASES, SHARE


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    keys = dict(redact._keys)
    strangers.SETTINGS.__post_init__()
    yield
    strangers.close()
    kept.close()
    redact._keys = keys


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_comes_is_a_result_or_an_error_of_ours(kind, guard):
    for number in range(CASES[kind] // SHARE):
        name = f"{kind}:0:{number}"
        try:
            play(guard, kind, name)
        except Wrong as wrong:
            pytest.fail(f"{name}: {wrong}\nAgain: .venv/bin/python tests/fuzz/run.py {name}")


def test_each_kind_is_counted_and_all_are_many():
    assert CASES.keys() == KINDS.keys()
    assert sum(CASES.values()) >= 200_000


@pytest.mark.parametrize(
    ("wrong", "limit", "told"),
    [
        (lambda: {"b": 1}["a"], None, "KeyError: 'a'"),
        (lambda: None, "SECONDS", "it took 0.0 s"),
        (lambda: None, "MEMORY", "it, or one of the 25 before it, took 0 MiB"),
        (lambda: _raise(f"see {SIGNATURE}"), None, "the error shows"),
        (lambda: logging.getLogger("oxen").debug("see %s", KEY), None, "the log shows"),
    ],
    ids=["raw", "slow", "big", "error", "log"],
)
def test_what_must_not_be_is_found(guard, wrong, limit, told, monkeypatch):
    if limit:
        monkeypatch.setattr(f"tests.fuzz.guard.{limit}", -1)

    def play() -> None:
        guard.run(lambda: wrong)
        guard.look()

    with pytest.raises(Wrong) as caught:
        play()
    assert str(caught.value).startswith(told)


def test_same_name_is_same_case(guard):
    ends = [[play(guard, "answer", f"answer:5:{n}") for n in range(20)] for _ in range(2)]
    assert ends[0] == ends[1]


def _raise(text: str) -> None:
    raise OxenBadImage(text)
