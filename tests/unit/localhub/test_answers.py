"""Every kind of fault, over a real socket."""

from __future__ import annotations

import base64
import binascii
import io
import tracemalloc

import httpx
import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.ledger import NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("shape", "content_type", "text"),
    [
        (
            "typed",
            "application/json",
            '{"error": {"type": "internal_server_error", "title": "Internal server error", "detail": '
            '"Internal Server Error (simulated)"}, "status": "error", "status_message": '
            '"internal_server_error"}',
        ),
        ("message", "application/json", '{"error": {"message": "Internal Server Error (simulated)"}}'),
        ("string", "application/json", '{"error": "Internal Server Error (simulated)"}'),
        ("html", "text/html", "<title>Internal Server Error (simulated)</title>"),
        ("text", "text/plain", "Internal Server Error (simulated)"),
        ("empty", "", ""),
    ],
)
def test_error_status_comes_in_every_shape(hub, generate, shape, content_type, text):
    hub.fail(Fault("status", status=500, shape=shape, headers={"X-Extra": "yes"}))
    answer = generate()
    assert answer.status_code == 500
    assert answer.headers.get("content-type", "").partition(";")[0] == content_type
    assert text in answer.text
    assert answer.headers["x-extra"] == "yes"
    assert hub.ledger() == []
    assert generate().status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [({"error": {"title": "Mine"}}, "application/json"), ("plainly mine", "text/plain; charset=utf-8")],
)
def test_body_can_be_given(hub, generate, body, content_type):
    hub.fail(Fault("status", status=418, body=body))
    answer = generate()
    assert (answer.status_code, answer.headers["content-type"]) == (418, content_type)
    assert (answer.json() if isinstance(body, dict) else answer.text) == body


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("kind", ["broken_json", "html", "empty", "error_in_200"])
def test_a_200_that_is_none_of_the_hubs_answers(hub, generate, kind, billed):
    hub.fail(Fault(kind, billed=billed))
    answer = generate()
    assert answer.status_code == 200
    if kind == "error_in_200":
        assert answer.json() == {"error": {"message": "Internal Server Error (simulated)"}}
    else:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()
    assert ("html" in answer.text) is (kind == "html")
    assert (answer.text == "") is (kind == "empty")
    assert len(hub.ledger()) == int(billed)


@pytest.mark.parametrize(("kind", "paid"), [("drop_before", 0), ("drop_after", 1)])
def test_connection_is_closed_without_an_answer(hub, generate, kind, paid):
    hub.fail(Fault(kind))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        generate()
    assert len(hub.ledger()) == paid
    assert hub.requests()[0]["status"] is None
    assert generate().status_code == 200


async def test_async_client_sees_the_lost_connection_too(hub):
    hub.fail(Fault("drop_before", on="models"))
    async with httpx.AsyncClient(base_url=hub.url) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.get("/api/ai/models")
        assert (await client.get("/api/ai/models")).status_code == 200


def test_billed_status_is_the_gateway_that_gave_up_too_early(hub, generate):
    hub.fail(Fault("status", status=504, shape="html", billed=True))
    assert generate().status_code == 504
    assert len(hub.ledger()) == 1


@pytest.mark.parametrize(("kind", "images"), [("no_images", []), ("empty_item", [{}])])
def test_paid_for_nothing(hub, generate, kind, images):
    hub.fail(Fault(kind))
    assert generate().json()["images"] == images
    assert len(hub.ledger()) == 1


def test_base64_that_is_none(hub, generate):
    hub.fail(Fault("bad_base64"))
    [image] = generate(response_format="b64_json").json()["images"]
    with pytest.raises(binascii.Error):
        base64.b64decode(image["b64_json"], validate=True)
    assert len(hub.ledger()) == 1


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
@pytest.mark.parametrize("kind", ["not_an_image", "truncated"])
def test_generated_image_is_broken_however_it_is_fetched(hub, generate, client, response_format, kind):
    hub.fail(Fault(kind))
    [image] = generate(response_format=response_format).json()["images"]
    if "url" in image:
        content = client.get(image["url"]).content
        assert client.get(image["url"]).content == content
    else:
        content = base64.b64decode(image["b64_json"], validate=True)
    assert (content == NOT_AN_IMAGE) is (kind == "not_an_image")
    with pytest.raises(OSError, match=r"cannot identify|truncated|could not|decod"):
        Image.open(io.BytesIO(content)).load()
    assert len(hub.ledger()) == 1


