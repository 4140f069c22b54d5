"""Money and jobs together, with a clock that is set by hand."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import HubSettings
from airflow_provider_oxen.localhub.books import Books
from airflow_provider_oxen.localhub.job import Fate
from airflow_provider_oxen.localhub.problems import Refused

FAILS = Fate("failed", "422")


class Desk:
    """Books whose hub sells one model."""

    def __init__(self, **settings) -> None:
        self.settings = HubSettings(**{"credits": 1.0, "latency": 10.0, **settings})
        self.time = 1000.0
        self.books = Books(self.settings, lambda: self.time)
        self.entry = next(entry for entry in self.settings.catalogue if entry["id"] == "z-image-turbo")

    def order(self, number: int = 1, fate: Fate | None = None, **options):
        body = {"model": "z-image-turbo", "prompt": "A red cube"}
        return self.books.enqueue(self.entry, body, number, fate or Fate(), **options)

    def paid(self) -> list[tuple[float, str | None]]:
        return [(entry.time, entry.generation_id) for entry in self.books.ledger.entries()]


def test_credits_are_taken_at_once_and_billed_when_the_job_has_succeeded():
    desk = Desk()
    first, second = desk.order(2)
    assert (desk.settings.credits, desk.paid()) == (0.98, [])
    desk.time += 10
    assert desk.paid() == [(1010, first.id), (1010, second.id)]
    assert desk.settings.credits == 0.98
    assert {entry.route for entry in desk.books.ledger.entries()} == {"queue"}


def test_credits_come_back_from_a_job_that_failed():
    desk = Desk()
    desk.order(fate=FAILS)
    desk.time += 10
    assert desk.paid() == []
    assert desk.settings.credits == 1


def test_credits_that_come_back_can_be_spent_at_once():
    desk = Desk(credits=0.01)
    desk.order(fate=FAILS)
    with pytest.raises(Refused):
        desk.order()
    desk.time += 10
    assert len(desk.order()) == 1


def test_cancelling_gives_the_credits_back_once():
    desk = Desk()
    [job] = desk.order()
    assert desk.books.cancel(job)
    assert not desk.books.cancel(job)
    assert (desk.settings.credits, desk.paid()) == (1, [])


def test_cancelling_lets_the_next_start_at_that_time():
    desk = Desk(workers=1)
    first, second = desk.order(2)
    desk.books.settle()
    desk.time += 4
    desk.books.cancel(first)
    desk.time += 4
    desk.books.settle()
    assert second.progress.started_at == 1004


def test_cancelling_comes_too_late_for_a_job_that_is_due():
    desk = Desk()
    [job] = desk.order()
    desk.time += 10
    assert not desk.books.cancel(job)
    assert job.progress.status == "succeeded"


@pytest.mark.parametrize("fate", [Fate(), FAILS, Fate(None), Fate("cancelled")])
def test_billed_at_the_enqueue_stays_billed_whatever_becomes_of_it(fate):
    desk = Desk(queue_bills="enqueue")
    [job] = desk.order(fate=fate)
    assert desk.paid() == [(1000, job.id)]
    desk.settings.queue_bills = "success"
    desk.time += 10
    desk.books.cancel(job)
    assert desk.paid() == [(1000, job.id)]
    assert (desk.settings.credits, job.progress.cost) == (0.99, 0.01)


@pytest.mark.parametrize("bills", ["success", "enqueue"])
def test_late_job_costs_when_it_comes_into_being(bills):
    desk = Desk(queue_bills=bills)
    [job] = desk.order(late=5)
    assert (desk.books.jobs(), desk.books.find(job.id), desk.settings.credits) == ([], None, 1)
    desk.time += 5
    assert desk.books.active() == desk.books.jobs() == [job]
    assert (desk.settings.credits, len(desk.paid())) == (0.99, int(bills == "enqueue"))
    desk.time += 10
    assert desk.paid() == [(1005 if bills == "enqueue" else 1015, job.id)]


def test_clearing_forgets_jobs_entries_and_what_was_still_to_come():
    desk = Desk()
    desk.order(fate=FAILS)
    desk.order(late=5)
    desk.books.clear()
    desk.time += 100
    assert (desk.books.jobs(), desk.paid(), desk.settings.credits) == ([], [], 0.99)


def test_synchronous_call_is_billed_at_once_and_known_to_the_history_alone():
    desk = Desk()
    [billed] = desk.books.bill(desk.entry, {"model": "z-image-turbo", "prompt": "x"})
    assert (billed.route, billed.generation_id) == ("generate", None)
    [call] = desk.books.calls()
    assert desk.books.find_call(call.id) is call
    assert (call.billed, call.progress) == (billed, ("succeeded", 1000, 1000, None, True, 0.01))
    assert desk.books.jobs() == []
