"""What the rows' errors mean: when a batch stops, how its task ends, and what a row has cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.clock import MAX_RETRY_AFTER
from airflow_provider_oxen.batch.limits import NotSent
from airflow_provider_oxen.jobs.record import Record

__all__ = ["MOST_LOST", "BatchOutcome", "Bill", "StopRule", "bill", "has_ended", "is_unknown", "read_outcome"]

_COMMON: dict[type[errors.OxenError], str] = {
    errors.OxenCreditsError: "the account that is billed is out of credits",
    errors.OxenAuthenticationError: "the hub does not accept the API key",
    errors.OxenPermissionError: "the key may not do this",
    errors.OxenRouteNotFound: "the host does not serve this path",
    errors.OxenUpdateRequired: "the hub no longer accepts this version of the package",
    errors.OxenSettingsError: "the Oxen connection is wrong",
    errors.OxenBudgetError: "max_cost is reached",
    errors.OxenRateLimited: "the hub asks for fewer requests, for longer than a worker waits",
    errors.OxenUnavailable: "the hub takes no requests, for longer than a worker waits",
    errors.OxenConnectionError: "the hub cannot be reached",
    errors.OxenStoreUnavailable: "the store of the images does not answer",
    errors.OxenStorageError: "the store of the images refuses them",
}
"""Errors that every other row would meet, too."""

MOST_LOST = 10
"""Consecutive images that were paid for and could not be kept, after which a batch requests no more:
something is wrong with all of them. Requests under way by then are paid for, too."""


@dataclass
class StopRule:
    """Decides, by the rows without an image, whether the batch sends more.

    :param continue_on_error: whether a failed row does not stop the others.
    :param most: how many rows may fail; None for any number.
    :param failed: how many have failed.
    :ivar lost_in_a_row: how many images were paid for and not kept since the last kept one.
    """

    continue_on_error: bool
    most: int | None
    failed: int = 0
    lost_in_a_row: int = 0

    def kept(self) -> None:
        """Record a kept image."""
        self.lost_in_a_row = 0

    @property
    def loses_all(self) -> bool:
        """Return whether one image after the other is paid for and lost."""
        return self.lost_in_a_row >= MOST_LOST

    @property
    def is_broken(self) -> bool:
        """Return whether more rows have failed than may."""
        return bool(self.failed) and (not self.continue_on_error or self._are_too_many)

    @property
    def _are_too_many(self) -> bool:
        return self.most is not None and self.failed > self.most

    def reason_to_stop(self, error: errors.OxenError) -> str | None:
        """Return why nothing more is to be sent, as a clause, or None to go on."""
        if isinstance(error, NotSent):
            return None
        self.lost_in_a_row += error.spent == "yes"
        for kind, why in _COMMON.items():
            if isinstance(error, kind):
                return why
        if isinstance(error, errors.OxenGenerationFailed) and error.type == "insufficient_credits":
            return _COMMON[errors.OxenCreditsError]
        self.failed += 1
        if not self.continue_on_error:
            return "a prompt gave no image (on_error='continue' would send the rest)"
        if self._are_too_many:
            return f"more than max_failures ({self.most}) prompts gave no image"
        if self.loses_all:
            return f"{self.lost_in_a_row} images in a row were paid for, and none of them could be kept"
        return None


def has_ended(error: BaseException) -> bool:
    """Return whether the hub says that the generation gave no image; it then never charges more."""
    return isinstance(error, errors.OxenGenerationFailed | errors.OxenGenerationCancelled)


def is_unknown(error: BaseException) -> bool:
    """Return whether a row with this error may have been paid for, and its image may still arrive."""
    # With an unforeseen error, nobody knows what happened before it.
    return not isinstance(error, errors.OxenError) or (error.spent == "unknown" and not has_ended(error))


class Bill(NamedTuple):
    """What a row without an image has cost: the hub bills by the request, not by its outcome.

    :ivar cost: USD that the hub has charged for all its generations together; None if it states none.
    :ivar unclear: whether it was billed, or may have been, and the hub does not say how much.
    :ivar uncounted: USD of the cost that no metric has counted yet.
    """

    seed: Any = None
    generation_id: str | None = None
    cost: float | None = None
    unclear: bool = False
    uncounted: float = 0.0


def bill(record: Record, error: Exception, cost: float | None, *, ours: bool) -> Bill:
    """Return what a row that ended with an error has cost.

    :param record: record of its job, as far as it has come.
    :param cost: USD that the hub has charged.
    :param ours: whether this task has sent the request; others count what they have paid themselves.
    """
    if record.generation_id is None and isinstance(error, errors.OxenError) and error.spent == "no":
        # A request that was not accepted has no facts.
        return Bill()
    known = Bill(record.body.get("seed"), record.generation_id)
    if not ours:
        return known
    if cost is None:
        return known._replace(unclear=not has_ended(error))
    return known._replace(cost=cost, uncounted=cost - record.counted)


_LOST = (
    " The outcome of {lost:,} requests is unknown: each may have been paid for, and is not sent again. "
    "Check the account's history; to continue, set on_unknown_outcome to 'resubmit' (perhaps pay twice) or "
    "to 'adopt' (take the one generation that matches), and clear the task."
)
_SHOWN = 200
"""Characters of a row's reason in the task's own message."""

_LATER = " {later:,} may still come without paying again: retry or clear the task."


@dataclass
class BatchOutcome:
    """The errors of the rows without an image; plain values, to be recorded while the task is deferred.

    :ivar stopped: why nothing more was sent, as a clause, or None.
    :ivar too_many: whether more rows failed than may.
    :ivar interrupted: whether the task was asked to stop.
    :ivar final: whether any row met an error that another try would meet again.
    :ivar passes: whether any row met an error that may pass.
    :ivar lost: rows whose request has an unknown outcome.
    :ivar unfetched: rows whose image is paid for, and could not be fetched or kept yet.
    :ivar retry_after: seconds that the hub asked to wait.
    """

    stopped: str | None = None
    too_many: bool = False
    interrupted: bool = False
    final: bool = False
    passes: bool = False
    lost: int = 0
    unfetched: int = 0
    retry_after: float | None = None

    def add(self, error: Exception) -> None:
        """Record a row's error."""
        if not isinstance(error, errors.OxenError):
            return
        if isinstance(error, NotSent):
            self.passes = self.passes or error.passes
        else:
            self.final = self.final or not error.retry_helps
            self.passes = self.passes or error.retry_helps
        self.lost += isinstance(error, errors.OxenOutcomeUnknown)
        self.unfetched += error.spent == "yes" and error.retry_helps
        if error.retry_after is not None:
            self.retry_after = max(self.retry_after or 0.0, error.retry_after)

    def error(
        self, result: Mapping[str, Any], where: str, *, tries_left: bool
    ) -> errors.OxenBatchError | None:
        """Return the error that the task ends with, or None if all required images are there.

        :param result: the task's result.
        :param where: the batch's folder.
        :param tries_left: whether Airflow would retry.
        """
        kept = result["generated"] + result["reused"]
        if kept == result["prompts"]:
            return None
        # Paid images are fetched, even if a prompt without an image is no failure.
        later = tries_left and self._later(result) > 0
        if not (self.stopped or self.too_many or later or not kept):
            return None
        why = f" Nothing more was sent: {self.stopped}." if self.stopped else ""
        spent = f"{'At least ' if result['cost_unknown'] else ''}${result['cost']:,.2f}"
        return errors.OxenBatchError(
            f"{self.missing(result)} {kept:,} are kept in {where}.{why}",
            money=f"{spent} spent so far.",
            retry="Another try does only what is missing.",
            retry_helps=self.passes or self.interrupted or later or not self.final,
            retry_after=self.retry_after,
        )

    def missing(self, result: Mapping[str, Any]) -> str:
        """Return how many prompts gave no image, and what to do about it; an empty text for none.

        :param result: the task's result.
        """
        unknown, failed, unsent = result["unknown"], result["failed"], result["not_sent"]
        if not unknown + failed:
            return ""
        counts = {"failed": failed - unsent, "not sent": unsent, "unknown": unknown}
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        later = self._later(result)
        where = (
            "the next try writes the manifest" if self.interrupted else f"all reasons: {result['manifest']}"
        )
        first = next((_shown(item) for item in result["failures"]), "")
        return (
            f"{unknown + failed:,} of {result['prompts']:,} prompts gave no image ({parts}); {where}.{first}"
            + (_LOST.format(lost=self.lost) if self.lost else "")
            + (_LATER.format(later=later) if later else "")
        )

    def _later(self, result: Mapping[str, Any]) -> int:
        return int(result["unknown"]) - self.lost + self.unfetched


def _shown(failure: Mapping[str, Any]) -> str:
    why = " ".join(failure["error"].split())
    why = why if len(why) <= _SHOWN else f"{why[: _SHOWN - 1]}…"
    return f" First, line {failure['line']} ({failure['id']}): {why}"


def read_outcome(stored: Any) -> BatchOutcome:
    """Return the outcome in a record.

    :raises ValueError: if it is not one.
    """
    outcome = TypeAdapter(BatchOutcome).validate_python(stored)
    seconds = outcome.retry_after
    if seconds is not None:
        outcome.retry_after = min(max(seconds, 0.0), MAX_RETRY_AFTER) if isfinite(seconds) else None
    return outcome
