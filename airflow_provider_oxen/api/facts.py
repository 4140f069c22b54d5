"""The base of all errors: it holds facts, and makes one sentence of them (the tree is in :mod:`.errors`).

The sentence has this order: money, retry, cause, remedy.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from airflow_provider_oxen.api.redact import redacted_line, sentence

__all__ = ["OxenError"]

_TWO_STOPS = re.compile(r"(?<=[\w)\]'\"])([.?!])\.(?=\s|$)")

_SPENT = {"no": "Nothing was spent.", "unknown": "An image may have been paid for."}


class _Words:
    """A text of an error. Whoever sets it, it never holds the key or a signature."""

    def __set_name__(self, owner: type[OxenError], name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, error: OxenError, owner: type[OxenError]) -> str:
        return str(getattr(error, self._name))

    def __set__(self, error: OxenError, text: str) -> None:
        # What is quoted brings a full stop of its own.
        setattr(error, self._name, _TWO_STOPS.sub(r"\1", sentence(text)))


class OxenError(Exception):
    """Base of all errors that this package raises itself: it holds the facts, and makes the sentence.

    Code that knows more may set facts later. The sentence says money, retry, cause and remedy in this order,
    so no fact needs to repeat another.

    :param cause: what happened, for the person on call.
    :param remedy: what to do about it.
    :param money: what was spent; replaces the general sentence for ``spent``.
    :param retry: what another try does, if there is more to say than ``retry_helps``.
    :param spent: whether money was spent; None: the default of the class.
    :param retry_helps: whether the same call may succeed later without paying twice; None: the default of the
        class.
    :param status: the hub's HTTP status, if there was one.
    :param request_id: the hub's ``x-request-id``, to quote to its support.
    :param retry_after: seconds that the hub asked to wait.
    :param type: the hub's own word for the error, such as ``insufficient_credits``.
    """

    spent: Literal["no", "unknown", "yes"] = "no"
    retry_helps: bool = False
    lost: ClassVar[str] = "image not kept"
    cause, remedy, money, retry = _Words(), _Words(), _Words(), _Words()

    def __init__(
        self,
        cause: str,
        *,
        remedy: str = "",
        money: str = "",
        retry: str = "",
        spent: Literal["no", "unknown", "yes"] | None = None,
        retry_helps: bool | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        type: str | None = None,
    ) -> None:
        self.cause, self.remedy, self.money, self.retry = cause, remedy, money, retry
        super().__init__(self.cause)
        if spent is not None:
            self.spent = spent
        if retry_helps is not None:
            self.retry_helps = retry_helps
        self.status = status
        self.request_id = redacted_line(request_id)
        self.retry_after = retry_after
        self.type = redacted_line(type)

    @property
    def message(self) -> str:
        """What happened and what to do about it, without the parts about money and retries."""
        facts = [f"HTTP {self.status}"] if self.status is not None else []
        if self.request_id is not None:
            facts.append(f"request id {self.request_id}")
        quoted = f"({', '.join(facts)})" if facts else ""
        return " ".join(filter(None, (self.cause, self.remedy, quoted)))

    def advise(self, remedy: str) -> None:
        """Add a remedy; the code that catches an error may know a better one."""
        self.remedy = f"{self.remedy} {remedy}".strip()

    def __str__(self) -> str:
        money = self.money or _SPENT.get(self.spent, f"Paid, {self.lost}.")
        return " ".join(filter(None, (money, self.retry, self.message)))
