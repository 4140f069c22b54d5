"""What may be sent again, and when: the rules that both clients hand to tenacity."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity

from airflow_provider_oxen.api import errors

__all__ = ["RETRY_AFTER_CAP", "ainsist", "insist", "may_repeat", "policy"]

T = TypeVar("T")

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


def insist(again: Callable[[], tenacity.Retrying], ask: Callable[..., T], *arguments: Any) -> T:
    """Call, and where that fails call again as tenacity says; what goes well at once is spared its machinery.

    :param again: makes what decides about further calls; the failed one counts as its first.
    """
    try:
        return ask(*arguments)
    except Exception as error:
        failed: Exception | None = error

    def next_one() -> T:
        nonlocal failed
        if failed is not None:
            error, failed = failed, None
            raise error
        return ask(*arguments)

    result: T = again()(next_one)
    return result


async def ainsist(
    again: Callable[[], tenacity.AsyncRetrying], ask: Callable[..., Awaitable[T]], *arguments: Any
) -> T:
    """The async twin of :func:`insist`."""
    try:
        return await ask(*arguments)
    except Exception as error:
        failed: Exception | None = error

    async def next_one() -> T:
        nonlocal failed
        if failed is not None:
            error, failed = failed, None
            raise error
        return await ask(*arguments)

    result: T = await again()(next_one)
    return result


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
