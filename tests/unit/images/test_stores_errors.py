"""Drivers' errors, as the drivers make them: taken, for good, or not known."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from airflow_provider_oxen.images.stores import is_final, is_taken, knows_no_conditions


class Botocore(Exception):
    """As botocore raises it: the answer is a mapping."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}


class Azure(Exception):
    """As Azure's libraries raise it: the answer is an object."""

    def __init__(self, status: int) -> None:
        super().__init__("azure")
        self.response, self.status_code = object(), status


class Google(Exception):
    def __init__(self, code: Any) -> None:
        super().__init__("google")
        self.code = code


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def s3(status: int, code: str, number: int = errno.EINVAL) -> Exception:
    """An error as s3fs makes it of botocore's."""
    return caused(OSError(number, "told"), Botocore(status, code))


@pytest.mark.parametrize(
    "error",
    [
        FileExistsError("s3fs of AWS; gcsfs; adlfs"),
        s3(412, "PreconditionFailed"),  # servers that do not name the condition
        caused(RuntimeError("Failed to upload block"), Azure(412)),
    ],
)
def test_taken(error):
    assert is_taken(error)


@pytest.mark.parametrize(
    "error",
    [
        s3(409, "ConditionalRequestConflict"),
        s3(403, "AccessDenied"),
        s3(501, "NotImplemented", errno.ENOSYS),
        Azure(409),
        TimeoutError(),
        Google(503),
    ],
)
def test_not_taken(error):
    assert not is_taken(error)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TypeError("got an unexpected keyword argument 'mode'"), True),
        (NotImplementedError("File mode not supported"), True),
        (s3(501, "NotImplemented", errno.ENOSYS), True),
        (OSError(errno.ENOTSUP, "no"), True),
        (Google("501"), True),
        (s3(500, "InternalError"), False),
        (Google("words"), False),
        (PermissionError(), False),
    ],
)
def test_condition_that_is_not_known(error, said):
    assert knows_no_conditions(error) is said


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("no permission to write"),
        FileNotFoundError("no such bucket"),
        NotADirectoryError(),
        OSError(errno.EROFS, "Read-only file system"),
        s3(403, "AccessDenied"),
        s3(400, "InvalidRequest"),
        s3(404, "NoSuchBucket"),
        Azure(404),
        Azure(403),
        Google(400),
        OSError("Forbidden: https://storage.googleapis.com/…"),
        ValueError("Bad Request: https://storage.googleapis.com/…"),
    ],
)
def test_error_that_time_does_not_mend(error):
    assert is_final(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        s3(503, "SlowDown"),
        s3(400, "RequestTimeout"),
        caused(PermissionError(), Botocore(400, "ExpiredToken")),
        s3(409, "ConditionalRequestConflict"),
        Azure(429),
        Google(500),
        TimeoutError(),
    ],
)
def test_error_that_time_may_mend(error):
    assert not is_final(error)


def test_causes_in_a_circle_end():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__context__ = second, first

    assert not is_taken(first)
