"""The rules that every history must keep: the promise, in words that can be counted."""

from __future__ import annotations

from collections import Counter

from airflow_provider_oxen.api.errors import OxenChangedRequest, OxenError

from .play import History, Life
from .scenario import Attempt
from .world import GRACE, Job

__all__ = ["violations"]


def violations(history: History) -> list[str]:
    """Return what a history breaks, as sentences."""
    found = []
    for life in history.lives:
        jobs = [job for job in history.world.hub.jobs if job.owner == life.name]
        found += _paid_twice(history, life, jobs)
        found += _errors_tell_the_truth(history, life)
        found += _found_or_reported(history, life, jobs)
        found += _right_image(history, life)
        found += _within_budget(history, life, jobs)
    return found


def _paid_twice(history: History, life: Life, jobs: list[Job]) -> list[str]:
    return [
        f"{life.name} paid for {later.id} although it had {earlier.id}"
        for place, later in enumerate(jobs)
        for earlier in jobs[:place]
        if not _may_follow(history, life, earlier, later)
    ]


def _may_follow(history: History, life: Life, earlier: Job, later: Job) -> bool:
    """Whether a job may be paid for after another of the same task: the user chose so, or it gave nothing."""
    plan = next(a.plan for a in life.attempts if a.nonce == later.sent_by)
    cleared = later.clearing > earlier.clearing
    status = earlier.status(later.accepted_at)
    return (
        later.policy == "resubmit"
        or (status == "failed" and (earlier.fate == "fails" or cleared))
        or (status == "cancelled" and (earlier.unwanted or cleared))
        or (cleared and earlier.gone)
        or (cleared and plan.overwrite and _had_image(history, life, earlier, later))
        or (cleared and plan.overwrite and earlier.vain)
        or (earlier.request != later.request and (plan.on_changed == "submit" or _forgets(history)))
        or _is_confessed(earlier)
    )


def _forgets(history: History) -> bool:
    """Whether nothing remembers an earlier request that the user has changed since."""
    return history.scenario.home == "none"


def _had_image(history: History, life: Life, earlier: Job, later: Job) -> bool:
    """Whether the earlier job gave the task its image; one of the same seed is the same image."""
    images = [a.image for a in life.attempts if a.image and a.clearing < later.clearing]
    return earlier.kept or (history.scenario.seed == "user's" and bool(images))


def _is_confessed(job: Job) -> bool:
    """Whether the hub broke its own rules, and nobody was told the id: nothing can find such a job."""
    return job.listed_at > job.accepted_at + GRACE or (job.fate == "is forgotten" and not job.recorded)


def _errors_tell_the_truth(history: History, life: Life) -> list[str]:
    found = []
    for attempt in life.attempts:
        if not isinstance(attempt.error, OxenError):
            continue
        paid = [job.id for job in history.world.hub.jobs if job.sent_by == attempt.nonce]
        if attempt.error.spent == "no" and paid and not history.scenario.too_late:
            found.append(f"{type(attempt.error).__name__} says that nothing was spent, and {paid} was")
    return found


def _found_or_reported(history: History, life: Life, jobs: list[Job]) -> list[str]:
    """A job that was paid for gives the task its image, or its loss is told."""
    found = []
    for first in sorted({attempt.clearing for attempt in life.attempts}):
        tries = [attempt for attempt in life.attempts if attempt.clearing == first]
        last = tries[-1]
        mine = [job for job in jobs if job.clearing <= first]
        lost = [job.id for job in mine if not _is_settled(history, job, last)]
        if lost and not last.died and not _tells(last) and not (last.blind and any(map(_tells, tries))):
            how = f"with {last.image}" if last.image else f"with {type(last.error).__name__}"
            found.append(f"{life.name} ended {how}, and never told of {lost}")
    return found


def _tells(attempt: Attempt) -> bool:
    """Whether an error speaks of the job; that of a changed request names it, and says what may be done."""
    error = attempt.error
    return attempt.died or isinstance(error, OxenChangedRequest) or getattr(error, "spent", "no") != "no"


def _is_settled(history: History, job: Job, last: Attempt) -> bool:
    chosen = {job.policy, last.plan.on_unknown} != {"fail"} or last.plan.on_changed == "submit"
    chosen |= _forgets(history) and job.request != last.plan.request
    same_seed = last.image is not None and history.scenario.seed == "user's"
    ended = job.status(history.world.now) in ("failed", "cancelled")
    given_up = job.vain and last.plan.overwrite
    return job.kept or job.gone or given_up or ended or same_seed or chosen or _is_confessed(job)


def _right_image(history: History, life: Life) -> list[str]:
    found = []
    for attempt in life.attempts:
        if attempt.image is None:
            continue
        job = history.world.hub.job(attempt.image)
        adopts = any(a.plan.on_unknown == "adopt" for a in life.attempts if a.clearing <= attempt.clearing)
        free = history.scenario.seed == "user's" or adopts or history.scenario.shared
        if job.owner != life.name and not free:
            found.append(f"{life.name} took {job.id}, which is {job.owner}'s")
        if job.request != attempt.plan.request:
            found.append(f"{life.name} asked for {attempt.plan.request} and took {job.id} of {job.request}")
    return found


def _within_budget(history: History, life: Life, jobs: list[Job]) -> list[str]:
    """A submission costs one dollar here. Without a record nobody can count them."""
    limit = history.scenario.max_cost
    counts = Counter(job.clearing for job in jobs)
    if limit is None or not life.home.keeps or max(counts.values(), default=0) <= limit:
        return []
    return [f"{life.name} spent more than ${limit:g}: {[job.id for job in jobs]}"]
