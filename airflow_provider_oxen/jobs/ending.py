"""How waiting for a generation ended, and whether another one would end in the same way."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["End", "Status", "is_about_credits", "is_final"]

Status = Literal["succeeded", "failed", "cancelled", "timed_out", "unknown", "unreachable"]
"""How waiting ends. ``unknown``: the hub does not know the id. ``unreachable``: nobody could be asked."""

_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)

_FINAL = re.compile(
    r"moderat|content[ _-]?policy|policy[ _-]violation|nsfw|flagged|safety|sensitive[ _-]?content|prohibited"
    r"|data[ _-]?inspection|net check failed|forbidden|\b4(0[023]|13|22)\b|invalid[_ ]param",
    re.IGNORECASE,
)
"""Words of failures that come back: seen on the live hub, in its documentation, and of its models."""


class End(NamedTuple):
    """How waiting for a generation ended.

    :ivar message: the hub's reason, or ours; never with a signed URL or the key.
    :ivar retryable: of a failure: whether the hub says that it may pass; None where it does not say.
    """

    status: Status
    message: str = ""
    retryable: bool | None = None

    @property
    def final(self) -> bool:
        """Whether a generation that failed would fail again."""
        return is_final(self.message, self.retryable)


def is_final(reason: str | None, retryable: bool | None = None) -> bool:
    """Whether a failed generation would fail again: credits, moderation, parameters.

    What the hub itself says of that goes before its words. A failure in words that nobody knows is not final.

    :param retryable: ``error_retryable`` of the row.
    """
    if retryable is not None:
        return not retryable
    return is_about_credits(reason) or bool(_FINAL.search(reason or ""))


def is_about_credits(reason: str | None) -> bool:
    """Whether a generation failed because nobody can pay for it."""
    return bool(_CREDITS.search(reason or ""))
