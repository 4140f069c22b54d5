"""What an error means to Airflow: another try, or the end of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

if TYPE_CHECKING:
    from airflow_provider_oxen.api.errors import OxenError

__all__ = ["for_airflow", "never_again"]

_MONEY = {
    "no": "Nothing was spent.",
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
            error.message += " It is safe to try again; Airflow's retries decide."
            raise
        # "from None": the message is whole, and one error is one entry in the log.
        raise AirflowFailException(f"{type(error).__name__}: {error} It is not tried again.") from None


@contextmanager
def never_again(meaning: type[OxenError], message: str) -> Iterator[None]:
    """Give whatever interrupts a paid step a meaning that is not tried again.

    Airflow's ``execution_timeout`` and its termination of a task arrive as exceptions in the middle
    of the work, and to Airflow they are reasons to retry: here that would pay once more.

    :param meaning: what it means where something else than an error of this package comes out.
    :param message: what is known then, and that money was, or may have been, spent.
    """
    from airflow_provider_oxen.api.errors import OxenError
    from airflow_provider_oxen.api.redact import without_queries

    try:
        yield
    except (OxenError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        cause = f"{type(error).__name__}: {without_queries(str(error))}"
        raise meaning(f"{message} It was interrupted by {cause}") from None
