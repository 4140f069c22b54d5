"""How a batch's task ends: what the person on call is told, and whether another try would help. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_oxen.api.errors import OxenBatchError, OxenError, OxenOutcomeUnknown
from airflow_provider_oxen.batch.gate import NotSent

__all__ = ["Ending"]

_LOST = (
    " What became of {lost:,} requests nobody can tell: each may have been paid for, and is not sent again. "
    "Look at the account's history; to go on, set on_unknown_outcome to 'resubmit' (perhaps pay twice) or to "
    "'adopt' (take the one generation that matches), and clear the task."
)
_LATER = " {later:,} may be had without paying again: another try, or the task once cleared, looks."


@dataclass
class Ending:
    """What the rows without an image have met; plain values, to be written down while the task is deferred.

    :ivar stopped: why nothing more was sent, as a clause, or None.
    :ivar too_many: whether more rows failed than may.
    :ivar interrupted: whether the task was told to stop.
    :ivar final: whether any row met what another try would meet again.
    :ivar passes: whether any met what passes.
    :ivar lost: rows whose request's outcome nobody can tell.
    :ivar unfetched: rows whose image is paid for, and could not be fetched or kept by now.
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

    def met(self, error: Exception) -> None:
        """Note what a row has met."""
        if not isinstance(error, OxenError):
            return
        if isinstance(error, NotSent):
            self.passes = self.passes or error.passes
        else:
            self.final = self.final or not error.retry_helps
            self.passes = self.passes or error.retry_helps
        self.lost += isinstance(error, OxenOutcomeUnknown)
        self.unfetched += error.spent == "yes" and error.retry_helps
        if error.retry_after is not None:
            self.retry_after = max(self.retry_after or 0.0, error.retry_after)

    def error(
        self, result: Mapping[str, Any], spent: str, where: str, *, tries_left: bool
    ) -> OxenBatchError | None:
        """Return the error that the task ends with, or None where all came that had to.

        :param result: of the task.
        :param spent: USD, in words.
        :param where: the batch's folder.
        :param tries_left: whether Airflow would try again.
        """
        kept = result["generated"] + result["reused"]
        if kept == result["prompts"]:
            return None
        # What is paid for is fetched, even where a prompt without an image is no failure.
        later = tries_left and self._later(result) > 0
        if not (self.stopped or self.too_many or later or not kept):
            return None
        why = f" Nothing more was sent: {self.stopped}." if self.stopped else ""
        first = "".join(
            f"\n  line {item['line']} ({item['id']}): {item['error']}" for item in result["failures"][:5]
        )
        return OxenBatchError(
            f"{self.missing(result)} {kept:,} are kept in {where}. {spent} spent so far.{why} Another try "
            f"does only what is missing.{first}",
            retry_helps=self.passes or self.interrupted or later or not self.final,
            retry_after=self.retry_after,
        )

    def missing(self, result: Mapping[str, Any]) -> str:
        """Return how many prompts gave no image, and what to do about it; an empty text for none.

        :param result: of the task.
        """
        unknown, failed, unsent = result["unknown"], result["failed"], result["not_sent"]
        if not unknown + failed:
            return ""
        counts = {"failed": failed - unsent, "not sent": unsent, "unknown": unknown}
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        later = self._later(result)
        return (
            f"{unknown + failed:,} of {result['prompts']:,} prompts gave no image ({parts}); why stands in "
            f"{result['manifest']}."
            + (_LOST.format(lost=self.lost) if self.lost else "")
            + (_LATER.format(later=later) if later else "")
        )

    def _later(self, result: Mapping[str, Any]) -> int:
        return int(result["unknown"]) - self.lost + self.unfetched
