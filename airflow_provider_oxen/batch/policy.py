"""When does a batch stop asking? Pure: errors go in, reasons come out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.batch.gate import NotSent

__all__ = ["Policy", "is_unknown"]

_ALL: dict[type[errors.OxenError], str] = {
    errors.OxenCreditsError: "the account that is billed is out of credits",
    errors.OxenAuthenticationError: "the hub does not accept the API key",
    errors.OxenPermissionError: "the key may not do this",
    errors.OxenRouteNotFound: "the host does not serve this path",
    errors.OxenSettingsError: "the connection does not make sense",
    errors.OxenBudgetError: "max_cost is reached",
    errors.OxenRateLimited: "the hub asks for fewer requests, for longer than a worker waits",
    errors.OxenUnavailable: "the hub takes no requests, for longer than a worker waits",
    errors.OxenConnectionError: "the hub cannot be reached",
    errors.OxenStoreUnavailable: "the store of the images does not answer",
    errors.OxenStorageError: "the store of the images does not take them",
}
"""What one row meets and every other would meet too."""

_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)
"""Why a job of the queue fails that nobody can pay for."""


@dataclass
class Policy:
    """Judges the rows that gave no image.

    :param goes_on: whether one row's failure is no other's.
    :param most: how many may fail; None for any number.
    :param failed: how many have.
    """

    goes_on: bool
    most: int | None
    failed: int = 0

    def judge(self, error: errors.OxenError) -> str | None:
        """Return why nothing more is to be sent, as a clause, or None to go on."""
        if isinstance(error, NotSent):
            return None
        for kind, why in _ALL.items():
            if isinstance(error, kind):
                return why
        if isinstance(error, errors.OxenGenerationFailed) and _CREDITS.search(error.message):
            return _ALL[errors.OxenCreditsError]
        self.failed += 1
        if not self.goes_on:
            return "a prompt gave no image (on_error='continue' would go on)"
        if self.most is not None and self.failed > self.most:
            return f"more than max_failures ({self.most}) prompts gave no image"
        return None

    @property
    def is_broken(self) -> bool:
        """Whether more failed than may."""
        return bool(self.failed) and (not self.goes_on or (self.most is not None and self.failed > self.most))


def is_unknown(error: BaseException) -> bool:
    """Whether a row that ended so may have been paid for, and its image may still come."""
    ended = errors.OxenGenerationFailed | errors.OxenGenerationCancelled
    if not isinstance(error, errors.OxenError):
        # Nobody foresaw it, so nobody knows what came before it.
        return True
    return error.spent == "unknown" and not isinstance(error, ended)
