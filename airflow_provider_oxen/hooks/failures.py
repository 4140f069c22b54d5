"""What an error means to Airflow: another try, or the end of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

__all__ = ["for_airflow", "waited_for"]

_MONEY = {
    "no": "Nothing was spent by this try.",
    "unknown": "One image or more may have been paid for.",
    "yes": "The image was paid for.",
}


@contextmanager
def for_airflow() -> Iterator[None]:
    """Turn what a retry cannot mend, or must not repeat, into a failure without retry.

    The rest passes, and Airflow's ``retries`` decide. The message says what happened, whether money
    was spent, and what comes next.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if "spent" not in error.message and "paid" not in error.message:
            error.message += f" {_MONEY[error.spent]}"
        if error.retry_helps:
            safe = "It is safe to try again; " if error.spent == "no" else ""
            error.message += f" {safe}Airflow's retries decide."
            raise
        # "from None": the message is whole, and one error is one entry in the log.
        raise AirflowFailException(f"{type(error).__name__}: {error} It is not tried again.") from None


@contextmanager
def waited_for(what: str | None) -> Iterator[None]:
    """Say of an error that cost nothing by itself what the task has waited for: that may have cost something.

    :param what: in words; None where that is not known.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if error.spent == "no" and what:
            error.message += f" {what} may have been paid for: clear the task to go on with it."
        raise
