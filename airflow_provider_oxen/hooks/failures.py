"""What an error means to Airflow: a retry, or the end of the task."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

if TYPE_CHECKING:
    from airflow_provider_oxen.api.errors import OxenError

__all__ = ["for_airflow", "waited_for"]

_log = logging.getLogger(__name__)


class for_airflow(AbstractContextManager[None]):
    """Turn an error that a retry cannot fix, or must not repeat, into a failure without retry.

    The error stays what it is, with its facts; one that ends the task is an ``AirflowFailException``, too.
    Airflow prints an error with all that led to it, so the traceback ends here: the full one is logged at
    DEBUG. A class and no generator, which would add two frames to what Airflow prints.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Mark the error; it goes on by itself."""
        from airflow_provider_oxen.api.errors import OxenError

        if not isinstance(error, OxenError) or isinstance(error, AirflowFailException):
            return
        if error.spent == "no":
            # An earlier try may have spent something.
            error.money = error.money or "Nothing was spent by this try."
        if error.retry_helps:
            safe = "It is safe to try again; Airflow's retries decide."
            error.retry = error.retry or (safe if error.spent == "no" else "Airflow's retries decide.")
        else:
            error.retry = f"Not tried again. {error.retry}".rstrip()
        _log_traceback(error)
        if not error.retry_helps:
            error.__class__ = _final(type(error))
        # What a library had said before may quote links.
        error.__cause__ = error.__context__ = error.__traceback__ = None


def _final(kind: type[OxenError]) -> type[OxenError]:
    """Return the same kind of error, which Airflow does not try again."""
    facts: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, AirflowFailException), facts)


def _log_traceback(error: OxenError) -> None:
    """Log the full traceback at DEBUG, without keys and signed links."""
    if _log.isEnabledFor(logging.DEBUG):
        from airflow_provider_oxen.api.redact import without_queries

        # As a whole: a key or a link may go over the end of a line.
        story = "".join(traceback.format_exception(error))
        _log.debug("Where the error came from:\n%s", without_queries(story))


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
            error.advise("Clear the task to continue with it.")
        raise
