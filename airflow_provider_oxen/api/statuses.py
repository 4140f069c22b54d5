"""The statuses of a generation: the hub's five, and other words for the same. Pure.

The list is closed. A word that is not in it proves nothing: such a row is waited for, unless it has a link.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.api.redact import redacted_line

__all__ = [
    "DOCUMENTED",
    "ENDED",
    "RUNNING",
    "UNKNOWN",
    "in_words",
    "is_documented_failure",
    "normalize_status",
]

RUNNING = frozenset({"queued", "processing"})
"""The hub's statuses of an unfinished job."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""The hub's statuses of a job that will not change any more."""

DOCUMENTED = RUNNING | ENDED

UNKNOWN = "unknown"
"""Stands for a status that is missing, or is not text."""

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
    """Return the hub's status for a word, in any case; an unknown word is returned as it is."""
    if not isinstance(word, str) or not word.strip():
        return UNKNOWN
    if word in DOCUMENTED:
        return word
    return _MEANING.get(_plain(word)) or redacted_line(word) or UNKNOWN


def in_words(status: str) -> str:
    """Return a status as the end of a sentence that begins with a generation."""
    if status == "cancelled":
        return "was cancelled"
    return f"has {status}" if status in ENDED else f"is {status[:50]}"


def is_documented_failure(word: Any) -> bool:
    """Return whether a failure is reported in the hub's own word: a link outweighs any other word."""
    return isinstance(word, str) and _plain(word) in ("failed", "cancelled", "canceled")


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")
