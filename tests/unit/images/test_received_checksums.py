"""What a store says of the bytes it sends is held against them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.images.received import Checksums

BODY = b"the bytes of an image"
MD5 = hashlib.md5(BODY, usedforsecurity=False)
S3 = {"x-amz-request-id": "1"}


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def of(algorithm: str) -> str:
    return b64(hashlib.new(algorithm, BODY).digest())


CRC = b64(zlib.crc32(BODY).to_bytes(4))
GOOGLE = f"crc32c=AAAAAA==, md5={of('md5')}"

FIT: dict[str, dict[str, str]] = {
    "content-md5": {"content-md5": of("md5")},
    "digest": {"digest": f"SHA-256={of('sha256')},MD5={of('md5')}"},
    "digest of sha": {"digest": f"SHA={of('sha1')}"},
    "repr-digest": {"repr-digest": f"sha-256=:{of('sha256')}:, sha-512=:{of('sha512')}:"},
    "content-digest": {"content-digest": f"sha-512=:{of('sha512')}:"},
    "sha256 of s3": {"x-amz-checksum-sha256": of("sha256")},
    "sha1 of s3": {"x-amz-checksum-sha1": of("sha1"), "x-amz-checksum-type": "FULL_OBJECT"},
    "crc32 of s3": {"x-amz-checksum-crc32": CRC},
    "google": {"x-goog-hash": GOOGLE},
    "google, stored as it is": {"x-goog-hash": GOOGLE, "x-goog-stored-content-encoding": "identity"},
    "etag of s3": {**S3, "etag": f'"{MD5.hexdigest()}"'},
    "etag of s3, encrypted by it": {
        **S3,
        "etag": f'"{MD5.hexdigest()}"',
        "x-amz-server-side-encryption": "AES256",
    },
}
OTHER = b64(hashlib.md5(b"other", usedforsecurity=False).digest())
SILENT: dict[str, dict[str, str]] = {
    "none": {},
    "etag of anybody": {"etag": f'"{"0" * 32}"'},
    "weak etag": {**S3, "etag": f'W/"{"0" * 32}"'},
    "etag of several parts": {**S3, "etag": f'"{"0" * 32}-2"'},
    "etag under a key": {**S3, "etag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"},
    "etag under a customer's key": {
        **S3,
        "etag": f'"{"0" * 32}"',
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
    },
    "checksum of checksums": {
        "x-amz-checksum-sha256": of("sha1"),
        "x-amz-checksum-crc32": "AAAAAA==",
        "x-amz-checksum-type": "COMPOSITE",
    },
    "checksum of several parts": {"x-amz-checksum-crc32": "AAAAAA==-2"},
    "unpacked on the way": {"x-goog-hash": f"md5={OTHER}", "x-goog-stored-content-encoding": "gzip"},
    "packed on the way": {"content-md5": OTHER, "content-encoding": "gzip"},
    "of another length": {"content-md5": b64(b"short")},
    "no base64": {"content-md5": "*", "digest": "sha-256", "repr-digest": "x=:y:"},
    "of an unknown kind": {"digest": f"UNIXsum=30637, crc32c={OTHER}"},
}


def doubt(headers: dict[str, str], body: bytes) -> Any:
    checksums = Checksums(httpx.Headers(headers))
    for start in range(0, len(body), 5):
        checksums.update(body[start : start + 5])
    return checksums.doubt


@pytest.mark.parametrize("name", FIT)
def test_checksum_that_fits_is_no_doubt_and_one_that_does_not_names_its_header(name):
    assert doubt(FIT[name], BODY) is None
    header = next(iter(header for header in FIT[name] if header != "x-amz-request-id"))
    assert f"the store's {header} tells of" in doubt(FIT[name], BODY + b"!")


@pytest.mark.parametrize("name", SILENT)
def test_what_is_no_checksum_of_the_body_says_nothing(name):
    assert doubt(SILENT[name], BODY) is None
