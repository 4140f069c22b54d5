from __future__ import annotations

import base64
import io
import tracemalloc

import httpx
import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.jobs import NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("shape", "content_type", "text"),
    [
        (
            "typed",
            "application/json",
            '{"error": {"type": "internal_server_error", "title": "Internal Server Error", "detail": '
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

    # Without a location it is a loop.
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


@pytest.mark.parametrize(
    ("clothes", "status", "content_type"),
    [
        ("empty", 200, "image/webp"),
        ("accepted", 202, "application/json"),
        ("no_content", 204, ""),
        ("partial", 206, "image/webp"),
        ("page", 200, "text/html"),
        ("json", 200, "application/json"),
        ("xml", 200, "application/xml"),
        ("cut", 200, "image/webp"),
        ("missing", 404, "application/json"),
        ("forbidden", 403, "application/json"),
        ("gone", 410, "application/json"),
        ("login", 307, ""),
    ],
)
def test_image_that_is_not_there_yet_comes_in_these_clothes(
    hub, url, stranger, clothes, status, content_type
):
    hub.fail(Fault("not_yet", on="file", clothes=clothes))
    early, whole = stranger.get(url), stranger.get(url)
    assert early.status_code == status
    assert early.headers.get("content-type", "").partition(";")[0] == content_type
    assert len(early.content) < len(whole.content)
    Image.open(io.BytesIO(whole.content)).load()


def test_image_that_is_not_there_yet_may_end_too_early_or_lead_to_a_page(hub, url, stranger):
    hub.fail(*(Fault("not_yet", on="file", clothes=clothes) for clothes in ("short", "login")))
    with pytest.raises(httpx.RemoteProtocolError):
        stranger.get(url)
    assert "Please sign in" in stranger.get(url, follow_redirects=True).text


@pytest.mark.parametrize("way", ["generate", "enqueue"])
def test_paid_image_is_there_after_some_looks_or_when_released(hub, generate, enqueue, look, client, way):
    def ask() -> str:
        if way == "enqueue":
            return str(look(enqueue())["result_url"])
        return str(generate().json()["images"][0]["url"])

    hub.fail(*(Fault("not_yet", on=way, clothes="missing", looks=looks) for looks in (2, 10**6)))
    first, second = ask(), ask()
    assert [client.get(first).status_code for _ in range(3)] == [404, 404, 200]
    assert client.get(second).status_code == 404
    hub.release_images()
    assert client.get(second).status_code == 200


@pytest.mark.parametrize(
    ("kind", "images"),
    [("no_images", []), ("empty_item", [{}]), ("bad_base64", [{"b64_json": "this is *not* base64"}])],
)
def test_paid_for_nothing(hub, generate, kind, images):
    hub.fail(Fault(kind))
    assert generate(response_format="b64_json").json()["images"] == images
    assert len(hub.ledger()) == 1


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (418, {"error": {"title": "Mine"}}, '{"error": {"title": "Mine"}}'),
        (418, "plainly mine", "plainly mine"),
        (402, None, '"detail": "You have run out of credits."'),
        (599, None, '"detail": "Unknown (simulated)"'),
    ],
)
def test_body_is_the_one_given_or_says_what_the_status_is(hub, generate, status, body, wanted):
    hub.fail(Fault("status", status=status, body=body, times=None))
    answer = generate()
    assert answer.status_code == status
    assert wanted in answer.text
    hub.clear_faults()
    assert generate().status_code == 200


@pytest.mark.parametrize("kind", ["not_an_image", "truncated"])
def test_generated_image_is_broken_however_it_is_fetched(hub, generate, client, kind):
    hub.fail(Fault(kind, times=2))
    [linked] = generate(seed=1).json()["images"]
    [inline] = generate(seed=1, response_format="b64_json").json()["images"]
    contents = {client.get(linked["url"]).content for _ in range(2)}
    assert contents == {base64.b64decode(inline["b64_json"], validate=True)}
    [content] = contents
    assert (content == NOT_AN_IMAGE) is (kind == "not_an_image")
    with pytest.raises(OSError, match=r"cannot identify|truncated|could not|decod"):
        Image.open(io.BytesIO(content)).load()
