"""What may be sent again, and when: the rules that both clients hand to tenacity."""

from __future__ import annotations

import logging
from typing import Any

import tenacity

from airflow_provider_oxen.api import errors

__all__ = ["RETRY_AFTER_CAP", "may_repeat", "policy"]

log = logging.getLogger(__name__)

RETRY_AFTER_CAP = 60.0
"""Longest ``Retry-After`` in seconds that is waited for inside a worker: a longer wait belongs to Airflow's
own retries, which give the slot back. The hub documents no numbers; its repository routes say 5."""

_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=8.0) + tenacity.wait_random(0, 0.5)

_PROVABLY_REFUSED = (errors.OxenConnectionError, errors.OxenRateLimited, errors.OxenUnavailable)
_FREE_AND_PASSING = (errors.OxenServerError, errors.OxenDownloadError)


def may_repeat(error: BaseException) -> bool:
    """Whether the request may be sent again after this error.

    Always where it provably was not accepted (never sent, 429, 503). A lost answer or another 5xx
    comes as :class:`~.errors.OxenServerError`, and may be repeated, only where the call costs
    nothing; of a paid call it comes as :class:`~.errors.OxenOutcomeUnknown`, and never is.
    """
    if isinstance(error, _PROVABLY_REFUSED + _FREE_AND_PASSING):
        if isinstance(error, errors.OxenDownloadError) and not error.passing:
            return False
        return error.retry_after is None or error.retry_after <= RETRY_AFTER_CAP
    return False


def policy(max_retries: int) -> dict[str, Any]:
    """Return the arguments of ``tenacity.Retrying`` and ``AsyncRetrying``."""
    return {
        "retry": tenacity.retry_if_exception(may_repeat),
        "stop": tenacity.stop_after_attempt(max_retries + 1),
        "wait": _wait,
        "before_sleep": _tell,
        "reraise": True,
    }


def _wait(state: tenacity.RetryCallState) -> float:
    asked = getattr(state.outcome.exception() if state.outcome else None, "retry_after", None)
    return asked if asked is not None else _BACKOFF(state)


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s Asking again in %.1f s (attempt %d failed).", error, seconds, state.attempt_number)
