"""What the hub says, in every body it is known to say it in, becomes the error that tells what it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import time_machine

from airflow_provider_oxen.api import answers, errors, retries
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.settings import Settings

from .conftest import FREE, HUB, IMAGES, KEY, LINK, MODEL, PAID, leaks_nothing

SETTINGS = Settings(base_url=HUB, api_key=KEY)
NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
HTML = {"content-type": "text/html; charset=utf-8"}


def read(status: int, body: Any, call: Call[Any] = PAID, **headers: str) -> Any:
    """Read an answer; a body that is no text is JSON, ``_`` in a header's name stands for ``-``."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request(call.method, f"{HUB}{call.paths['ai']}")
    return answers.read(
        httpx.Response(status, content=content, headers=named, request=request), call, SETTINGS
    )


def failure(status: int, body: Any, call: Call[Any] = PAID, **headers: str) -> OxenError:
    with pytest.raises(OxenError) as caught:
        read(status, body, call, **headers)
    leaks_nothing(caught.value)
    return caught.value


def typed(word: str, title: str, detail: str | None = None) -> dict[str, Any]:
    """Return the first of the hub's error bodies."""
    error = {"type": word, "title": title} | ({"detail": detail} if detail else {})
    return {"error": error, "status": "error", "status_message": "request failed"}


def message(text: str) -> dict[str, Any]:
    """Return the second of the hub's error bodies."""
    return {"error": {"message": text}}


MODEL_NOT_FOUND = "Model not found: no-such-model"
NO_CREDITS = "You have run out of credits."
WRAPPED = "Getting model response error: 422 - {'loc': ['body', 'steps'], 'msg': 'ensure it is at most 50'}"


UPDATE = typed("update_required", "Update Required", "Update to 0.36.0")
MIGRATION = typed("migration_required", "Migration Required", "A migration may be in progress, hang tight")

REFUSALS: list[tuple[int, Any, str, str]] = [
    (400, message("Prompt cannot be empty"), "OxenInvalidRequest", "Prompt cannot be empty"),
    (400, typed("invalid_params", "Invalid parameters"), "OxenInvalidRequest", "Invalid parameters"),
    (
        400,
        typed("invalid_params", "Bad", "num_generations must be an integer between 1 and 4"),
        "OxenInvalidRequest",
        "num_generations must be an integer between 1 and 4",
    ),
    (401, typed("unauthenticated", "Unauthenticated"), "OxenAuthenticationError", "Unauthenticated"),
    (401, message("Invalid token"), "OxenAuthenticationError", "Invalid token"),
    (400, typed("unauthenticated", "Unauthenticated"), "OxenAuthenticationError", "Unauthenticated"),
    (402, typed("insufficient_credits", "No credits", NO_CREDITS), "OxenCreditsError", NO_CREDITS),
    (402, message(NO_CREDITS), "OxenCreditsError", NO_CREDITS),
    (400, message("Insufficient credits"), "OxenCreditsError", "Insufficient credits"),
    (422, message("insufficient_credits"), "OxenCreditsError", "insufficient_credits"),
    (403, typed("forbidden", "Not your namespace"), "OxenPermissionError", "Not your namespace"),
    (403, message("Not your namespace"), "OxenPermissionError", "Not your namespace"),
    (404, message(MODEL_NOT_FOUND), "OxenModelNotFound", MODEL_NOT_FOUND),
    (404, typed("resource_not_found", "Gone", MODEL_NOT_FOUND), "OxenModelNotFound", MODEL_NOT_FOUND),
    (400, message(MODEL_NOT_FOUND), "OxenModelNotFound", MODEL_NOT_FOUND),
    (404, typed("resource_not_found", "Not found"), "OxenRouteNotFound", "Not found"),
    (404, message("Not Found"), "OxenRouteNotFound", "Not Found"),
    (422, message(WRAPPED), "OxenInvalidRequest", "ensure it is at most 50"),
    (422, typed("model_error", "Model error", WRAPPED), "OxenInvalidRequest", "at most 50"),
    (422, message("Rejected by content moderation"), "OxenModerationError", "content moderation"),
    (
        422,
        typed("model_error", "Error", "422 - flagged by the safety system"),
        "OxenModerationError",
        "flagged",
    ),
    (400, message("Prompt violates our content policy"), "OxenModerationError", "content policy"),
    (422, message("NSFW content detected"), "OxenModerationError", "NSFW"),
    (429, typed("lock_timeout", "Busy repository"), "OxenRateLimited", "Busy repository"),
    (429, message("Slow down"), "OxenRateLimited", "Slow down"),
    (426, UPDATE, "OxenUpdateRequired", "Update to 0.36.0"),
    (426, MIGRATION, "OxenUnavailable", "hang tight"),
    (200, message(MODEL_NOT_FOUND), "OxenModelNotFound", MODEL_NOT_FOUND),
    (200, message("Prompt cannot be empty."), "OxenInvalidRequest", "Prompt cannot be empty."),
    (200, typed("unauthenticated", "Who are you?"), "OxenAuthenticationError", "Who are you?"),
    (200, typed("x", NO_CREDITS), "OxenCreditsError", NO_CREDITS),
    (200, typed("invalid_params", "Bad"), "OxenInvalidRequest", "Bad"),
    (200, typed("insufficient_credits", "Sorry"), "OxenCreditsError", "Sorry"),
]


