"""The words for how a generation stands: the hub's five, and what others call the same. Pure.

The list is closed. A word that is not in it proves nothing: such a row is waited for, unless it tells a link.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.api.redact import redacted_line

__all__ = ["DOCUMENTED", "ENDED", "RUNNING", "UNKNOWN", "is_documented_failure", "normalize_status"]

RUNNING = frozenset({"queued", "processing"})
"""The hub's statuses of a job that is still to do."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""Those of a job that will not change any more."""

DOCUMENTED = RUNNING | ENDED

UNKNOWN = "unknown"
"""Stands for a status that is not told, or is no text."""

_SAME = {
    "queued": "accepted created enqueued in_queue initialized new pending scheduled submitted waiting",
    "processing": "active cancelling canceling generating in_process in_progress ongoing running started "
    "starting working",
    "succeeded": "complete completed done finished ok success successful",
    "failed": "error errored expired fail failure rejected timed_out timeout",
    "cancelled": "aborted canceled",
}
_MEANING = {word: status for status, words in _SAME.items() for word in (status, *words.split())}


def normalize_status(word: Any) -> str:
    """Return the hub's status that a word means, whatever its case; the word itself where nobody knows it."""
    if not isinstance(word, str) or not word.strip():
        return UNKNOWN
    if word in DOCUMENTED:
        return word
    return _MEANING.get(_plain(word)) or redacted_line(word) or UNKNOWN


def is_documented_failure(word: Any) -> bool:
    """Whether a bad end is told in the hub's own word: a link is a better witness than any other word."""
    return isinstance(word, str) and _plain(word) in ("failed", "cancelled", "canceled")


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")
