"""A retry policy for tasks that call the hub. For Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.errors import OxenError

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "OxenRetryPolicy needs Airflow 3.3 or newer, and a matching common-compat provider: earlier "
        "versions have no retry policies."
    ) from error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["OxenRetryPolicy"]


_FLOOR, _CEILING = 10.0, 300.0
"""Shortest wait before the next try, in seconds, after a refusal with a waiting time: it starts at the first
value, doubles with each try, and stops at the second."""


class OxenRetryPolicy(RetryPolicy):
    """Wait as long as the hub says, fail what is final, and retry the rest.

    The operators already fail what is final; for them the policy adds the hub's own waiting time after a rate
    limit. For ``@task`` functions that use the hook it does both::

        @task(retries=3, retry_policy=OxenRetryPolicy())
        def draw(): ...

    Errors from outside this package follow the task's own ``retries`` and ``retry_delay``.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Return what to do after an error of a task; see the class."""
        if not isinstance(exception, OxenError):
            return RetryDecision.default()
        name = type(exception).__name__
        if not exception.retry_helps:
            return RetryDecision.fail(f"{name}: another try would not help, or might pay twice.")
        if exception.retry_after is not None:
            floor = min(_CEILING, _FLOOR * 2.0 ** min(max(try_number, 1) - 1, 10))
            delay = timedelta(seconds=max(floor, exception.retry_after))
            return RetryDecision.retry(delay, f"{name}: the hub asks to come back in {delay}.")
        return RetryDecision.retry(reason=f"{name}: it is safe to try again.")

    def serialize(self) -> dict[str, Any]:
        """Return an empty mapping: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> OxenRetryPolicy:
        """Return the policy; it has no settings to read."""
        return cls()
