"""Keep the records that HTTP libraries log about our requests out of the log.

``httpx`` logs every URL with its query at INFO, and ``httpcore`` every header of an answer at DEBUG: a signed
link would stand in the task log. Their records are dropped only while one of our requests is under way; other
users of these libraries see their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["suppress_http_logs"]

_ours: ContextVar[bool] = ContextVar("oxen_request", default=False)

_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
# A filter of a parent logger does not see its children's records, so name each logger.


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not _ours.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_not_ours)


@contextmanager
def suppress_http_logs() -> Iterator[None]:
    """Drop the HTTP libraries' log records for the requests made inside."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
