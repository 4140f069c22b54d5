"""Whoever reads that no image came learns what came, and nothing that is secret."""

from __future__ import annotations

import base64

import pytest

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import download, fetched, verify
from airflow_provider_oxen.images.received import describe

from .conftest import picture

KEY = "came-key-that-must-not-leak"
LINK = "https://store.example/a.png?X-Amz-Signature=5f1c2d3e"

register_key(KEY)


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (
            b"\n<!DOCTYPE html><html><head><title>Sign in &amp; go\n on</title></head></html>",
            "text/html; charset=utf-8",
            "text/html, {} bytes, a page with the title 'Sign in & go on'",
        ),
        (b"<html><body>No</body></html>", "text/html", "text/html, 28 bytes, a page without a title"),
        (
            "<html><title>Größe</title></html>".encode("utf-16"),
            "text/html",
            "text/html, 68 bytes, a page with the title 'Größe'",
        ),
        (
            b'{"error": "no"}',
            "application/json",
            'application/json, 15 bytes, beginning with \'{"error": "no"}\'',
        ),
        (b"", "", "no content type, 0 bytes"),
        (b" \n ", "", "no content type, 3 bytes"),
        (b"%PDF-1.7", None, "8 bytes, beginning with '%PDF-1.7'"),
        (b"x" * 300, None, f"300 bytes, beginning with '{'x' * 99}…'"),
        (
            b"BM\x00\x01\x02\xff",
            "image/bmp",
            "image/bmp, 6 bytes, beginning with the bytes 42 4d 00 01 02 ff",
        ),
        (
            f"<html><title>{KEY} {LINK}</title>".encode(),
            f"text/{KEY}",
            "text/***, {} bytes, a page with the title '*** https://store.example/a.png'",
        ),
        (
            f"denied: {KEY} for {LINK}".encode(),
            "text/plain",
            "text/plain, {} bytes, beginning with 'denied: *** for https://store.example/a.png'",
        ),
    ],
)
def test_what_came_is_told(content, kind, told):
    assert describe(content, len(content), kind) == told.replace("{}", str(len(content)))


def test_big_page_is_known_by_its_beginning():
    page = b"<html><title>Sign in</title>" + b"x" * 100_000

    assert describe(page[:16384], len(page), "text/html").startswith("text/html, 100,028 bytes, a page with")


def judged(got: fetched.Fetched) -> OxenBadImage:
    with pytest.raises(OxenBadImage) as caught:
        verify.judge(got)
    assert got.file.tell() == 0
    assert caught.value.reason in str(caught.value)
    return caught.value


def test_error_of_bytes_says_what_they_are():
    error = judged(fetched.from_bytes(picture("BMP")))

    assert error.reason.startswith("not an image of a known format (")
    assert "beginning with the bytes 42 4d" in error.reason
    assert not error.not_yet


def test_page_that_a_download_keeps_does_not_quote_the_key(tmp_path):
    page = base64.b64encode(f"<html>{KEY} is no key of ours</html>".encode()).decode()
    path = tmp_path / "cube.png"

    with Client(Settings(api_key=KEY)) as client, pytest.raises(OxenBadImage) as caught:
        download.to_path(client, {"b64_json": page}, path, overwrite=False)

    assert (tmp_path / "cube.png.rejected").read_text() == "<html>*** is no key of ours</html>"
    assert "a page without a title" in str(caught.value)
