"""What goes into XCom is a link, or the text of a proved image; never both, never doubtful bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenBadImage, OxenDownloadError, OxenExpiredURL
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import fetch, inline

from .conftest import LINK, Web, found, picture, refused, with_key

PNG = picture()
TEXT = base64.b64encode(PNG).decode()
ENCODED = {
    "b64_json": TEXT,
    "media_type": "image/png",
    "width": 16,
    "height": 12,
    "bytes": len(PNG),
    "sha256": hashlib.sha256(PNG).hexdigest(),
}


def records(web: Web, item: ImageItem, response_format: Any, **options: Any) -> list[dict[str, Any]]:
    return inlined(web, [item], response_format, **options)


def inlined(web: Web, items: list[ImageItem], response_format: Any, **options: Any) -> list[dict[str, Any]]:
    client, max_bytes = web.client(max_retries=0), options.pop("max_bytes", fetch.MAX_BYTES)
    return inline.records(
        client.settings,
        lambda link: fetch.from_url(client, link, max_bytes),
        items,
        response_format,
        **options,
    )


def test_link_beside_a_broken_text_is_fetched(web):
    web.put(LINK, found(PNG))

    assert records(web, ImageItem(url=LINK, b64_json="#"), "b64_json") == [ENCODED]


def test_link_is_passed_on_as_it_is_and_not_fetched(web):
    assert records(web, ImageItem(url=LINK), "url") == [{"url": LINK}]
    assert web.asked == []


def test_text_is_passed_on_once_it_is_proved(web):
    assert records(web, ImageItem(b64_json=TEXT), "b64_json") == [ENCODED]
    assert web.asked == []


def test_link_is_fetched_and_encoded_where_text_was_asked_for(web):
    web.put(LINK, with_key(found(PNG)))

    assert records(web, ImageItem(url=LINK), "b64_json") == [ENCODED]


def test_text_stays_text_where_a_link_was_asked_for(web):
    assert records(web, ImageItem(b64_json=TEXT), "url") == [ENCODED]


def test_item_with_both_gives_what_was_asked_for(web):
    both = ImageItem(url=LINK, b64_json=TEXT)

    assert records(web, both, "url") == [{"url": LINK}]
    assert records(web, both, "b64_json") == [ENCODED]
    assert web.asked == []


def test_images_keep_the_answers_order_and_are_plain_json(web):
    items = [ImageItem(b64_json=base64.b64encode(picture(kind)).decode()) for kind in ("WEBP", "PNG", "JPEG")]

    found_records = inlined(web, items, "b64_json")

    assert [record["media_type"] for record in found_records] == ["image/webp", "image/png", "image/jpeg"]
    assert json.loads(json.dumps(found_records)) == found_records


@pytest.mark.parametrize("text", ["AAAA", base64.b64encode(PNG[:-20]).decode(), "no base64!"])
def test_text_of_no_image_is_an_error(web, text):
    with pytest.raises(OxenBadImage):
        records(web, ImageItem(b64_json=text), "b64_json")


def test_link_to_no_image_is_an_error_and_the_bytes_are_let_go(web, monkeypatch):
    opened: list[Any] = []
    make = fetch.from_url

    def from_url(*arguments: Any) -> Any:
        opened.append(make(*arguments))
        return opened[-1]

    monkeypatch.setattr(fetch, "from_url", from_url)
    web.put(LINK, found(b"<html>"))
    with pytest.raises(OxenBadImage):
        records(web, ImageItem(url=LINK), "b64_json")
    web.put(LINK, found(PNG))
    records(web, ImageItem(url=LINK), "b64_json")

    assert [got.file.closed for got in opened] == [True, True]


def test_link_that_no_longer_works_is_an_error(web):
    web.put(LINK, refused(403))

    with pytest.raises(OxenExpiredURL):
        records(web, ImageItem(url=LINK), "b64_json")


def test_download_is_capped_and_text_that_has_come_is_not(web):
    web.put(LINK, found(PNG))

    with pytest.raises(OxenDownloadError, match="max_bytes"):
        records(web, ImageItem(url=LINK), "b64_json", max_bytes=len(PNG) - 1)
    assert records(web, ImageItem(url=LINK), "b64_json", max_bytes=len(PNG)) == [ENCODED]
    assert records(web, ImageItem(b64_json=TEXT), "b64_json", max_bytes=1) == [ENCODED]


@pytest.mark.parametrize(("limit", "warned"), [(len(TEXT) * 2, False), (len(TEXT) * 2 - 1, True)])
def test_text_that_weighs_on_the_database_is_warned_of(web, monkeypatch, caplog, limit, warned):
    monkeypatch.setattr(inline, "WARN_BYTES", limit)

    inlined(web, [ImageItem(b64_json=TEXT)] * 2, "b64_json")

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message[:34] for message in warnings] == ["The base64 text of 2 image(s) take"] * warned


def test_warning_tells_the_size(web, caplog):
    content = PNG + b"\0" * 900_000

    inlined(web, [ImageItem(b64_json=base64.b64encode(content).decode())], "b64_json")

    assert "The base64 text of 1 image(s) takes 1.1 MiB of XCom" in caplog.text
    assert "Set storage_path" in caplog.text


def test_links_weigh_nothing(web, caplog, monkeypatch):
    monkeypatch.setattr(inline, "WARN_BYTES", 1)

    records(web, ImageItem(url=LINK), "url")

    assert "XCom" not in caplog.text
