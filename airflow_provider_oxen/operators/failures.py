"""What an error means to Airflow: another try, or the end of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

__all__ = ["for_airflow"]


@contextmanager
def for_airflow() -> Iterator[None]:
    """Turn what a retry cannot mend, or must not repeat, into a failure without retry.

    The rest passes as it is, and Airflow's ``retries`` decide. The message is the error's own: it
    says what happened and whether money was spent.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if error.retry_helps:
            raise
        # "from None": the message is whole, and one error is one entry in the log.
        raise AirflowFailException(f"{type(error).__name__}: {error}") from None
