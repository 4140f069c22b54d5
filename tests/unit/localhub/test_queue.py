"""The course of jobs, with plain numbers for time."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub.job import Fate, Job
from airflow_provider_oxen.localhub.ledger import Billed
from airflow_provider_oxen.localhub.picture import Picture
from airflow_provider_oxen.localhub.queue import Queue

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)


def put(
    queue: Queue, moment: float, fate: Fate | None = None, wait: float = 0.0, latency: float = 10.0
) -> Job:
    job = Job({}, Billed(moment, 0.01, "acme", PICTURE, {}), moment, wait, latency, fate or Fate())
    queue.add(job)
    return job


def statuses(*jobs: Job) -> list[str]:
    return [job.progress.status for job in jobs]


def starts(*jobs: Job) -> list[float | None]:
    return [job.progress.started_at for job in jobs]


@pytest.mark.parametrize(
    ("now", "progress"),
    [
        (104.9, ("queued", None, None)),
        (105, ("processing", 105, None)),
        (114.9, ("processing", 105, None)),
        (115, ("succeeded", 105, 115)),
        (9999, ("succeeded", 105, 115)),
    ],
)
def test_job_waits_is_worked_on_and_ends_on_time_whenever_one_looks(now, progress):
    queue = Queue()
    job = put(queue, 100, wait=5)
    assert queue.settle(now, None) == ([job] if now >= 115 else [])
    assert job.progress[:3] == progress
    assert queue.settle(now, None) == []
    assert queue.active() == ([] if now >= 115 else [job])
    assert queue.jobs() == [job]
    assert queue.find(job.id) is job


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_job_ends_as_it_is_fated_to(end):
    queue = Queue()
    job = put(queue, 100, Fate(end, meanwhile="warming_up"))
    queue.settle(100, None)
    assert statuses(job) == ["warming_up"]
    queue.settle(110, None)
    assert statuses(job) == [end]


def test_job_that_hangs_keeps_its_worker():
    queue = Queue()
    jobs = put(queue, 100, Fate(None)), put(queue, 101)
    assert queue.settle(10**9, 1) == []
    assert statuses(*jobs) == ["processing", "queued"]


def test_without_a_limit_all_are_worked_on_at_once():
    queue = Queue()
    jobs = [put(queue, 100) for _ in range(5)]
    assert queue.settle(110, None) == jobs
    assert starts(*jobs) == [100] * 5


@pytest.mark.parametrize("looks", [[131], range(100, 132)], ids=["once", "often"])
def test_workers_take_one_after_the_other_in_the_order_they_came(looks):
    queue = Queue()
    jobs = [put(queue, 100 + number) for number in range(5)]
    for now in looks:
        queue.settle(now, 2)
    assert starts(*jobs) == [100, 101, 110, 111, 120]
    assert statuses(*jobs) == ["succeeded"] * 5


def test_no_workers_leave_all_waiting_until_there_are_some():
    queue = Queue()
    jobs = [put(queue, 100, latency=0) for _ in range(2)]
    queue.settle(200, 0)
    assert statuses(*jobs) == ["queued", "queued"]
    assert queue.settle(300, 1) == jobs
    assert starts(*jobs) == [300, 300]


def test_cancelled_job_leaves_its_place_to_the_next():
    queue = Queue()
    running, waiting, last = (put(queue, 100) for _ in range(3))
    queue.settle(100, 1)
    queue.cancel(waiting, 103)
    queue.cancel(running, 104)
    queue.settle(104, 1)
    assert statuses(running, waiting, last) == ["cancelled", "cancelled", "processing"]
    assert (running.progress.completed_at, waiting.progress.started_at) == (104, None)
    assert starts(last) == [104]
    assert queue.active() == [last]
    # What was due for those two is due no more.
    assert queue.settle(114, 1) == [last]


def test_job_cancelled_before_it_could_be_ready_is_never_started():
    queue = Queue()
    job = put(queue, 100, wait=50)
    queue.cancel(job, 110)
    assert queue.settle(200, None) == []
    assert job.progress[:3] == ("cancelled", None, 110)


def test_clock_that_goes_back_undoes_nothing():
    queue = Queue()
    job = put(queue, 100)
    queue.settle(110, None)
    queue.settle(50, None)
    assert statuses(job) == ["succeeded"]


def test_synchronous_calls_are_apart():
    queue = Queue()
    call = Job({}, Billed(1, 0.01, "acme", PICTURE, {}), 1)
    queue.add_call(call)
    assert (queue.calls(), queue.find_call(call.id)) == ([call], call)
    assert (queue.jobs(), queue.active(), queue.find(call.id)) == ([], [], None)
