"""The errors of this package, as a tree::

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
    │   │   └── OxenOutputDamaged      ... its own sidecar or image, which is no longer whole
    │   ├── OxenStoreUnavailable       the store of the output, or of the record, could not be read
    │   ├── OxenChangedRequest         the task already has a job, for another request
    │   ├── OxenBudgetError            it would cost more than max_cost, or its price is not known
    │   ├── OxenUpdateRequired         426: this package is too old for the hub
    │   ├── OxenRateLimited            429
    │   └── OxenUnavailable            503 for a request that costs nothing; 426 while the hub is migrated
    ├── OxenOvertaken                  another try is running, or may be: nothing was sent, nothing is written
    ├── OxenServerError                5xx, a lost or unreadable answer to a request that costs nothing
    ├── OxenOutcomeUnknown             a paid request whose answer was lost: an image may have been paid for
    │   ├── OxenGenerationNotFound     the hub does not know the generation's id
    │   └── OxenRecordError            the record of a job is damaged, not ours, or was not written
    ├── OxenGenerationError            a generation was accepted, but gave no image
    │   ├── OxenGenerationFailed       the hub says that it failed
    │   ├── OxenGenerationCancelled    somebody cancelled it
    │   └── OxenGenerationTimeout      it did not end in time
    ├── OxenPollError                  the status of a generation could not be read
    ├── OxenBatchError                 some prompts of a batch gave no image
    └── OxenImageError                 the image was generated, and so paid for, but
        ├── OxenBadImage               its bytes are not a whole image
        ├── OxenDownloadError          it could not be fetched
        │   └── OxenExpiredURL         because its link does not work
        └── OxenStorageError           it could not be written

Each class answers the two questions that decide what a caller does: ``spent`` (was money spent?) and
``retry_helps`` (may the same call succeed later, without paying twice?).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.facts import OxenError

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
    "OxenOutputDamaged",
    "OxenOutputExists",
    "OxenOvertaken",
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
    "OxenUpdateRequired",
]


class OxenRefused(OxenError):
    """Nothing was accepted: no money was spent."""


class OxenConnectionError(OxenRefused):
    """The hub was never reached; the request was not sent."""

    retry_helps = True


class OxenSettingsError(OxenRefused):
    """A field of the Airflow connection is unknown, malformed or unsafe."""


class OxenInvalidRequest(OxenRefused):
    """The request itself is wrong. It was refused here before it was sent, or by the hub."""


class OxenModerationError(OxenInvalidRequest):
    """The hub's content policy refused the prompt or the image."""


class OxenAuthenticationError(OxenRefused):
    """The key is missing or wrong."""


class OxenPermissionError(OxenRefused):
    """The key is known but may not do this, for example bill another namespace."""


class OxenCreditsError(OxenRefused):
    """The account or namespace that is billed is out of credits."""


class OxenModelNotFound(OxenRefused):
    """The hub does not know the model."""


class OxenRouteNotFound(OxenRefused):
    """The host answered, but does not serve this path."""


class OxenOutputExists(OxenRefused):
    """The place of the output holds another request's image, or a file that this package did not write."""


class OxenOutputDamaged(OxenOutputExists):
    """The place of the output holds a sidecar or an image of this package that has been changed since."""


class OxenStoreUnavailable(OxenRefused):
    """The store of the output did not answer, before anything was sent to the hub."""

    retry_helps = True


class OxenChangedRequest(OxenRefused):
    """The task's record shows a job for another request, hub or namespace."""


class OxenBudgetError(OxenRefused):
    """The submission would cost more than the task may spend, or its price is not known."""


class OxenUpdateRequired(OxenRefused):
    """The hub takes this package for a program that is too old; install a newer version of the package."""


class OxenRateLimited(OxenRefused):
    """Too many requests; ``retry_after`` says how long to wait, if the hub said so."""

    retry_helps = True


class OxenUnavailable(OxenRefused):
    """The hub runs but does not accept the request now. For a paid request, a 503 proves nothing."""

    retry_helps = True


class OxenOvertaken(OxenError):
    """Another try is running: this one sends nothing, and does not overwrite the other's record."""

    retry_helps = True


class OxenServerError(OxenError):
    """A request that costs nothing failed on the hub's side, or its answer could not be read."""

    retry_helps = True


@dataclass(frozen=True)
class Unread:
    """An answer to a paid request that arrived but could not be read.

    :ivar content: the body, without the key. It may hold links, so nothing shows it. Empty if the answer
        holds only ids.
    :ivar ids: the generations that the answer names.
    """

    content: bytes = field(repr=False)
    ids: tuple[str, ...] = ()


class OxenOutcomeUnknown(OxenError):
    """A paid request was sent and its answer was lost: the image may exist and be paid for.

    :ivar unread: the answer that could not be read; None if none arrived.
    """

    spent = "unknown"
    unread: Unread | None = None


class OxenGenerationNotFound(OxenOutcomeUnknown):
    """The hub does not know a generation that it once accepted, or whose id was given."""


class OxenRecordError(OxenOutcomeUnknown):
    """The record that keeps a task from paying twice cannot be trusted."""


class OxenGenerationError(OxenError):
    """A generation was accepted and gave no image. Whether the hub bills such a one is not documented."""

    spent = "unknown"


class OxenGenerationFailed(OxenGenerationError):
    """The hub says that the generation failed."""


class OxenGenerationCancelled(OxenGenerationError):
    """The generation was cancelled."""


class OxenGenerationTimeout(OxenGenerationError):
    """The generation did not end within ``timeout``."""


class OxenPollError(OxenError):
    """The status of a generation could not be read. It may continue; the next try asks again."""

    spent = "unknown"
    retry_helps = True


class OxenBatchError(OxenError):
    """Some prompts of a batch gave no image; the images of the others are kept."""

    spent = "unknown"


class OxenImageError(OxenError):
    """The image was generated, and so paid for, but did not arrive whole at its destination.

    :ivar not_yet: whether the image may only not be there yet. Then it is requested again, and no record is
        given up.
    """

    spent = "yes"
    not_yet: bool = False


class OxenBadImage(OxenImageError):
    """The bytes cannot be proved to be a whole image.

    :param reason: what is wrong with the bytes, as one clause.
    :ivar sha256: hexadecimal hash of the bytes; None if there are none.
    :ivar damaged: whether the bytes begin like an image.
    :ivar doubted: whether the bytes are a whole image, but do not match a checksum.
    """

    lost = "image not usable"

    def __init__(self, cause: str, *, reason: str = "", **facts: Any) -> None:
        super().__init__(cause, **facts)
        self.reason = reason
        self.sha256: str | None = None
        self.damaged = False
        self.doubted = False


class OxenDownloadError(OxenImageError):
    """The result could not be fetched whole.

    :param passing: whether requesting the same link again may help.
    :param not_yet: whether something else was served in place of the image.
    """

    lost = "image not fetched"

    def __init__(
        self, cause: str, *, passing: bool = False, not_yet: bool | None = None, **facts: Any
    ) -> None:
        super().__init__(cause, **facts)
        self.passing = passing
        if not_yet is not None:
            self.not_yet = not_yet


class OxenExpiredURL(OxenDownloadError):
    """The result's link does not work: it has expired, or the image is not there yet."""

    not_yet = True


class OxenStorageError(OxenImageError):
    """The image was fetched and proved but could not be written."""

    lost = "image not written"
