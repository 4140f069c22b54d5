"""Writes to a folder, and questions to it, with retries: what they are for is paid."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import tenacity

from airflow_provider_oxen.api.errors import OxenStorageError
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.api.retries import call_with_retries
from airflow_provider_oxen.images.storage import Folder

__all__ = ["Writer"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_ATTEMPTS = 6
"""Attempts at a write or a read, about 30 s in all: enough for a short failure, and little for a paid
image."""


@dataclass
class Writer:
    """Writes one task's files.

    :param writer_id: identity and try, for the names of unfinished files.
    :param sleep: waits the seconds between two attempts.
    """

    folder: Folder
    writer_id: str
    sleep: Callable[[float], None]

    def put(self, name: str, source: BinaryIO) -> None:
        """Write a file over whatever is there."""
        self.write(self.folder.put, name, source)

    def write(self, write: Callable[..., T], name: str, source: BinaryIO) -> T:
        """Write a file the given way.

        :raises OxenStorageError: if all attempts fail.
        """
        try:
            return self.with_retries(write, name, source, self.writer_id)
        except Exception as error:
            raise OxenStorageError(
                f"{self.folder.asset_uri(name)}: {_ATTEMPTS} attempts failed, the last with "
                f"{describe_error(error)}"
            ) from None

    def may_be(self, ask: Callable[..., bool], *arguments: Any) -> bool:
        """Ask the store; if it cannot tell, the answer is yes."""
        try:
            return self.with_retries(ask, *arguments)
        except Exception as error:
            log.warning("The store cannot tell what is there: %s", describe_error(error))
            return True

    def with_retries(self, ask: Callable[..., T], *arguments: Any) -> T:
        """Call the store, and retry if it does not answer."""
        return call_with_retries(
            lambda: tenacity.Retrying(
                stop=tenacity.stop_after_attempt(_ATTEMPTS),
                wait=tenacity.wait_exponential(multiplier=1),
                before_sleep=_log_attempt,
                sleep=self.sleep,
                reraise=True,
            ),
            ask, *arguments,
        )  # fmt: skip


def _log_attempt(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "The store failed (attempt %d of %d): %s", state.attempt_number, _ATTEMPTS, describe_error(error)
    )
