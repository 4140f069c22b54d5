"""Handle received bytes before it is known whether they are an image.

Decode text, compare checksums, and describe in a few words what is not an image.
"""

from __future__ import annotations

import binascii
import codecs
import hashlib
import html
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from airflow_provider_oxen.api.redact import redacted_line

__all__ = ["HEAD", "Checksums", "decode", "describe"]

_DATA = re.compile(r"data:[^,]{0,200}?(;\s*base64)?\s*,", re.IGNORECASE)
_QUOTED = re.compile(r"b?([\"'])(.*)\1", re.DOTALL)
_ALPHABET = str.maketrans("-_", "+/", "\t\n\v\f\r ")

HEAD = 16 * 1024
"""Bytes that are read for a description: a page's title stands at its beginning."""

_SHOWN = 100
"""Characters that are shown of a title, or of a text."""

_BYTES = 16
"""First bytes that are shown if the content is not text."""

_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,2000})", re.IGNORECASE)
_IS_PAGE = re.compile(r"\s*<(!doctype html|html|head|body|title|!--)", re.IGNORECASE)
_UNFIT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]")


def decode(text: str) -> bytes:
    """Return the bytes of a base64 text in either alphabet.

    It may lack its padding, and may have line breaks, quotes, a ``data:`` prefix or percent-encoding.

    :raises ValueError: if it is not base64.
    """
    try:
        # The usual case, in one pass: the text may have many megabytes.
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2]
    if prefix := _DATA.match(text):
        text = text[prefix.end() :]
        if not prefix[1]:
            return unquote_to_bytes(text)
    if "%" in text:
        text = unquote_to_bytes(text).decode("latin-1")
    text = text.replace("\\n", "").replace("\\r", "").translate(_ALPHABET).rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def describe(head: bytes, size: int, content_type: str | None) -> str:
    """Describe received bytes: content type, length, and a page's title or the first bytes; redacted.

    :param head: the first bytes.
    :param size: of everything, in bytes.
    :param content_type: from the header; empty if there was none, None if there are no headers.
    """
    facts = [f"{size:,} bytes"]
    if content_type is not None:
        kind = content_type.partition(";")[0].strip()
        facts.insert(0, redacted_line(kind, _SHOWN) or "no content type")
    text = _text(head)
    if not size:
        pass
    elif text is None:
        facts.append(f"beginning with the bytes {head[:_BYTES].hex(' ')}")
    elif _IS_PAGE.match(text):
        title = _TITLE.search(text)
        name = redacted_line(html.unescape(title[1]), _SHOWN) if title else None
        facts.append(f"a page with the title {name!r}" if name else "a page without a title")
    elif words := redacted_line(text, _SHOWN):
        facts.append(f"beginning with {words!r}")
    return ", ".join(facts)


def _text(head: bytes) -> str | None:
    """Return the bytes as text, or None if they are not text."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    return text if len(_UNFIT.findall(text)) <= len(text) // 50 else None


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "crc32": 4}
_ALIASES = {"sha": "sha1"}
"""RFC 3230's name for the algorithm."""


class Checksums:
    """The checksums of a body in an answer's headers: decoders forgive damage, checksums do not.

    A checksum that cannot be read or computed here is ignored. If the body was encoded on the way, all are
    ignored: they describe other bytes than those that are kept.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._announced: list[tuple[str, str, bytes]] = []
        self._sums: dict[str, Any] = {}
        if "content-encoding" in headers:
            return
        for header, algorithm, digest in _checksums(headers):
            if len(digest) == _SIZES.get(algorithm):
                self._announced.append((header, algorithm, digest))
                self._sums.setdefault(algorithm, _new(algorithm))

    def update(self, data: bytes) -> None:
        """Add a piece of the body."""
        for one in self._sums.values():
            one.update(data)

    @property
    def doubt(self) -> str | None:
        """Which header says that other bytes were meant, as a clause; None if all match."""
        for header, algorithm, digest in self._announced:
            if self._sums[algorithm].digest() != digest:
                return f"its bytes are not those that the store's {header} tells of"
        return None


def _new(algorithm: str) -> Any:
    return _Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


def _checksums(headers: Mapping[str, str]) -> Iterator[tuple[str, str, bytes]]:
    yield "content-md5", "md5", _decoded(headers.get("content-md5", ""))
    for header in ("digest", "repr-digest", "content-digest"):
        yield from _listed(header, headers.get(header, ""))
    if (
        "x-goog-stored-content-encoding" not in headers
        or headers["x-goog-stored-content-encoding"] == "identity"
    ):
        yield from _listed("x-goog-hash", headers.get("x-goog-hash", ""))
    # For an object written in parts, it is a checksum of checksums.
    if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
        for algorithm in ("sha256", "sha1", "crc32"):
            header = f"x-amz-checksum-{algorithm}"
            yield header, algorithm, _decoded(headers.get(header, ""))
    yield "etag", "md5", _of_etag(headers)


def _listed(header: str, value: str) -> Iterator[tuple[str, str, bytes]]:
    """Read ``sha-256=…, md5=…``; RFC 9530 puts colons around the value."""
    for item in value.split(","):
        name, _, text = item.strip().partition("=")
        algorithm = name.lower().replace("-", "")
        yield header, _ALIASES.get(algorithm, algorithm), _decoded(text.strip().strip(":"))


def _of_etag(headers: Mapping[str, str]) -> bytes:
    """Return the MD5 in an ETag of S3, for an object that was put in one part and has no key of its own.

    Elsewhere an ETag may look like an MD5, and be anything.
    """
    is_s3 = "x-amz-request-id" in headers
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    found = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("etag", ""))
    return bytes.fromhex(found[1]) if found and is_s3 and not encrypted and not own_key else b""


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return b""