def test_key_that_the_connection_does_not_have_is_asked_for():
    refused = httpx.Response(401, json=typed("unauthenticated", "Unauthenticated"))
    with pytest.raises(errors.OxenAuthenticationError, match="has no password: put the API key there"):
        answers.read(refused, PAID, Settings())


@pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    REFUSALS,
    ids=[f"{status} {body}" for status, body, _, _ in REFUSALS],
)
def test_refusal_says_what_it_means_and_that_nothing_was_spent(status, body, kind, says, call):
    error = failure(status, body, call, x_request_id="F-1")

    assert type(error).__name__ == kind
    assert says in error.message
    assert str(error).startswith("Nothing was spent. The ")
    which = "'z-image-turbo'" if call is FREE else "with 'z-image-turbo'"
    assert f"to the request to {call.name} {which}." in error.message
    assert (error.spent, error.status, error.request_id) == ("no", status, "F-1")
    assert error.type == body["error"].get("type")


@pytest.mark.parametrize("status", [500, 502, 504, 501, 507, 520, 408])
@pytest.mark.parametrize(
    "body",
    [
        typed("internal_error", "Oops", "upstream broke"),
        message("upstream broke"),
        # Words that mean a refusal elsewhere prove nothing here.
        message("Insufficient credits"),
        message("flagged by moderation"),
        message("Prompt cannot be empty"),
        typed("unauthenticated", "…"),
        "upstream broke",
        "",
    ],
    ids=str,
)
def test_failure_of_the_hub_leaves_a_paid_call_unknown_and_a_free_one_repeatable(status, body):
    paid = failure(status, body)
    free = failure(status, body, FREE)

    assert type(paid) is errors.OxenOutcomeUnknown
    assert str(paid).startswith("An image may have been paid for. The ")
    assert type(free) is errors.OxenServerError
    assert free.remedy == "The fault is on the hub's side."
    assert paid.status == free.status == status


def test_failure_of_the_hub_proves_nothing_about_the_model():
    assert type(failure(500, message(MODEL_NOT_FOUND))) is errors.OxenOutcomeUnknown


@pytest.mark.parametrize(
    "body",
    [
        message("something odd"),
        {"error": "something odd"},
        {"error": {"code": 7}},
    ],
    ids=str,
)
def test_200_that_carries_an_error_is_one_and_leaves_a_paid_call_unknown(body):
    assert type(failure(200, body)) is errors.OxenOutcomeUnknown
    assert type(failure(200, body, FREE)) is errors.OxenServerError


def test_images_beside_an_error_were_paid_for_and_are_the_answer(caplog):
    answer = read(200, {**IMAGES, "error": {"message": "one of two failed"}})

    assert answer.images[0].url == LINK
    assert "an error beside it: The hub answered 'one of two failed'" in caplog.text


NO_PROOF = [
    typed("rate_limited", "Busy", "not taken, come again"),
    typed("insufficient_credits", "No credits"),
    {**message("overloaded"), "generations": []},
    {"error": "overloaded"},
    {"message": "Service Unavailable"},
    {"generations": []},
    "upstream connect error or disconnect/reset before headers",
    "<html><title>Service Unavailable</title></html>",
    "",
]


@pytest.mark.parametrize("body", NO_PROOF, ids=str)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 405, 406, 408, 409, 410, 411, 413, 415])
def test_status_that_the_hub_does_not_document_proves_nothing_of_a_paid_call(status, body):
    assert type(failure(status, body)) is errors.OxenOutcomeUnknown


