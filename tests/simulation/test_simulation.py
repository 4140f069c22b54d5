"""No history of deaths, lost answers and odd hubs makes a task pay twice, or lose in silence what it has.

Every test plays all histories of its scenarios that have up to so many troubles, a death among them. More
troubles than here, for an afternoon: ``SIMULATION_TROUBLES=1 pytest tests/simulation`` adds one to each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from .check import violations
from .play import History, histories
from .scenario import Clearing, Scenario

MORE = int(os.environ.get("SIMULATION_TROUBLES", "0"))

ENDPOINTS = ("queue", "generate")
HOMES = ("store", "file", "none")
SEEDS = ("drawn", "user's", "none", "directory")
CHOICES = ("fail", "adopt", "resubmit")


def once(choice: str = "fail") -> tuple[Clearing, ...]:
    return (Clearing(on_unknown=choice),)


def cleared(choice: str = "fail", **then: Any) -> tuple[Clearing, ...]:
    """A task that is cleared when it has ended, as it is or changed."""
    return (Clearing(on_unknown=choice), Clearing(tries=2, **{"on_unknown": choice, **then}))


def overwriting(choice: str = "fail") -> tuple[Clearing, ...]:
    return (Clearing(on_unknown=choice, overwrite=True), Clearing(2, overwrite=True, on_unknown=choice))


def tasks(**fixed: Any) -> Iterator[Scenario]:
    """Every endpoint, home and seed that go together."""
    for endpoint, home, seed in product(ENDPOINTS, HOMES, SEEDS):
        if endpoint == "generate" and (seed == "directory" or fixed.get("deferred") or fixed.get("cancels")):
            continue
        if home == "none" and any(clearing.overwrite for clearing in fixed.get("clearings", ())):
            # Refused: without a record nobody would know an old image from a new one.
            continue
        if home == "file" and fixed.get("folder") is False:
            continue
        yield Scenario(
            **{"endpoint": endpoint, "home": home, "seed": seed, "folder": home != "none", **fixed}
        )


def play(scenarios: list[Scenario], troubles: int, record_property: Any) -> None:
    count = 0
    for scenario in scenarios:
        for history in histories(scenario, troubles + MORE):
            count += 1
            broken = violations(history)
            assert not broken, f"{broken}\n{history.story}"
    record_property("histories", count)
    assert count >= len(scenarios)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("clearings", [once, cleared, overwriting], ids=lambda plan: plan.__name__)
def test_task_pays_once_whatever_goes_wrong_once(clearings, choice, record_property):
    play(list(tasks(clearings=clearings(choice))), 1, record_property)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_task_pays_once_whatever_goes_wrong_twice(endpoint, home, record_property):
    chosen = [task for task in tasks() if (task.endpoint, task.home) == (endpoint, home)]
    play(chosen, 2, record_property)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("order", ["step", "after"])
def test_twins_of_one_prompt_pay_once_each(order, choice, record_property):
    play(list(tasks(clearings=once(choice), twins=2, order=order)), 1, record_property)


TWINS: dict[str, dict[str, Any]] = {
    "drawn": {"seed": "drawn"},
    "no seed": {"seed": "none"},
    "one seed": {"seed": "user's"},
    "one seed, cleared": {"seed": "user's", "clearings": cleared()},
    "one seed, cancels": {"seed": "user's", "cancels": True},
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_twins_of_one_prompt_pay_once_each_whatever_goes_wrong_twice(twins, record_property):
    """With the user's own seed, one may be found where the other is looked for: they give the same image."""
    play([Scenario(twins=2, order="step", **twins)], 2, record_property)


@pytest.mark.parametrize("order", ["step", "after"])
def test_twins_in_one_place_pay_once_each(order, record_property):
    play(list(tasks(twins=2, order=order, shared=True)), 1, record_property)


