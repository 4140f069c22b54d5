"""What an error means to Airflow: another try, or the end of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

__all__ = ["for_airflow", "waited_for"]


@contextmanager
def for_airflow() -> Iterator[None]:
    """Turn what a retry cannot mend, or must not repeat, into a failure without retry.

    The rest passes, and Airflow's ``retries`` decide. A failure's ``__cause__`` is the error.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if error.spent == "no":
            # An earlier one may have spent something.
            error.money = error.money or "Nothing was spent by this try."
        if error.retry_helps:
            safe = "It is safe to try again; Airflow's retries decide."
            error.retry = error.retry or (safe if error.spent == "no" else "Airflow's retries decide.")
            raise
        error.retry = f"Not tried again. {error.retry}".rstrip()
        # Callbacks find the facts in the cause. What a library had said before may quote links.
        error.__cause__ = error.__context__ = None
        raise AirflowFailException(f"{error} ({type(error).__name__})") from error


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
            error.money = f"{what} may have been paid for."
            error.advise("Clear the task to go on with it.")
        raise
