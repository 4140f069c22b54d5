"""Bytes come whole, in bounds and without the key going anywhere but home."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api import deadline
from airflow_provider_oxen.api.errors import OxenBadImage, OxenDownloadError, OxenExpiredURL
from airflow_provider_oxen.images import fetch, fetched

from .conftest import HUB, KEY, LINK, SIGNATURE, Web, found, moved, refused, with_key

BODY = bytes(range(256)) * 1000
ELSEWHERE = f"https://files.example/image.png?X-Signature={SIGNATURE}"


class OnLoop(Web):
    """Asked on an event loop."""


@pytest.fixture(params=[Web, OnLoop])
def web(request: pytest.FixtureRequest) -> Web:
    made: Web = request.param()
    return made


def get(web: Web, url: str = LINK, max_bytes: int = fetch.MAX_BYTES, **settings: Any) -> fetched.Fetched:
    if not isinstance(web, OnLoop):
        return fetch.from_url(web.client(**settings), url, max_bytes)

    async def got() -> fetched.Fetched:
        async with web.aclient(**settings) as client:
            return await fetch.afrom_url(client, url, max_bytes)

    return asyncio.run(got())


def failure(
    web: Web, url: str = LINK, max_bytes: int = fetch.MAX_BYTES, **settings: Any
) -> OxenDownloadError:
    """Return the error of a download that fails, which tells of the money and of no secret."""
    with pytest.raises(OxenDownloadError) as caught:
        get(web, url, max_bytes, **settings)
    shown = f"{caught.value} {caught.value!r} {caught.value.__dict__} {caught.value.__cause__}"
    assert SIGNATURE not in shown
    assert KEY not in shown
    assert caught.value.spent == "yes"
    assert not caught.value.retry_helps
    return caught.value


def read(got: fetched.Fetched) -> bytes:
    content = got.file.read()
    got.close()
    assert got.size == len(content)
    assert got.sha256 == hashlib.sha256(content).hexdigest()
    return content


def test_small_download_stays_in_memory(web, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    web.put(LINK, found([BODY[:100], BODY[100:]]))

    got = get(web)

    assert got.file.tell() == 0
    assert read(got) == BODY
    assert got.file.closed


@pytest.fixture
def nothing_is_small(monkeypatch):
    monkeypatch.setattr(fetch, "_SMALL", 50)


@pytest.mark.usefixtures("nothing_is_small")
def test_download_is_a_temporary_file_without_a_name(web, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    web.put(LINK, found([BODY[:100], BODY[100:]]))

    got = get(web)

    assert os.fstat(got.file.fileno()).st_nlink == 0
    assert list(tmp_path.iterdir()) == []
    assert got.file.tell() == 0
    assert read(got) == BODY
    assert got.file.closed


def test_link_is_asked_for_an_image_as_it_is_and_without_the_key(web):
    web.put(LINK, found(BODY))

    get(web).close()

    [request] = web.asked
    assert request.method == "GET"
    assert str(request.url) == LINK
    assert "authorization" not in request.headers
    assert request.headers["accept"].startswith("image/*")
    assert request.headers["accept-encoding"] == "identity"


def test_unknown_length_is_no_reason_to_refuse(web):
    web.put(LINK, found(BODY, content_length=""))

    assert read(get(web)) == BODY


@pytest.mark.parametrize("length", ["", "many", "-1", "1_0", "\N{SUPERSCRIPT TWO}"])
def test_length_that_is_no_number_is_not_held_against_anything(web, length):
    web.put(
        LINK,
        lambda request: httpx.Response(
            200, headers=[(b"content-length", length.encode())], content=iter([b"bytes"])
        ),
    )

    assert read(get(web)) == b"bytes"


@pytest.mark.parametrize("announced", [len(BODY) + 1, len(BODY) - 1, 10 * len(BODY)])
def test_length_is_held_against_what_came(web, announced):
    web.put(LINK, found(BODY, content_length=str(announced)))

    error = failure(web, max_retries=0)

    assert f"{len(BODY)} of {announced} bytes" in str(error)
    assert error.passing
    assert len(web.asked) == 8


def test_length_of_a_compressed_body_is_that_of_what_was_sent(web):
    packed = gzip.compress(BODY)
    web.put(LINK, found(packed, content_encoding="gzip"))

    assert read(get(web)) == BODY

    web.put(LINK, found(packed, content_encoding="gzip", content_length=str(len(packed) + 1)))
    assert "incomplete" in str(failure(web, max_retries=0))


def test_answer_that_was_read_already_is_held_to_its_length_too(web):
    web.put(LINK, lambda request: httpx.Response(200, content=BODY))

    assert read(get(web)) == BODY


def test_incomplete_download_starts_over(web):
    web.put(LINK, found(BODY + b"more", content_length="999999"), found(b"short"))

    assert read(get(web)) == b"short"
    assert len(web.slept) == 1


def test_announced_size_over_the_cap_is_refused_before_it_comes(web):
    came = []

    def pieces() -> Iterator[bytes]:
        for number in range(1001):
            came.append(number)
            yield b"x"

    def endless(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-length": "1001"}, content=pieces())

    web.put(LINK, endless)

    assert "max_bytes (1,000 bytes)" in str(failure(web, max_bytes=1000))
    assert came == []
    assert web.slept == []


def test_size_is_capped_whatever_was_announced(web):
    came = []

    def endless(request: httpx.Request) -> httpx.Response:
        def body():
            while True:
                came.append(65536)
                yield b"\0" * 65536

        return httpx.Response(200, content=body())

    web.put(LINK, endless)

    assert "max_bytes" in str(failure(web, max_bytes=1_000_000))
    assert sum(came) <= 1_000_000 + 2 * 65536
    assert len(web.asked) == 1


@pytest.mark.parametrize("web", [Web], indirect=True)
def test_download_that_goes_on_gets_more_time(web, monkeypatch):
    class Still:
        monotonic = staticmethod(lambda: 0.0)

    monkeypatch.setattr(deadline, "time", Still)
    left = []

    def body():
        for _ in range(3):
            left.append(deadline.left())
            yield b"x" * 65536

    web.put(LINK, lambda request: httpx.Response(200, content=body()))

    get(web, timeout=300).close()

    assert left == [600, 601, 602]


def test_cap_is_the_largest_size_that_is_taken(web):
    web.put(LINK, found(BODY))

    assert read(get(web, max_bytes=len(BODY))) == BODY
    assert failure(web, max_bytes=len(BODY) - 1)
    web.put(LINK, found(BODY, content_length=""))
    assert read(get(web, max_bytes=len(BODY))) == BODY
    assert failure(web, max_bytes=len(BODY) - 1)


# The key.


@pytest.mark.parametrize("status", [401, 403])
def test_key_goes_to_the_hub_itself_once_it_asks(web, status):
    web.put(LINK, with_key(found(BODY), without=status))

    assert read(get(web)) == BODY
    assert [request.headers.get("authorization") for request in web.asked] == [None, f"Bearer {KEY}"]


@pytest.mark.parametrize("status", [400, 404, 410, 500])
def test_key_is_kept_back_where_the_hub_does_not_ask(web, status):
    web.put(LINK, refused(status))

    failure(web, max_retries=1)
    assert web.keyed == []


def test_without_a_key_a_link_that_asks_for_one_does_not_work(web):
    web.put(LINK, with_key(found(BODY)))

    assert isinstance(failure(web, api_key=None), OxenExpiredURL)
    assert len(web.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "url",
    [
        "https://files.example/image.png",
        "https://hub.example.files.example/image.png",
        "https://files.hub.example/image.png",
        "https://hub.example:8443/image.png",
        "https://hub.example@files.example/image.png",
        "https://hub.example:x@files.example/image.png",
        r"https://hub.example\@files.example/image.png",
        "https://files.example/https://hub.example/",
        "https://files.example/?https://hub.example/",
    ],
)
def test_key_never_goes_to_another_origin(web, url, status):
    web.put(str(httpx.URL(url)), refused(status))

    assert isinstance(failure(web, url), OxenExpiredURL)
    [request] = web.asked
    assert KEY not in str(request.headers.raw)


@pytest.mark.parametrize("url", ["https://HUB.example/i.png", "https://hub.example:443/i.png"])
def test_the_same_origin_in_other_words_is_the_hub(web, url):
    web.put(str(httpx.URL(url)), with_key(found(BODY)))

    assert read(get(web, url)) == BODY


def test_key_does_not_follow_a_redirect_to_another_origin(web):
    web.put(LINK, with_key(moved(ELSEWHERE)))
    web.put(ELSEWHERE, refused(403))

    assert isinstance(failure(web), OxenExpiredURL)
    assert web.keyed == [LINK]
    assert str(web.asked[-1].url) == ELSEWHERE


def test_key_goes_to_the_hub_that_another_origin_leads_to(web):
    web.put(ELSEWHERE, moved(LINK))
    web.put(LINK, with_key(found(BODY)))

    assert read(get(web, ELSEWHERE)) == BODY
    assert web.keyed == [LINK]


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed(web, status):
    web.put(LINK, moved(ELSEWHERE, status))
    web.put(ELSEWHERE, found(BODY))

    assert read(get(web)) == BODY
    assert web.keyed == []


def test_relative_redirect_is_followed(web):
    web.put(LINK, moved("../other/image.png"))
    web.put(f"{HUB}/other/image.png", found(BODY))

    assert read(get(web)) == BODY


def chain(web: Web, length: int) -> None:
    for step in range(length):
        web.put(LINK if step == 0 else f"{HUB}/{step}?sig={SIGNATURE}", moved(f"/{step + 1}?sig={SIGNATURE}"))
    web.put(f"{HUB}/{length}?sig={SIGNATURE}", found(BODY))


def test_five_redirects_are_followed_and_no_more(web):
    chain(web, 5)
    assert read(get(web)) == BODY

    web.asked.clear()
    chain(web, 6)
    assert "more than 5 redirects" in str(failure(web))
    assert len(web.asked) == 6
    assert web.slept == []


def test_redirect_to_nowhere_is_an_error(web):
    web.put(LINK, refused(302))

    assert failure(web).status == 302


@pytest.mark.parametrize("allow_http", [True, False])
@pytest.mark.parametrize("target", ["http://hub.example/image.png", "http://127.0.0.1/image.png"])
def test_redirect_from_https_to_http_is_refused_whatever_is_allowed(web, target, allow_http):
    web.put(LINK, moved(target))

    assert "redirects from https to http" in str(failure(web, allow_http=allow_http))
    assert len(web.asked) == 1


def test_redirect_from_http_to_https_and_back_is_refused(web):
    plain, secure = f"http://files.example/?sig={SIGNATURE}", ELSEWHERE
    web.put(plain, moved(secure))
    web.put(secure, moved(plain))

    assert "redirects from https to http" in str(failure(web, plain, allow_http=True))
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://files.example/image.png", "data:image/png;base64,AA=="]
)
def test_redirect_to_another_scheme_is_refused(web, target):
    web.put(LINK, moved(target))

    failure(web, max_retries=0)
    assert len(web.asked) == 1


# Links that are not asked.


@pytest.mark.parametrize(
    "url",
    [
        f"http://hub.example/image.png?sig={SIGNATURE}",
        # A hub elsewhere has no business on this machine.
        f"http://127.0.0.1:8080/image.png?sig={SIGNATURE}",
        f"ftp://hub.example/image.png?sig={SIGNATURE}",
        f"file:///etc/passwd?sig={SIGNATURE}",
        "",
        " ",
    ],
)
def test_link_that_is_not_https_is_not_asked(web, url):
    assert "is not https" in str(failure(web, url))
    assert web.asked == []


@pytest.mark.parametrize(
    "link", ["/files/1.png", "files/1.png", "//hub.example/files/1.png", " https://hub.example/files/1.png\n"]
)
def test_link_without_an_origin_is_the_hubs_own(web, link):
    web.put("https://hub.example/files/1.png", found(BODY))

    assert read(get(web, link)) == BODY


def test_link_that_nobody_can_read_stays_as_it_is(web):
    assert "is not" in str(failure(web, "//[hub/files/1.png"))


def test_http_is_asked_where_the_connection_allows_it(web):
    url = "http://files.example/image.png"
    web.put(url, found(BODY))

    assert read(get(web, url, allow_http=True)) == BODY


def test_http_is_all_that_the_connection_allows(web):
    assert "is not https" in str(failure(web, "ftp://files.example/image.png", allow_http=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_hub_on_this_machine_links_to_this_machine(web, host):
    url = f"http://{host}:8080/image.png"
    web.put(url, with_key(found(BODY)))

    assert read(get(web, url, base_url=f"http://{host}:8080")) == BODY
    assert failure(web, "http://files.example/image.png", base_url=f"http://{host}:8080")


@pytest.mark.parametrize(
    "url",
    [
        f"https://[hub.example/?sig={SIGNATURE}",
        f"https://hub.example:99999/?sig={SIGNATURE}",
        f"https://hub.example:port/?sig={SIGNATURE}",
        f"https://hub.example/\x00?sig={SIGNATURE}",
        f"https://hub.\u2488example/?sig={SIGNATURE}",
        f"https://hub.example/{'x' * 70_000}?sig={SIGNATURE}",
    ],
)
def test_link_that_is_no_url_is_an_error_and_not_quoted(web, url):
    assert failure(web, url).message == "The hub's link to the image is not a URL."
    assert web.asked == []


def test_redirect_to_what_is_no_url_is_an_error(web):
    web.put(LINK, moved(f"https://hub.example:port/?sig={SIGNATURE}"))

    failure(web, max_retries=0)


# Answers without an image.


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_expired_link_is_told_and_not_asked_again(web, status):
    web.put(LINK, refused(status, x_request_id="r1"))

    error = failure(web)

    assert isinstance(error, OxenExpiredURL)
    assert error.status == status
    assert error.not_yet
    assert f"{HUB}/files/image.png, does not work" in str(error)
    assert web.slept == []


@pytest.mark.parametrize("status", [201, 202, 204, 206, 300, 304, 400, 402, 409, 416, 451])
def test_status_without_the_whole_image_is_not_yet(web, status):
    web.put(LINK, refused(status))

    error = failure(web)

    assert (type(error), error.not_yet, error.status) == (OxenDownloadError, True, status)
    assert web.slept == []


@pytest.mark.parametrize("status", [408, 426, 429, 500, 502, 503, 504])
def test_passing_trouble_is_asked_again(web, status):
    web.put(LINK, refused(status), refused(status), found(BODY))

    assert read(get(web)) == BODY
    assert len(web.slept) == 2


@pytest.mark.parametrize("status", [400, 402, 405, 416, 422, 304])
def test_lasting_trouble_is_not_asked_again(web, status):
    web.put(LINK, refused(status))

    assert failure(web).status == status
    assert len(web.asked) == 1


def test_trouble_that_stays_is_an_error_after_the_last_retry(web):
    web.put(LINK, refused(503))

    # However few retries the connection allows: the image is paid for, and asking is free.
    assert failure(web, max_retries=0).status == 503
    assert len(web.asked) == 8


def test_wait_that_the_server_asks_for_is_kept(web):
    web.put(LINK, refused(429, retry_after="7"), found(BODY))
    assert read(get(web)) == BODY
    assert web.slept == [7.0]

    web.put(LINK, refused(429, retry_after="3600"), found(BODY))
    assert failure(web).retry_after == 3600.0
    assert web.slept == [7.0]


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.PoolTimeout, httpx.ReadError],
)
def test_broken_connection_is_asked_again_and_told_without_its_text(web, trouble):
    def broken(request: httpx.Request) -> httpx.Response:
        raise trouble(f"{request.url} is unreachable")

    web.put(LINK, broken, found(BODY))
    assert read(get(web)) == BODY

    web.put(LINK, broken)
    assert trouble.__name__ in str(failure(web, max_retries=0))


def test_connection_that_breaks_in_the_middle_starts_over(web):
    def breaking(request: httpx.Request) -> httpx.Response:
        def body():
            yield b"a" * 100_000
            raise httpx.ReadError("broken")

        return httpx.Response(200, content=body())

    web.put(LINK, breaking, found(BODY))

    assert read(get(web)) == BODY


class _Closed(httpx.SyncByteStream):
    def __init__(self, body: bytes, closed: list[bool]) -> None:
        self.body, self.closed = body, closed

    def __iter__(self):
        yield self.body

    def close(self) -> None:
        self.closed.append(True)


def test_every_answer_is_closed(web):
    closed: list[bool] = []

    def answers(request: httpx.Request) -> httpx.Response:
        headers = {"content-length": "3"}
        if request.url.path == "/1":
            keyed = "authorization" in request.headers
            status, headers = (302, {"location": "/2"}) if keyed else (401, {})
        else:
            status = [500, 404, 200, 200][len(web.slept)] if request.url.path == "/2" else 200
        return httpx.Response(status, headers=headers, stream=_Closed(b"abc", closed))

    for path in ("/1", "/2"):
        web.put(f"{HUB}{path}", answers)

    failure(web, f"{HUB}/1")
    web.slept.append(0)
    get(web, f"{HUB}/1").close()
    failure(web, f"{HUB}/1", max_bytes=2)

    assert len(closed) == len(web.asked)


@pytest.mark.usefixtures("nothing_is_small")
def test_full_disk_is_an_error_of_the_image_and_leaves_no_file_open(web, monkeypatch):
    opened = []

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    def make(**options: Any) -> Full:
        opened.append(Full())
        return opened[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    web.put(LINK, found(BODY))

    assert "No space left on device" in str(failure(web))
    assert [file.closed for file in opened] == [True]
    assert len(web.asked) == 1


@pytest.mark.usefixtures("nothing_is_small")
def test_missing_temporary_folder_is_an_error_of_the_image(web, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    web.put(LINK, found(BODY))

    assert "No such file or directory" in str(failure(web))


@pytest.mark.usefixtures("nothing_is_small")
def test_stopping_in_the_middle_closes_the_file(web, monkeypatch):
    opened = []
    make = tempfile.TemporaryFile

    def remember(**options: Any) -> Any:
        opened.append(make(**options))
        return opened[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", remember)

    def stopping() -> Iterator[bytes]:
        yield BODY
        raise KeyboardInterrupt

    web.put(LINK, lambda request: httpx.Response(200, content=stopping()))
    with pytest.raises(KeyboardInterrupt):
        get(web)

    assert [file.closed for file in opened] == [True]


# Base64.


def test_base64_is_decoded():
    assert read(fetched.from_base64(base64.b64encode(BODY).decode())) == BODY


@pytest.mark.parametrize(
    "text",
    [
        "=AAA",
        "AA==AA==",
        "ÄÄÄÄ",
        "data:;base64,*",
    ],
)
def test_base64_is_never_guessed_at(text):
    with pytest.raises(OxenBadImage, match="base64 text is broken") as caught:
        fetched.from_base64(text)
    assert caught.value.reason
    assert text not in str(caught.value)


def test_bytes_that_are_here_are_taken_as_they_are():
    assert read(fetched.from_bytes(BODY)) == BODY
    assert read(fetched.from_bytes(b"")) == b""


def test_packed_image_is_unpacked_bit_by_bit(web):
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    head, block = packer.flush(zlib.Z_FULL_FLUSH), packer.compress(bytes(2**20))
    block += packer.flush(zlib.Z_FULL_FLUSH)
    for bomb, encoding in ((head + block * 200, "deflate"), (b"no gzip at all", "gzip")):
        web.put(LINK, found([bomb], content_encoding=encoding, content_length=""))
        with pytest.raises(OxenDownloadError, match=r"larger than max_bytes|DecodingError"):
            fetch.from_url(web.client(), LINK, 2**20)
