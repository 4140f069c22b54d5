"""How waiting for a generation ended, and whether another one would end in the same way."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["End", "Status", "is_about_credits", "is_final"]

Status = Literal["succeeded", "failed", "cancelled", "timed_out", "unknown", "unreachable"]
"""How waiting ends. ``unknown``: the hub does not know the id. ``unreachable``: the hub could not be
asked."""

_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)

_FINAL = re.compile(
    r"moderat|content[ _-]?policy|policy[ _-]violation|nsfw|flagged|safety|sensitive[ _-]?content|prohibited"
    r"|data[ _-]?inspection|net check failed|forbidden|\b4(0[023]|13|22)\b|invalid[_ ]param",
    re.IGNORECASE,
)
"""Words of failures that would repeat: seen on the live hub, in its documentation, and in its models'
messages."""


class End(NamedTuple):
    """How waiting for a generation ended.

    :ivar message: the hub's reason, or ours; never with a signed URL or the key.
    :ivar retryable: for a failure: whether the hub says that it may pass; None if it does not say.
    """

    status: Status
    message: str = ""
    retryable: bool | None = None

    @property
    def final(self) -> bool:
        """Whether a failed generation would fail again."""
        return is_final(self.message, self.retryable)


def is_final(reason: str | None, retryable: bool | None = None) -> bool:
    """Return whether a failed generation would fail again: credits, moderation, parameters.

    The hub's own verdict takes precedence over its message. A failure with unknown words is not final.

    :param retryable: ``error_retryable`` of the row.
    """
    if retryable is not None:
        return not retryable
    return is_about_credits(reason) or bool(_FINAL.search(reason or ""))


def is_about_credits(reason: str | None) -> bool:
    """Return whether a generation failed for lack of credits."""
    return bool(_CREDITS.search(reason or ""))
