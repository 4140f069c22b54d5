"""The differences between object stores: drivers, options of a write, and meanings of errors.

``storage_options`` go to a store with each write, such as how to encrypt or who may read. Only options that
reach the store in every kind of write are accepted: drivers silently drop names that they do not know, and
then a bucket would not be encrypted as somebody believes. They hold no credentials.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from logging import getLogger
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenInvalidRequest

__all__ = [
    "AZURE",
    "GCS",
    "S3",
    "STORES",
    "Store",
    "check",
    "is_final",
    "is_public",
    "is_taken",
    "keywords",
    "knows_no_conditions",
    "store_of",
    "warn_of_old_driver",
]

log = getLogger(__name__)


class Store(NamedTuple):
    """A kind of object store, known by its driver.

    :ivar schemes: of its URLs.
    :ivar extra: of this package, which installs the driver.
    :ivar provider: the package of Airflow that registers the schemes.
    :ivar driver: the package.
    :ivar floor: its version, as in the extra, which nobody has to use. Drivers before December 2024 write
        over what is there although they were asked not to; later ones of s3fs took an empty bucket for a
        missing one.
    :ivar options: names that ``storage_options`` may hold.
    :ivar type_option: the option for a file's type; None if the driver finds it out.
    :ivar own: endpoints of the store whose web console we know; None if we know none.
    """

    schemes: frozenset[str]
    extra: str
    provider: str
    driver: str
    floor: tuple[int, int]
    options: tuple[str, ...]
    type_option: str | None = None
    own: re.Pattern[str] | None = None


S3 = Store(
    frozenset({"s3", "s3a", "s3n"}), "s3", "apache-airflow-providers-amazon[s3fs]", "s3fs", (2025, 10),
    # Parameters of both PutObject and CreateMultipartUpload.
    (
        "ACL", "BucketKeyEnabled", "CacheControl", "ChecksumAlgorithm", "ContentDisposition",
        "ContentEncoding", "ContentLanguage", "ContentType", "ExpectedBucketOwner", "Expires",
        "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP", "Metadata",
        "ObjectLockLegalHoldStatus", "ObjectLockMode", "ObjectLockRetainUntilDate", "RequestPayer",
        "SSEKMSEncryptionContext", "SSEKMSKeyId",
        "ServerSideEncryption", "StorageClass", "Tagging", "WebsiteRedirectLocation",
    ),
    "ContentType",
    # The government's cloud has another console.
    re.compile(r"https://(?![^/]*us-gov-)(?:[\w-]+\.)*amazonaws\.com(?::443)?/?"),
)  # fmt: skip

GCS = Store(
    frozenset({"gs", "gcs"}), "gcs", "apache-airflow-providers-google", "gcsfs", (2024, 12),
    ("consistency", "content_type", "fixed_key_metadata", "kms_key_name", "metadata"),
    "content_type",
    re.compile(r"https://(?:[\w-]+\.)*googleapis\.com(?::443)?/?"),
)  # fmt: skip

AZURE = Store(
    frozenset({"abfs", "abfss", "az", "adl"}), "azure", "apache-airflow-providers-microsoft-azure",
    "adlfs", (2026, 2),
    # Keywords of ``upload_blob``.
    ("content_settings", "encryption_scope", "standard_blob_tier", "tags"),
)  # fmt: skip

STORES = (S3, GCS, AZURE)

_SECRET = re.compile(
    r"key|secret|token|passw|pwd|credential|conn(ection)?_?str|signature|^sas|_sas", re.IGNORECASE
)
_NAMES_OF_KEYS = frozenset({"BucketKeyEnabled", "SSEKMSKeyId", "fixed_key_metadata", "kms_key_name"})
"""Names with "key" in them that hold no secret, but the name of a key or something else."""

_SECRETS = re.compile(r"AccountKey=|SharedAccessSignature=|-----BEGIN|[?&]sig=|\b(AKIA|ASIA)[A-Z0-9]{16}\b")
"""What credentials look like in values."""

_warned: set[str] = set()

_FINAL = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError)
_FINAL_NUMBERS = frozenset({errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP})

_PASSING = frozenset({408, 409, 412, 423, 425, 429})
"""4xx statuses that mean "not now"."""

_PASSING_CODES = frozenset({"RequestTimeout", "ExpiredToken", "RequestTimeTooSkewed", "OperationAborted"})
"""S3's codes for temporary errors with status 400 or 403."""


def store_of(scheme: str) -> Store | None:
    """Return the kind of store for a URL's scheme; None if another provider brings it."""
    return next((store for store in STORES if scheme in store.schemes), None)


