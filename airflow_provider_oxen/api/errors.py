"""What can go wrong, drawn once::

    OxenError
    ├── OxenRefused                    nothing was accepted, so nothing was spent
    │   ├── OxenConnectionError        the hub was never reached (DNS, refused, TLS, proxy)
    │   ├── OxenSettingsError          the connection's fields do not make sense
    │   ├── OxenInvalidRequest         400, 413, 422, or refused here before anything was sent
    │   │   └── OxenModerationError    422, the content policy
    │   ├── OxenAuthenticationError    401: no key, or a wrong one
    │   ├── OxenPermissionError        403: the key may not do this (a foreign namespace)
    │   ├── OxenCreditsError           402: out of credits
    │   ├── OxenModelNotFound          404 that names the model
    │   ├── OxenRouteNotFound          404 that does not: the path layout, or the host, is another
    │   ├── OxenOutputExists           the place of the output holds something else
    │   ├── OxenStoreUnavailable       the place of the output, or of the record, could not be looked at
    │   ├── OxenChangedRequest         the task has a job already, and it is another request's
    │   ├── OxenBudgetError            it would cost more than max_cost, or nobody knows what it costs
    │   ├── OxenRateLimited            429
    │   └── OxenUnavailable            503
    ├── OxenServerError                5xx, a lost or unreadable answer to a request that costs nothing
    ├── OxenOutcomeUnknown             a paid request whose answer was lost: an image may have been paid for
    │   ├── OxenGenerationNotFound     the hub does not know the generation's id
    │   └── OxenRecordError            the record of a job is damaged, not ours, or was not written
    ├── OxenGenerationError            a generation was accepted, and no image came of it
    │   ├── OxenGenerationFailed       the hub says that it failed
    │   ├── OxenGenerationCancelled    somebody cancelled it
    │   └── OxenGenerationTimeout      it did not end in time
    ├── OxenPollError                  how a generation stands could not be learnt
    ├── OxenBatchError                 some prompts of a batch gave no image
    └── OxenImageError                 the image was generated, and so paid for, but
        ├── OxenBadImage               its bytes are not a whole image
        ├── OxenDownloadError          it could not be fetched
        │   └── OxenExpiredURL         because its link no longer works
        └── OxenStorageError           it could not be kept

Two questions decide what a caller does, and each class answers them: ``spent`` (was money spent?)
and ``retry_helps`` (may the same call succeed later, without costing twice?).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

__all__ = [
    "OxenAuthenticationError",
    "OxenBadImage",
    "OxenBatchError",
    "OxenBudgetError",
    "OxenChangedRequest",
    "OxenConnectionError",
    "OxenCreditsError",
    "OxenDownloadError",
    "OxenError",
    "OxenExpiredURL",
    "OxenGenerationCancelled",
    "OxenGenerationError",
    "OxenGenerationFailed",
    "OxenGenerationNotFound",
    "OxenGenerationTimeout",
    "OxenImageError",
    "OxenInvalidRequest",
    "OxenModelNotFound",
    "OxenModerationError",
    "OxenOutcomeUnknown",
    "OxenOutputExists",
    "OxenPermissionError",
    "OxenPollError",
    "OxenRateLimited",
    "OxenRecordError",
    "OxenRefused",
    "OxenRouteNotFound",
    "OxenServerError",
    "OxenSettingsError",
    "OxenStorageError",
    "OxenStoreUnavailable",
    "OxenUnavailable",
]


class OxenError(Exception):
    """Base of everything this package raises on its own account.

    :param message: a sentence for the person on call; never holds the key or a signed URL.
    :param status: the hub's HTTP status, where there was one.
    :param request_id: the hub's ``x-request-id``, to quote to its support.
    :param retry_after: seconds the hub asked to wait.
    :param type: the hub's own word for the error, such as ``insufficient_credits``.
    """

    spent: ClassVar[Literal["no", "unknown", "yes"]] = "no"
    retry_helps: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.type = type

    def __str__(self) -> str:
        facts = []
        if self.status is not None:
            facts.append(f"HTTP {self.status}")
        if self.request_id is not None:
            facts.append(f"request id {self.request_id}")
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class OxenRefused(OxenError):
    """Nothing was accepted: no money was spent."""


class OxenConnectionError(OxenRefused):
    """The hub was never reached; the request was not sent."""

    retry_helps = True


class OxenSettingsError(OxenRefused):
    """A field of the Airflow connection is unknown, malformed or unsafe."""


class OxenInvalidRequest(OxenRefused):
    """The request itself is wrong: refused here before it was sent, or by the hub."""


class OxenModerationError(OxenInvalidRequest):
    """The hub's content policy refused the prompt or the image."""