@pytest.mark.parametrize("body", NO_PROOF, ids=str)
@pytest.mark.parametrize(
    "status", [417, 418, 421, 423, 424, 425, 428, 431, 444, 451, 460, 499, 500, 502, 503, 504, 520, 529, 599]
)
def test_nor_does_one_that_a_gateway_says(status, body):
    assert type(failure(status, body, retry_after="0")) is errors.OxenOutcomeUnknown


@pytest.mark.parametrize("body", NO_PROOF, ids=str)
def test_503_of_a_call_that_costs_nothing_passes(body):
    assert type(failure(503, body, FREE)) is errors.OxenUnavailable


@pytest.mark.parametrize("body", ["", "Forbidden", "<html><title>403</title></html>", {"message": "no"}])
def test_403_without_the_hubs_words_may_forbid_an_answer(body):
    assert type(failure(403, body)) is errors.OxenOutcomeUnknown
    assert type(failure(403, body, FREE)) is errors.OxenPermissionError


@pytest.mark.parametrize("status", [400, 401, 402, 404, 422, 429])
@pytest.mark.parametrize("body", ["", "no", "<html><title>no</title></html>", ["no"], message("no")], ids=str)
def test_documented_refusal_is_one_whatever_its_body(status, body):
    assert failure(status, body).spent == "no"


@pytest.mark.parametrize(
    "text",
    [
        "The fallback says: model not found: x. The image was made.",
        "Insufficient credits to upscale the image",
        "Prompt cannot be empty, so a default was taken",
        "flagged by moderation",
    ],
)
def test_words_beside_a_200_prove_a_refusal_only_where_they_are_the_hubs_own_to_the_letter(text):
    assert type(failure(200, message(text))) is errors.OxenOutcomeUnknown


def test_nothing_accepted_beside_an_error_is_a_refusal_in_any_words():
    nothing: dict[str, Any] = {"generations": []}

    assert type(failure(200, message("something odd") | nothing)) is errors.OxenInvalidRequest
    assert type(failure(200, message("Insufficient credits for 2") | nothing)) is errors.OxenCreditsError
    assert type(failure(200, message("flagged by moderation") | nothing)) is errors.OxenModerationError


class TestGates:
    """426: the hub takes an agent for a program that is too old, or it is being migrated."""

    @pytest.mark.parametrize(
        "body",
        [
            UPDATE,
            {"error": {"title": "Update Required"}, "status": "error", "status_message": "update_required"},
            {"error": "update_required"},
        ],
        ids=["typed", "status_message", "string"],
    )
    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    def test_old_package_is_our_fault_and_another_try_does_not_help(self, body, call):
        error = failure(426, body, call)

        assert type(error) is errors.OxenUpdateRequired
        assert (error.spent, error.retry_helps) == ("no", False)
        assert not retries.may_repeat(error)
        assert (
            "no longer accepts this version of the package: install a newer airflow-provider-oxen"
            in error.message
        )
        assert error.remedy.endswith("install a newer airflow-provider-oxen.")

    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    def test_migration_passes(self, call):
        error = failure(426, MIGRATION, call, retry_after="9")

        assert type(error) is errors.OxenUnavailable
        assert (error.spent, error.retry_helps, error.retry_after) == ("no", True, 9.0)
        assert retries.may_repeat(error)

    @pytest.mark.parametrize(
        "body", ["", "Upgrade Required", typed("upgrade", "Use TLS"), message("update_required")], ids=str
    )
    def test_another_426_proves_nothing_and_passes_where_nothing_is_paid(self, body):
        assert type(failure(426, body)) is errors.OxenOutcomeUnknown
        free = failure(426, body, FREE)
        assert type(free) is errors.OxenServerError
        assert free.retry_helps


def test_parameter_called_moderation_is_no_moderation():
    error = failure(422, message("moderation: must be one of 'low', 'auto', not 'high'"))

    assert type(error) is errors.OxenInvalidRequest


@pytest.mark.parametrize(
    "text",
    [
        "The prompt was moderated",
        "Blocked by our moderation system",
        "The image failed moderation",
        "moderation_blocked: moderation blocked the request",
        "Flagged by moderation",
        "content_policy_violation",
    ],
)
def test_real_words_of_moderation_are_one(text):
    assert type(failure(422, message(text))) is errors.OxenModerationError