def is_public(store: Store | None, fs: Any) -> bool:
    """Return whether a driver is known to use Amazon's or Google's own store, and not MinIO or another one.

    The client that the driver has made knows this: an endpoint may come from the Airflow connection, from the
    environment, or from a file of Amazon's.

    :param fs: an fsspec file system that has already contacted its store.
    """
    if store is None or store.own is None:
        return False
    client = getattr(fs, "_s3", None)
    amazons, googles = getattr(client, "meta", None), getattr(fs, "_location", None)
    endpoint = getattr(amazons, "endpoint_url", googles)
    return isinstance(endpoint, str) and store.own.fullmatch(endpoint) is not None


def warn_of_old_driver(store: Store | None) -> None:
    """Warn, once in a process, that a store's driver is older than it should be."""
    if store is None or store.driver in _warned:
        return
    _warned.add(store.driver)
    try:
        installed = version(store.driver)
        numbers = tuple(int(part) for part in installed.split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return
    if numbers < store.floor:
        wanted = ".".join(map(str, store.floor))
        log.warning(
            "%s %s is older than %s, the first version that never overwrites an image there. Upgrade it: "
            "pip install '%s>=%s'.",
            store.driver, installed, wanted, store.driver, wanted,
        )  # fmt: skip


def check(options: Mapping[str, Any]) -> None:
    """Refuse credentials, in names and in values; no value is shown.

    :raises OxenInvalidRequest: naming the option.
    """
    for name, value in _flat(options):
        last = name.rpartition(".")[2]
        hidden = _SECRET.search(last) and last not in _NAMES_OF_KEYS
        if hidden or (isinstance(value, str) and _SECRETS.search(value)):
            raise OxenInvalidRequest(
                f"storage_options must hold no credentials, and {name!r} looks like one.",
                remedy="They belong in an Airflow connection, which storage_conn_id names.",
            )


def keywords(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in the form that a store's driver takes.

    :param scheme: scheme of the store's URL.
    :raises OxenInvalidRequest: naming the options that the store does not take, and those that it does.
    """
    if not options:
        return {}
    check(options)
    store = store_of(scheme)
    if store and (unknown := [name for name in options if name not in store.options]):
        raise OxenInvalidRequest(
            f"storage_options for {scheme}:// must not hold {', '.join(map(repr, unknown))}; allowed are "
            f"{', '.join(store.options)}."
        )
    return _azure(options) if store is AZURE else dict(options)


def _azure(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with Azure's own types, which its library requires in places."""
    from azure.storage.blob import ContentSettings, StandardBlobTier

    made = dict(options)
    try:
        if isinstance(made.get("content_settings"), Mapping):
            made["content_settings"] = ContentSettings(**made["content_settings"])
        if "standard_blob_tier" in made:
            made["standard_blob_tier"] = StandardBlobTier(made["standard_blob_tier"])
    except (TypeError, ValueError) as error:
        raise OxenInvalidRequest(f"storage_options are not what Azure takes: {error}.") from None
    return made


def _flat(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        inside = isinstance(value, Mapping)
        yield f"{before}{name}", None if inside else value
        if inside:
            yield from _flat(value, f"{before}{name}.")


def is_taken(error: BaseException) -> bool:
    """Return whether a conditional write was refused because the object exists."""
    # Azure's 409 has many reasons; its driver raises FileExistsError for the right one.
    return any(isinstance(one, FileExistsError) or _status(one) == 412 for one in _chain(error))


def knows_no_conditions(error: BaseException) -> bool:
    """Return whether a driver or a store does not support "only if it does not exist"."""
    return any(
        isinstance(one, NotImplementedError | TypeError)
        or (isinstance(one, OSError) and one.errno in (errno.ENOSYS, errno.ENOTSUP))
        or _status(one) == 501
        for one in _chain(error)
    )


def is_final(error: BaseException) -> bool:
    """Return whether the same write would be refused again: the place, or the permission, is missing."""
    for one in _chain(error):
        if _code(one) in _PASSING_CODES:
            return False
        status = _status(one)
        if status is not None:
            return 400 <= status < 500 and status not in _PASSING
        if isinstance(one, OSError) and one.errno in _FINAL_NUMBERS:
            return True
    # Google's driver reports a 403, and some 400s, only in its message.
    return isinstance(error, _FINAL) or str(error).startswith(("Forbidden", "Bad Request"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, or None."""
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        # Azure's libraries; aiohttp; gcsfs.
        names = ("status_code", "status", "code")
        found = next((x for x in (getattr(error, name, None) for name in names) if x is not None), None)
    return int(found) if str(found).isdecimal() else None


def _code(error: BaseException) -> str | None:
    """Return S3's code of an error."""
    answer: Any = getattr(error, "response", None)
    return answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
