"""What an error means to Airflow: a retry, or the end of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

__all__ = ["for_airflow", "waited_for"]


@contextmanager
def for_airflow() -> Iterator[None]:
    """Turn an error that a retry cannot fix, or must not repeat, into a failure without a retry.

    All other errors pass, and Airflow's ``retries`` decide. The failure's ``__cause__`` is the original
    error.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if error.spent == "no":
            # An earlier try may have spent something.
            error.money = error.money or "Nothing was spent by this try."
        if error.retry_helps:
            safe = "It is safe to try again; Airflow's retries decide."
            error.retry = error.retry or (safe if error.spent == "no" else "Airflow's retries decide.")
            raise
        error.retry = f"Not tried again. {error.retry}".rstrip()
        # Callbacks find the facts in the cause. A library's own message, further down, may quote links.
        error.__cause__ = error.__context__ = None
        raise AirflowFailException(f"{error} ({type(error).__name__})") from error


@contextmanager
def waited_for(what: str | None) -> Iterator[None]:
    """Add to an error that spent nothing itself that what the task waited for may have been paid for.

    :param what: what the task waited for, as the subject of a sentence; None if that is not known.
    """
    from airflow_provider_oxen.api.errors import OxenError

    try:
        yield
    except OxenError as error:
        if error.spent == "no" and what:
            error.money = f"{what} may have been paid for."
            error.advise("Clear the task to go on with it.")
        raise