@pytest.mark.parametrize("nothing", [None, "", {}, []], ids=repr)
def test_200_whose_error_says_nothing_is_an_answer(nothing):
    assert read(200, {**IMAGES, "error": nothing}).images[0].url == LINK


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": {"detail": "1", "message": "2", "title": "3"}, "error_message": "4"}, "1"),
        ({"error": {"message": "2", "title": "3"}, "error_message": "4", "status_message": "5"}, "2"),
        ({"error": {"title": "3"}, "error_message": "4", "status_message": "5"}, "3"),
        ({"error": {"type": "x"}, "error_message": "4", "status_message": "5"}, "4"),
        ({"error": {"type": "x"}, "status_message": "5"}, "5"),
        ({"error": "0", "error_message": "4"}, "0"),
        ({"error": {"detail": " ", "message": None, "title": ["3"]}, "status_message": "5"}, "5"),
        ({"error_message": "4"}, "4"),
        ({"errors": {"prompt": ["is bad"]}}, '{"errors": {"prompt": ["is bad"]}}'),
        (["is", "bad"], '["is", "bad"]'),
        ("is bad\n", "is bad"),
        (b"is \xff bad", "is � bad"),
    ],
    ids=str,
)
def test_reason_is_the_first_of_the_places_the_hub_puts_one_in(body, says):
    assert failure(400, body).message.startswith(f"The hub answered {says!r} to the request to ")


@pytest.mark.parametrize("body", ["", "  \n", {"error": {}}], ids=repr)
def test_refusal_without_a_reason_says_so(body):
    said = (
        "The hub answered without a reason" if isinstance(body, str) else "The hub answered '{\"error\": {}}'"
    )

    assert failure(400, body).message.startswith(f"{said} to the request")


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("<!DOCTYPE html><html><title>502 Bad\n Gateway</title><body>…</body></html>", "502 Bad Gateway"),
        ("\n<HTML><TITLE lang='en'>Sign in</TITLE></HTML>", "Sign in"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTML], ids=["by_its_look", "by_its_type"])
def test_html_page_is_shown_by_its_title(page, says, headers):
    assert f"an HTML page: {says}'" in failure(502, page, **headers).message


def test_html_page_without_a_title_is_not_quoted():
    assert failure(404, "<html><body>long</body></html>").message.startswith(
        "The hub answered 'an HTML page'"
    )
    assert failure(404, "no tag", PAID, **HTML).message.startswith("The hub answered 'an HTML page'")


def test_charset_that_python_has_no_text_for_is_no_obstacle():
    error = failure(500, "broken", content_type="text/plain; charset=hex")

    assert type(error) is errors.OxenOutcomeUnknown
    assert "'broken'" in error.message


def test_long_reason_is_shortened():
    shown = ("word " * 60)[:299]

    assert f"The hub answered '{shown}…' to the request" in failure(400, message("word " * 1000)).message


def test_meaning_is_found_beyond_what_is_shown():
    assert type(failure(422, message(f"{'word ' * 200}content policy"))) is errors.OxenModerationError


@pytest.mark.parametrize(
    "text",
    [
        f"could not read {LINK}",
        f'could not read "{LINK}".',
        f"Could not read <{LINK}&X-Date=1>",
        f"could not read ({LINK.replace('https', 'http')})",
    ],
)
def test_query_of_a_quoted_url_is_left_out(text):
    shown = failure(400, message(text)).message
    assert "://hub.example/files/image.png" in shown
    assert "signature" not in shown.lower()


IMAGELESS: list[Any] = [
    {"images": []},
    {"images": [{"revised_prompt": "…"}]},
    {"images": [{"url": 5}]},
    {"images": 5},
    {"images": ["no link"]},
    {"model": "z-image-turbo"},
    [],
    [[[[[[[[[[[[LINK]]]]]]]]]]]],
    5,
]
UNREADABLE = [
    ("", "the body is empty"),
    (" \n", "the body is empty"),
    ("<html>hello</html>", "the body is not JSON (text/html)"),
    ('{"images": [', "the body is not JSON (application/json)"),
    (b"\xff\xfe\x00", "the body is not JSON (application/json)"),
    ("[" * 100_000, "the body is not read: it is nested too deep"),
    (f'{{"created": {"1" * 5000}}}', "it holds neither a link to an image nor its bytes"),
    (f"[{'{},' * 60_000}1]", "the body is not read: it holds more than 100,000 values"),
    *((body, "it holds neither a link to an image nor its bytes") for body in IMAGELESS),
    *(
        (body, "the image is not there yet")
        for body in (
            {"generation_id": "g-1", "status": "processing", "url": LINK},
            {"data": {"id": "g-1", "status": "IN_PROGRESS"}},
        )
    ),
]


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("body", "problem"), UNREADABLE, ids=[f"{str(body)[:32]!r}" for body, _ in UNREADABLE]
)
def test_answer_that_cannot_be_read_leaves_a_paid_call_unknown(body, problem, status):
    kind = "text/html; charset=utf-8" if "html" in problem else "application/json"
    error = failure(status, body, content_type=kind, x_request_id="F-1")

    assert type(error) is errors.OxenOutcomeUnknown
    assert error.message.startswith(
        f"The hub answered the request to generate an image with 'z-image-turbo', but {problem}"
    )
    assert error.spent == "unknown"
    assert error.unread is not None
    if "not there yet" in problem:
        assert error.unread.content == b""
    elif isinstance(body, dict | list):
        assert json.loads(error.unread.content) == body
    assert "content" not in repr(error.unread), "there may be a signed link in it"
    assert error.unread.ids == (("g-1",) if "not there yet" in problem else ())
    assert (error.status, error.request_id) == (status, "F-1")