@pytest.mark.parametrize("kind", ["not_an_image", "truncated"])
def test_file_is_broken_once_and_whole_again(hub, url, stranger, kind):
    hub.fail(Fault(kind, on="file"))
    broken, whole = stranger.get(url), stranger.get(url)
    assert len(broken.content) == int(broken.headers["content-length"])
    assert broken.headers["content-type"].startswith("text/html" if kind == "not_an_image" else "image/webp")
    assert broken.content == (
        NOT_AN_IMAGE if kind == "not_an_image" else whole.content[: len(whole.content) // 2]
    )
    Image.open(io.BytesIO(whole.content)).load()


def test_file_that_ends_before_the_announced_length(hub, url, stranger):
    whole = len(stranger.get(url).content)
    hub.fail(Fault("short", on="file"))
    got = []
    with stranger.stream("GET", url) as response:
        pieces = response.iter_raw(1)
        assert int(response.headers["content-length"]) == whole
        with pytest.raises(httpx.RemoteProtocolError):
            got.extend(pieces)
    assert len(got) == whole // 2


def test_padded_file_is_streamed_in_little_memory(hub, url, stranger):
    size = 32_000_001
    whole = stranger.get(url).content
    hub.fail(Fault("padded", on="file", bytes=size))
    got, start = 0, b""
    tracemalloc.start()
    try:
        with stranger.stream("GET", url) as response:
            assert int(response.headers["content-length"]) == len(whole) + size
            for piece in response.iter_raw():
                start = start or piece
                got += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == len(whole) + size
    assert start.startswith(whole[:1000])
    # Client and hub together.
    assert peak < 4_000_000


def test_slow_file_comes_whole_in_pieces(hub, url, stranger):
    whole = stranger.get(url).content
    hub.fail(Fault("slow", on="file", seconds=0.05))
    answer = stranger.get(url)
    assert answer.content == whole
    assert answer.elapsed.total_seconds() >= 0.05


@pytest.mark.parametrize(("status", "seen"), [(500, 302), (307, 307)])
def test_redirect_goes_where_it_is_told(hub, url, stranger, status, seen):
    hub.fail(Fault("redirect", on="file", status=status, location="https://elsewhere.example.com/x"))
    answer = stranger.get(url)
    assert (answer.status_code, answer.headers["location"]) == (seen, "https://elsewhere.example.com/x")


def test_redirect_without_a_location_is_a_loop(hub, url, stranger):
    hub.fail(Fault("redirect", on="file", times=None))
    with pytest.raises(httpx.TooManyRedirects):
        stranger.get(url, follow_redirects=True)


@pytest.mark.parametrize(
    ("route", "path", "method", "otherwise"),
    [
        ("models", "/api/evaluations/models", "GET", 200),
        ("models", "/api/ai/models", "GET", 200),
        ("search", "/api/ai/models/search?search=z", "GET", 200),
        ("model", "/api/ai/models/z-image-turbo", "GET", 200),
        ("authorize", "/api/authorize", "GET", 200),
        ("queue", "/api/ai/queue", "GET", 200),
        ("enqueue", "/api/ai/queue", "POST", 400),
        ("job", "/api/ai/queue/some-id", "GET", 404),
        ("cancel", "/api/ai/queue/some-id", "DELETE", 404),
        ("history", "/api/ai/generations", "GET", 200),
        ("record", "/api/ai/generations/some-id", "GET", 404),
    ],
)
def test_every_route_can_fail_by_its_name(hub, client, route, path, method, otherwise):
    hub.fail(Fault("status", on=route, status=503))
    assert [client.request(method, path).status_code for _ in range(2)] == [503, otherwise]


def test_held_answer_comes_late(hub, client, generate):
    hub.fail(Fault("hold", seconds=0.05), Fault("hold", on="authorize", seconds=0.05))
    for answer in (generate(), client.get("/api/authorize")):
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() >= 0.05


def test_held_answer_is_billed_at_once(hub, client):
    hub.fail(Fault("hold", seconds=60))
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/api/images/generate",
            json={"model": "z-image-turbo", "prompt": "x"},
            timeout=httpx.Timeout(5, read=0.2),
        )
    assert len(hub.ledger()) == 1


def test_mended_hub_fails_no_more(hub, generate):
    hub.fail(Fault("status", times=None))
    assert generate().status_code == 500
    hub.mend()
    assert generate().status_code == 200
