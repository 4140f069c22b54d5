"""The rules for sending again, what and when; both clients pass them to tenacity."""

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
"""Longest ``Retry-After`` in seconds that a worker waits for. For a longer wait, Airflow's own retries give
the slot back. The hub documents no numbers; its repository routes say 5. A ``Retry-After`` that is shorter
than the growing pause between two attempts is extended to that pause."""

NOT_YET = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before each further request for an image that is paid for and not there yet: half a minute
in all, for a store or a network that does not yet serve what was just written. The next try continues after
that."""

BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=8.0) + tenacity.wait_random(0, 0.5)
"""How long to wait before a repeatable call is sent again, unless the hub asks for longer."""

_PROVABLY_REFUSED = (errors.OxenConnectionError, errors.OxenRateLimited, errors.OxenUnavailable)
_FREE_AND_PASSING = (errors.OxenServerError, errors.OxenDownloadError)


def may_repeat(error: BaseException) -> bool:
    """Return whether the request may be sent again after this error.

    Always if it provably was not accepted (never sent, 429, a migration of the hub). A lost answer or a 5xx
    is a repeatable error only for a call that costs nothing. For a paid call it is an
    :class:`~.errors.OxenOutcomeUnknown`, which is never repeated.
    """
    if isinstance(error, _PROVABLY_REFUSED + _FREE_AND_PASSING):
        if isinstance(error, errors.OxenDownloadError) and not error.passing:
            return False
        return error.retry_after is None or error.retry_after <= RETRY_AFTER_CAP
    return False


def backoff(attempt: int, retry_after: float | None) -> float:
    """Return the seconds to wait before a refused request is sent again.

    The hub's ``Retry-After`` is a hint: the minimum grows with each attempt, and there is a maximum.

    :param attempt: from 0.
    """
    floor = min(0.5 * 2.0**attempt, 8.0)
    return min(max(floor, retry_after or 0.0), RETRY_AFTER_CAP)


def call_with_retries(again: Callable[[], tenacity.Retrying], ask: Callable[..., T], *arguments: Any) -> T:
    """Call a function, and repeat a failed call as tenacity decides. A success at once skips tenacity.

    :param again: creates the tenacity object; the failed call counts as its first attempt.
    """
    try:
        return ask(*arguments)
    except Exception as error:
        repeated = _repeated(error, ask, arguments)
    result: T = again()(repeated)
    return result


async def acall_with_retries(
    again: Callable[[], tenacity.AsyncRetrying], ask: Callable[..., Awaitable[T]], *arguments: Any
) -> T:
    """The async twin of :func:`call_with_retries`."""
    try:
        return await ask(*arguments)
    except Exception as error:
        repeated = _repeated(error, ask, arguments)

    # tenacity awaits only what it can see to be a coroutine function.
    async def call() -> T:
        return await repeated()

    result: T = await again()(call)
    return result


def _repeated(error: Exception, ask: Callable[..., T], arguments: tuple[Any, ...]) -> Callable[[], T]:
    """Return a function whose first call raises the error, and whose further calls call the given one."""
    failed = [error]

    def call() -> T:
        if failed:
            raise failed.pop()
        return ask(*arguments)

    return call


def policy(max_retries: int) -> dict[str, Any]:
    """Return the arguments for ``tenacity.Retrying`` and ``AsyncRetrying``."""
    return {
        "retry": tenacity.retry_if_exception(may_repeat),
        "stop": tenacity.stop_after_attempt(max_retries + 1) | _Deadline(),
        "wait": _wait,
        "before_sleep": _tell,
        "reraise": True,
    }


def _wait(state: tenacity.RetryCallState) -> float:
    asked = getattr(state.outcome.exception() if state.outcome else None, "retry_after", None)
    # "Retry-After: 0" must not make the client send without a pause.
    return max(asked or 0.0, BACKOFF(state))


class _Deadline(tenacity.stop.stop_base):
    """Stops if the deadline of the blocking code passes before the next attempt."""

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return deadline.left() <= retry_state.upcoming_sleep


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s Asking again in %.1f s (attempt %d failed).", error, seconds, state.attempt_number)
