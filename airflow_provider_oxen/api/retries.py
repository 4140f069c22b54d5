"""What may be sent again, and when: the rules that both clients hand to tenacity."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity

from airflow_provider_oxen.api import deadline, errors

__all__ = [
    "NOT_YET",
    "RETRY_AFTER_CAP",
    "acall_with_retries",
    "backoff",
    "call_with_retries",
    "may_repeat",
    "policy",
]

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_AFTER_CAP = 60.0
"""Longest ``Retry-After`` in seconds that is waited for inside a worker: a longer wait belongs to Airflow's
own retries, which give the slot back. The hub documents no numbers; its repository routes say 5. What is
shorter than the growing pause between two attempts is waited for as long as that."""

NOT_YET = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before an image is asked for again that is paid for and not there yet: half a minute in
all, for a store or a network that does not serve yet what was just written. What takes longer belongs to the
next try."""

BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=8.0) + tenacity.wait_random(0, 0.5)
"""How long to wait before a call is sent again that may be, unless the hub asks for longer."""

_PROVABLY_REFUSED = (errors.OxenConnectionError, errors.OxenRateLimited, errors.OxenUnavailable)
_FREE_AND_PASSING = (errors.OxenServerError, errors.OxenDownloadError)


def may_repeat(error: BaseException) -> bool:
    """Whether the request may be sent again after this error.

    Always where it provably was not accepted (never sent, 429, a migration of the hub). A lost answer or a
    5xx comes as an error that may be repeated only where the call costs nothing; of a paid call it comes as
    :class:`~.errors.OxenOutcomeUnknown`, and never is.
    """
    if isinstance(error, _PROVABLY_REFUSED + _FREE_AND_PASSING):
        if isinstance(error, errors.OxenDownloadError) and not error.passing:
            return False
        return error.retry_after is None or error.retry_after <= RETRY_AFTER_CAP
    return False


def backoff(attempt: int, retry_after: float | None) -> float:
    """Return the seconds to wait before a refused request is sent again.

    What the hub asks for is a hint: the floor grows with each attempt, and there is a cap.

    :param attempt: from 0.
    """
    floor = min(0.5 * 2.0**attempt, 8.0)
    return min(max(floor, retry_after or 0.0), RETRY_AFTER_CAP)


def call_with_retries(again: Callable[[], tenacity.Retrying], ask: Callable[..., T], *arguments: Any) -> T:
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


async def acall_with_retries(
    again: Callable[[], tenacity.AsyncRetrying], ask: Callable[..., Awaitable[T]], *arguments: Any
) -> T:
    """The async twin of :func:`call_with_retries`."""
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
        "stop": tenacity.stop_after_attempt(max_retries + 1) | _Deadline(),
        "wait": _wait,
        "before_sleep": _tell,
        "reraise": True,
    }


def _wait(state: tenacity.RetryCallState) -> float:
    asked = getattr(state.outcome.exception() if state.outcome else None, "retry_after", None)
    # Asked to come at once, a client that did would be a flood.
    return max(asked or 0.0, BACKOFF(state))


class _Deadline(tenacity.stop.stop_base):
    """Stops where the deadline of what blocks here passes before the next attempt."""

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return deadline.left() <= retry_state.upcoming_sleep


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s Asking again in %.1f s (attempt %d failed).", error, seconds, state.attempt_number)