class OxenAuthenticationError(OxenRefused):
    """The key is missing or wrong."""


class OxenPermissionError(OxenRefused):
    """The key is known but may not do this, for example bill another namespace."""


class OxenCreditsError(OxenRefused):
    """The account, or the namespace that is billed, is out of credits."""


class OxenModelNotFound(OxenRefused):
    """The hub does not know the model."""


class OxenRouteNotFound(OxenRefused):
    """The host answered, but does not serve this path."""


class OxenOutputExists(OxenRefused):
    """The place of the output holds another request's image, or a file that is not ours."""


class OxenStoreUnavailable(OxenRefused):
    """The store of the output did not answer, before anything was asked of the hub."""

    retry_helps = True


class OxenChangedRequest(OxenRefused):
    """The task's record tells of a job of another request, hub or namespace."""


class OxenBudgetError(OxenRefused):
    """The submission would cost more than the task may spend, or its price is not known."""


class OxenRateLimited(OxenRefused):
    """Too many requests; ``retry_after`` says how long to wait where the hub told."""

    retry_helps = True


class OxenUnavailable(OxenRefused):
    """The hub is up but does not take the request now."""

    retry_helps = True


class OxenServerError(OxenError):
    """A request that costs nothing failed on the hub's side, or its answer could not be read."""

    retry_helps = True


class OxenOutcomeUnknown(OxenError):
    """A paid request was sent and its answer was lost: the image may exist and be paid for."""

    spent = "unknown"


class OxenGenerationNotFound(OxenOutcomeUnknown):
    """The hub does not know a generation that it once accepted, or that somebody named."""


class OxenRecordError(OxenOutcomeUnknown):
    """The record that keeps a task from paying twice cannot be relied upon."""


class OxenGenerationError(OxenError):
    """A generation was accepted and gave no image. Whether the hub bills such a one is not documented.

    :param retry_helps: whether another submission may succeed.
    """

    spent = "unknown"

    def __init__(self, message: str, *, retry_helps: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_helps = retry_helps


class OxenGenerationFailed(OxenGenerationError):
    """The hub says that the generation failed."""


class OxenGenerationCancelled(OxenGenerationError):
    """The generation was cancelled."""


class OxenGenerationTimeout(OxenGenerationError):
    """The generation did not end within ``timeout``."""


class OxenPollError(OxenError):
    """How a generation stands could not be learnt. It may go on; the next try asks again."""

    spent = "unknown"
    retry_helps = True


class OxenBatchError(OxenError):
    """Some prompts of a batch gave no image; those of the others are kept.

    :param retry_helps: whether another try may do what is missing.
    """

    spent = "unknown"

    def __init__(self, message: str, *, retry_helps: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_helps = retry_helps


class OxenImageError(OxenError):
    """The image was generated, and so paid for, but did not arrive whole in its place."""

    spent = "yes"


class OxenBadImage(OxenImageError):
    """The bytes cannot be proved to be a whole image.

    :param reason: one clause: what is wrong with the bytes.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class OxenDownloadError(OxenImageError):
    """The result could not be fetched whole.

    :param passing: whether asking for the same link again may help.
    """

    def __init__(self, message: str, *, passing: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.passing = passing


class OxenExpiredURL(OxenDownloadError):
    """The result's link no longer works."""


class OxenStorageError(OxenImageError):
    """The image was fetched and proved but could not be written."""