@pytest.mark.parametrize("home", ["store", "file", "both", "none"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
def test_process_that_is_stopped_and_wakes_beside_its_successor_pays_nothing(
    asked, endpoint, home, record_property
):
    """Whether Airflow can be asked or not: the record tells. Without a record, Airflow alone does."""
    if home == "none" and not asked:
        pytest.skip("Nobody tells such a try that it is over; see what remains open.")
    seeds = ["drawn", "none"]
    frozen = {"freezes": True, "asked": asked, "folder": home != "none"}
    play([Scenario(endpoint=endpoint, home=home, seed=seed, **frozen) for seed in seeds], 2, record_property)


@pytest.mark.parametrize("clearings", [once, cleared, overwriting], ids=lambda plan: plan.__name__)
@pytest.mark.parametrize("home", ["store", "file", "both"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_record_that_vanishes_is_no_proof_that_nothing_was_sent(endpoint, home, clearings, record_property):
    seeds = [seed for seed in SEEDS if endpoint == "queue" or seed != "directory"]
    gone = {"vanishes": True, "clearings": clearings()}
    for folder in (True, False) if home == "store" else (True,):
        scenarios = [
            Scenario(endpoint=endpoint, home=home, seed=seed, folder=folder, **gone) for seed in seeds
        ]
        play(scenarios, 2, record_property)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_record_that_somebody_has_altered_pays_for_nothing_twice(endpoint, record_property):
    seeds = [seed for seed in SEEDS if endpoint == "queue" or seed != "directory"]
    scenarios = [Scenario(endpoint=endpoint, home="both", seed=seed, alters=True) for seed in seeds]
    scenarios.append(replace(scenarios[2], clearings=once("resubmit")))
    play(scenarios, 2, record_property)


ODDITIES: dict[str, dict[str, Any]] = {
    "deferred": {"deferred": True},
    "deferred, cancels": {"deferred": True, "cancels": True},
    "deferred, into XCom": {"deferred": True, "folder": False},
    "cancels": {"cancels": True},
    "rows name nothing": {"echoes": False},
    "history shows calls": {"shows_calls": True},
    "text": {"answers": "b64"},
    "text, history shows calls": {"answers": "b64", "shows_calls": True},
    "into XCom": {"folder": False},
    "into XCom, cleared": {"folder": False, "clearings": cleared()},
    "late retry": {"retry_delay": 700.0},
    "max_cost": {"max_cost": 1.0},
    "max_cost, resubmit": {"max_cost": 2.0, "clearings": once("resubmit")},
    "cleared to resubmit": {"clearings": cleared(on_unknown="resubmit")},
    "changed": {"clearings": cleared(request="pear")},
    "changed, submit": {"clearings": cleared(request="pear", on_changed="submit")},
    "changed, overwrite": {"clearings": cleared(request="pear", on_changed="submit", overwrite=True)},
    "listed too late": {"too_late": True},
}


@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_other_ways_to_ask_and_other_hubs_change_nothing(oddity, record_property):
    play(list(tasks(**oddity)), 1, record_property)


def test_hub_that_lists_later_than_it_should_is_what_remains_open():
    """What the docs confess: a request whose answer was lost, and that no list shows within the grace."""
    bills = [len(ended(history)) for history in histories(Scenario(too_late=True), 1)]

    assert max(bills) == 2


def ended(history: History) -> list[str]:
    return [job.id for job in history.world.hub.jobs]


def test_without_trouble_every_task_ends_with_its_image_and_one_bill():
    for scenario in tasks(twins=2, order="step"):
        (history,) = histories(scenario, 0)

        assert [life.attempts[-1].image for life in history.lives] == ended(history) == ["job-1", "job-2"]


def test_overwriting_pays_for_one_more_at_each_clearing_and_gives_the_new_image():
    for scenario in tasks(clearings=overwriting()):
        (history,) = histories(scenario, 0)

        assert (
            [attempt.image for attempt in history.lives[0].attempts] == ended(history) == ["job-1", "job-2"]
        )


def test_clearing_alone_pays_nothing():
    for scenario in tasks(clearings=cleared()):
        if scenario.endpoint == "generate" and scenario.home == "none":
            continue
        (history,) = histories(scenario, 0)

        assert ended(history) == ["job-1"], history.story


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("home", HOMES)
def test_worker_that_dies_at_any_instant_pays_once_and_gets_its_image(home, deferred):
    """What the queue promises, where the job can be told from others'."""
    for seed in ("drawn", "user's", "directory"):
        scenario = Scenario(home=home, folder=home != "none", seed=seed, deferred=deferred)
        deaths = [
            history
            for history in histories(scenario, 1)
            if any("death" in line or "dies" in line for line in history.world.story)
        ]
        assert len(deaths) > 7
        for history in deaths:
            assert ended(history) == ["job-1"], history.story
            assert history.lives[0].attempts[-1].image == "job-1", history.story
