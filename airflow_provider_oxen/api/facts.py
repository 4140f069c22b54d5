"""An error is facts, and here they become a sentence: money, retry, cause, remedy (tree: :mod:`.errors`)."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from airflow_provider_oxen.api.redact import sentence, told

__all__ = ["OxenError"]

_TWO_STOPS = re.compile(r"(?<=[\w)\]'\"])([.?!])\.(?=\s|$)")

_SPENT = {"no": "Nothing was spent.", "unknown": "An image may have been paid for."}


class _Words:
    """What an error says, or a part of it: whoever sets it, it holds neither the key nor a signature."""

    def __set_name__(self, owner: type[OxenError], name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, error: OxenError, owner: type[OxenError]) -> str:
        return str(getattr(error, self._name))

    def __set__(self, error: OxenError, text: str) -> None:
        # What is quoted brings a full stop of its own.
        setattr(error, self._name, _TWO_STOPS.sub(r"\1", sentence(text)))


class OxenError(Exception):
    """Base of everything this package raises on its own account: the facts, of which it makes a sentence.

    Facts may be set later, by who knows more. What is said of money, of a retry, of the cause and of the
    remedy stands in the sentence in this order, and so none of them tells of another.

    :param cause: what happened, for the person on call.
    :param remedy: what to do about it.
    :param money: in place of what ``spent`` says in general.
    :param retry: what another try does, where there is more to say than ``retry_helps``.
    :param spent: whether money was spent; None: as usual with such an error.
    :param retry_helps: whether the same call may succeed later without costing twice; None: as usual.
    :param status: the hub's HTTP status, where there was one.
    :param request_id: the hub's ``x-request-id``, to quote to its support.
    :param retry_after: seconds the hub asked to wait.
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
        self.request_id = told(request_id)
        self.retry_after = retry_after
        self.type = told(type)

    @property
    def message(self) -> str:
        """What happened and what to do about it, without what is said of money and of another try."""
        facts = [f"HTTP {self.status}"] if self.status is not None else []
        if self.request_id is not None:
            facts.append(f"request id {self.request_id}")
        quoted = f"({', '.join(facts)})" if facts else ""
        return " ".join(filter(None, (self.cause, self.remedy, quoted)))

    def advise(self, remedy: str) -> None:
        """Add what to do about it, which who catches the error may know better."""
        self.remedy = f"{self.remedy} {remedy}".strip()

    def __str__(self) -> str:
        money = self.money or _SPENT.get(self.spent, f"Paid, {self.lost}.")
        return " ".join(filter(None, (money, self.retry, self.message)))