def test_answer_that_cannot_be_read_is_the_hubs_fault_where_nothing_was_paid():
    error = failure(200, "", FREE, x_request_id="F-1")

    assert type(error) is errors.OxenServerError
    assert str(error) == (
        "Nothing was spent. The hub answered the request to look up the model 'z-image-turbo', but the "
        "body is empty. (HTTP 200, request id F-1)"
    )


def test_body_of_no_type_is_said_to_have_none():
    assert "the body is not JSON (no content type)" in failure(200, "hello").message


def test_answer_is_what_the_call_makes_of_it():
    assert read(200, IMAGES).images[0].url == LINK
    assert read(200, MODEL, FREE).id == "z-image-turbo"


def test_older_answer_with_image_url_is_accepted():
    assert read(200, {"image_url": LINK}).images[0].url == LINK


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirect_of_a_call_that_costs_nothing_is_a_wrong_host(status):
    assert type(failure(status, "", FREE)) is errors.OxenRouteNotFound


@pytest.mark.parametrize(
    "kind",
    [
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.LocalProtocolError,
    ],
)
@pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
def test_request_that_was_not_sent_cost_nothing(kind, call):
    error = answers.from_transport(kind("[Errno 111] Connection refused"), call, SETTINGS)

    assert type(error) is errors.OxenConnectionError
    assert str(error) == (
        f"Nothing was spent. Could not reach {HUB} to {call.name}: {kind.__name__}: "
        "[Errno 111] Connection refused. Check the connection's host, and the network and proxy of this "
        "machine."
    )


@pytest.mark.parametrize(
    "kind",
    [
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.ReadError,
        httpx.WriteError,
        httpx.CloseError,
        httpx.RemoteProtocolError,
        httpx.DecodingError,
        httpx.TooManyRedirects,
        httpx.InvalidURL,
    ],
)
def test_lost_answer_leaves_a_paid_call_unknown_and_a_free_one_repeatable(kind):
    paid = answers.from_transport(kind(""), PAID, SETTINGS)
    free = answers.from_transport(kind("broken"), FREE, SETTINGS)

    assert type(paid) is errors.OxenOutcomeUnknown
    assert str(paid) == (
        "An image may have been paid for. The answer to the request to generate an image was lost "
        f"({kind.__name__}): the hub may have accepted it."
    )
    assert type(free) is errors.OxenServerError
    assert free.message == f"{HUB} did not answer the request to look up the model: {kind.__name__}: broken."


def test_every_failure_that_httpx_knows_is_judged():
    """A class that a newer httpx adds counts as lost; this tells of it, so that it can be thought about."""
    known = (
        "CloseError ConnectError ConnectTimeout DecodingError LocalProtocolError NetworkError PoolTimeout "
        "ProtocolError ProxyError ReadError ReadTimeout RemoteProtocolError TimeoutException "
        "TooManyRedirects TransportError UnsupportedProtocol WriteError WriteTimeout"
    )
    found = {
        name
        for name, kind in vars(httpx).items()
        if isinstance(kind, type) and issubclass(kind, httpx.RequestError)
    }

    assert found - {"RequestError"} == set(known.split())


@pytest.mark.parametrize("status", [429, 503, 500, 400])
def test_error_carries_what_retry_after_asks_for(status):
    date = format_datetime(NOW + timedelta(seconds=45), usegmt=True)
    with time_machine.travel(NOW, tick=False):
        assert failure(status, message("…"), FREE, retry_after=date).retry_after == 45.0
        assert failure(status, message("…"), FREE, retry_after="7").retry_after == 7.0
        assert failure(status, message("…"), FREE).retry_after is None
