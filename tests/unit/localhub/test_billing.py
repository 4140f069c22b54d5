"""Money and jobs together, with a clock that is set by hand."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import HubSettings
from airflow_provider_oxen.localhub.answers import Refused
from airflow_provider_oxen.localhub.billing import Billing
from airflow_provider_oxen.localhub.jobs import Job, PlannedOutcome

FAILS = PlannedOutcome("failed", "422")
BODY = {"model": "z-image-turbo", "prompt": "A red cube"}


class Desk:
    """The billing of a hub that sells one model, ten seconds an image."""

    def __init__(self, **settings) -> None:
        self.settings = HubSettings(**{"credits": 1.0, "latency": 10.0, **settings})
        self.time = 1000.0
        self.billing = Billing(self.settings, lambda: self.time)
        self.entry = next(entry for entry in self.settings.catalogue if entry["id"] == "z-image-turbo")

    def order(
        self, number: int = 1, outcome: PlannedOutcome | None = None, late: float | None = None
    ) -> list[Job]:
        return self.billing.enqueue(self.entry, BODY, number, outcome or PlannedOutcome(), late)

    def at(self, time: float) -> Billing:
        self.time = time
        return self.billing.settled()

    def paid(self) -> list[tuple[float, str | None]]:
        ledger = self.billing.settled().ledger
        return [(charge.time, charge.generation_id) for charge in ledger.values()]


def statuses(*jobs: Job) -> list[str]:
    return [job.progress.status for job in jobs]


def starts(*jobs: Job) -> list[float | None]:
    return [job.progress.started_at for job in jobs]


def test_credits_are_taken_at_once_and_billed_when_the_job_has_succeeded():
    desk = Desk()
    first, second = desk.order(2)
    assert (desk.settings.credits, desk.paid()) == (0.98, [])
    desk.time += 10
    assert desk.paid() == [(1010, first.id), (1010, second.id)]
    assert desk.settings.credits == 0.98
    assert {charge.route for charge in desk.billing.ledger.values()} == {"queue"}


def test_credits_that_come_back_from_a_job_that_failed_can_be_spent_at_once():
    desk = Desk(credits=0.01)
    desk.order(outcome=FAILS)
    with pytest.raises(Refused):
        desk.order()
    desk.time += 10
    assert (desk.paid(), desk.settings.credits) == ([], 0.01)
    assert len(desk.order()) == 1


def test_cancelling_lets_the_next_start_at_that_time():
    desk = Desk(workers=1)
    first, second = desk.order(2)
    desk.at(1000)
    desk.time = 1004
    desk.billing.cancel(first)
    desk.at(1008)
    assert second.progress.started_at == 1004


def test_cancelling_comes_too_late_for_a_job_that_is_due():
    desk = Desk()
    [job] = desk.order()
    desk.time += 10
    assert not desk.billing.cancel(job)
    assert job.progress.status == "succeeded"


@pytest.mark.parametrize(
    "outcome", [PlannedOutcome(), FAILS, PlannedOutcome(None), PlannedOutcome("cancelled")]
)
def test_billed_at_the_enqueue_stays_billed_whatever_becomes_of_it(outcome):
    desk = Desk(queue_bills="enqueue")
    [job] = desk.order(outcome=outcome)
    assert desk.paid() == [(1000, job.id)]
    desk.settings.queue_bills = "success"
    desk.time += 10
    desk.billing.cancel(job)
    assert desk.paid() == [(1000, job.id)]
    assert (desk.settings.credits, job.progress.cost) == (0.99, 0.01)


@pytest.mark.parametrize("bills", ["success", "enqueue"])
def test_late_job_costs_when_it_comes_into_being(bills):
    desk = Desk(queue_bills=bills)
    [job] = desk.order(late=5)
    assert (desk.at(1000).jobs, desk.settings.credits) == ({}, 1)
    assert desk.at(1005).active == desk.billing.jobs == {job.id: job}
    assert (desk.settings.credits, len(desk.paid())) == (0.99, int(bills == "enqueue"))
    desk.time += 10
    assert desk.paid() == [(1005 if bills == "enqueue" else 1015, job.id)]


def test_clearing_forgets_jobs_entries_and_what_was_still_to_come():
    desk = Desk()
    desk.order(outcome=FAILS)
    desk.order(late=5)
    desk.billing.clear()
    assert (desk.at(1100).jobs, desk.paid(), desk.settings.credits) == ({}, [], 0.99)


def test_synchronous_call_is_billed_at_once_and_known_to_the_history_alone():
    desk = Desk()
    [charge] = desk.billing.bill(desk.entry, BODY)
    assert (charge.route, charge.generation_id) == ("generate", None)
    [call] = desk.billing.calls.values()
    assert (call.charge, call.progress) == (charge, ("succeeded", 1000, 1000, None, True, 0.01, None))
    assert desk.at(1000).jobs == {}


@pytest.mark.parametrize(
    ("now", "progress"),
    [
        (1004.9, ("queued", None, None)),
        (1005, ("processing", 1005, None)),
        (1014.9, ("processing", 1005, None)),
        (1015, ("succeeded", 1005, 1015)),
        (9999, ("succeeded", 1005, 1015)),
    ],
)
def test_job_waits_is_worked_on_and_ends_on_time_whenever_one_looks(now, progress):
    desk = Desk(queue_wait=5)
    [job] = desk.order()
    is_over = now >= 1015
    assert desk.at(now).ended == ([job] if is_over else [])
    assert job.progress[:3] == progress
    assert desk.at(now).ended == ([job] if is_over else [])
    assert desk.billing.active == ({} if is_over else {job.id: job})
    assert desk.billing.jobs == {job.id: job}


def test_job_that_hangs_keeps_its_worker():
    desk = Desk(workers=1)
    [hangs], [waits] = desk.order(outcome=PlannedOutcome(None)), desk.order()
    assert desk.at(10**9).ended == []
    assert statuses(hangs, waits) == ["processing", "queued"]


@pytest.mark.parametrize("looks", [[1031], range(1000, 1032)], ids=["once", "often"])
def test_workers_take_one_after_the_other_in_the_order_they_came(looks):
    desk = Desk(workers=2)
    jobs = []
    for number in range(5):
        desk.time = 1000 + number
        jobs += desk.order(late=0)
    for now in looks:
        desk.at(now)
    assert starts(*jobs) == [1000, 1001, 1010, 1011, 1020]
    assert statuses(*jobs) == ["succeeded"] * 5


def test_no_workers_leave_all_waiting_until_there_are_some():
    desk = Desk(workers=0, latency=0)
    jobs = desk.order(2)
    desk.at(1100)
    assert statuses(*jobs) == ["queued", "queued"]
    desk.settings.workers = 1
    assert desk.at(1200).ended == jobs
    assert starts(*jobs) == [1200, 1200]


def test_cancelled_job_leaves_its_place_to_the_next():
    desk = Desk(workers=1)
    running, waiting, last = desk.order(3)
    desk.at(1000)
    desk.time = 1003
    desk.billing.cancel(waiting)
    desk.time = 1004
    desk.billing.cancel(running)
    assert statuses(running, waiting, last) == ["cancelled", "cancelled", "processing"]
    assert (running.progress.completed_at, waiting.progress.started_at) == (1004, None)
    assert starts(last) == [1004]
    assert desk.billing.active == {last.id: last}
    # What was due for those two is due no more.
    assert desk.at(1014).ended == [waiting, running, last]


def test_clock_that_goes_back_undoes_nothing():
    desk = Desk()
    [job] = desk.order()
    desk.at(1010)
    desk.at(950)
    assert statuses(job) == ["succeeded"]
