"""Both clients: nothing is paid twice, the key goes home only, and the layout is found."""

from __future__ import annotations

import gc
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import time_machine

from airflow_provider_oxen import __version__
from airflow_provider_oxen.api import calls, errors, tls
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.errors import OxenConnectionError, OxenError, OxenSettingsError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.sending import bearer
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.tls import ssl_context

from .conftest import FREE, HUB, IMAGES, KEY, LINK, MODEL, PAID, Loopback, answer, trouble

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
NOT_FOUND = answer(404, {"error": {"type": "resource_not_found", "title": "Not found"}, "status": "error"})
NO_ROUTE = answer(404, text="<html><title>Not Found</title></html>")

NEVER_SENT = [
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.LocalProtocolError,
]
LOST = [
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
]
PASSING = (500, 502, 504, 503, 429)

ECHOES = {
    "message": answer(400, {"error": {"message": f"bad key {KEY}, really"}}),
    "title_and_type": answer(400, {"error": {"title": f"bad key {KEY}", "type": KEY}}),
    "error": answer(400, {"error": KEY}),
    "raw_json": answer(400, {"echo": {"authorization": f"Bearer {KEY}"}}),
    "text": answer(401, text=f"bad key {KEY}"),
    "html_title": answer(502, html=f"<html><title>{KEY}</title></html>"),
    "request_id": answer(400, text="broken", headers={"x-request-id": KEY}),
    "request_id_of_200": answer(200, text="broken", headers={"x-request-id": KEY}),
    "content_type": answer(200, text="broken", headers={"content-type": f"text/{KEY}"}),
    "redirect": answer(307, headers={"location": f"https://{KEY}.example/"}),
    "type_of_404": answer(404, {"error": {"type": f"resource_not_found {KEY}", "title": "no"}}),
    "logged": answer(429, {"error": {"message": f"slow down, {KEY}"}}),
    # At the end of what is shown: cut first, half the key would stand there.
    "at_the_cut": answer(400, text=f"{'x' * 280}{KEY}"),
    "across_the_cut": answer(400, text=f"{'x' * 296}{KEY}"),
    "type_at_the_cut": answer(400, {"error": {"type": f"{'x' * 180}{KEY}", "title": "no"}}),
    "content_type_at_the_cut": answer(200, text="no", headers={"content-type": f"{'x' * 80}{KEY}"}),
    "never_sent": trouble(httpx.ConnectError, f"Illegal header value b'Bearer {KEY}'"),
    "lost": trouble(httpx.RemoteProtocolError, f"{'x' * 290}{KEY}"),
}


class TestRequests:
    """What goes over the wire."""

    @pytest.mark.asyncio
    @pytest.mark.usefixtures("own_garbage")
    async def test_an_answer_does_not_outlive_its_call(self, twin, hub):
        hub.says(answer(json=IMAGES))
        gc.collect()
        gc.disable()
        try:
            await twin.send(PAID)
            left = [it for it in gc.get_objects() if type(it) is httpx.Response]
        finally:
            gc.enable()

        # A megabyte of base64 each, until the garbage collector looks for rings.
        assert left == []

    @pytest.mark.asyncio
    async def test_body_key_and_manners(self, twin, hub):
        hub.says(answer(json=IMAGES))

        result = await twin.send(PAID)

        assert result.images[0].url == LINK
        [request] = hub.asked
        assert (request.method, str(request.url)) == ("POST", f"{HUB}/api/images/generate")
        assert request.content == b'{"model":"z-image-turbo","prompt":"A red cube","response_format":"url"}'
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept"] == "application/json"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"] == f"airflow-image-provider/{__version__}"
        assert "oxen" not in request.headers["user-agent"]

    @pytest.mark.asyncio
    async def test_prompt_in_any_script_arrives_as_it_is(self, twin, hub):
        hub.says(answer(json=IMAGES))

        await twin.send(calls.generate(GenerateRequest(model="m", prompt='ein "roter" Würfel 🟥 立方体')))

        assert 'ein \\"roter\\" Würfel 🟥 立方体' in hub.asked[0].content.decode()

    @pytest.mark.asyncio
    async def test_search_goes_into_the_query(self, twin, hub):
        hub.says(answer(json={"models": []}))

        assert await twin.send(calls.list_models("red & cube")) == []
        assert str(hub.asked[0].url) == f"{HUB}/api/evaluations/models/search?search=red+%26+cube"

    @pytest.mark.asyncio
    async def test_odd_model_name_stays_one_part_of_the_path(self, twin, hub):
        hub.says(answer(json=MODEL))

        await twin.send(calls.get_model("../authorize?x=1"))

        assert hub.asked[0].url.raw_path == b"/api/evaluations/models/..%2Fauthorize%3Fx%3D1"

    @pytest.mark.asyncio
    async def test_without_a_key_no_key_is_sent(self, connect, hub):
        hub.says(answer(json=MODEL))

        await connect(api_key=None).send(FREE)

        assert "authorization" not in hub.asked[0].headers

    @pytest.mark.parametrize(
        ("settings", "connecting", "reading"),
        [({}, 10.0, 30.0), ({"timeout": 7.0, "connect_timeout": 2.0}, 2.0, 7.0)],
        ids=["default", "set"],
    )
    @pytest.mark.asyncio
    async def test_connecting_and_reading_have_timeouts_of_their_own(
        self, connect, hub, settings, connecting, reading
    ):
        hub.says(answer(json=MODEL))

        await connect(**settings).send(FREE)

        timeout = hub.asked[0].extensions["timeout"]
        assert (timeout["connect"], timeout["read"], timeout["write"]) == (connecting, reading, reading)

    @pytest.mark.asyncio
    async def test_image_is_waited_for_as_long_as_the_connection_says(self, connect, hub):
        hub.says(answer(json=IMAGES))

        await connect(timeout=250.0).send(PAID)

        assert hub.asked[0].extensions["timeout"]["read"] == 250.0

    def test_key_is_the_bearer_and_none_is_nothing(self):
        assert bearer("k") == {"Authorization": "Bearer k"}
        assert bearer(None) == bearer("") == {}


class TestPayingOnce:
    """A paid request is sent again only where the one before provably was not accepted."""

    @pytest.mark.parametrize("kind", LOST)
    @pytest.mark.asyncio
    async def test_paid_call_whose_answer_was_lost_is_never_sent_again(self, twin, hub, kind):
        hub.says(trouble(kind, "broken"), answer(json=IMAGES))

        error = await twin.failure(PAID)

        assert type(error) is errors.OxenOutcomeUnknown
        assert (len(hub.asked), hub.slept) == (1, [])

    @pytest.mark.parametrize("status", [500, 502, 504, 501, 507, 520, 408])
    @pytest.mark.asyncio
    async def test_paid_call_that_failed_on_the_hubs_side_is_never_sent_again(self, twin, hub, status):
        hub.says(answer(status, {"error": {"message": "broke"}}, headers={"retry-after": "1"}))

        error = await twin.failure(PAID)

        assert type(error) is errors.OxenOutcomeUnknown
        assert (len(hub.asked), hub.slept) == (1, [])

    @pytest.mark.parametrize(
        "unreadable",
        [
            answer(text=""),
            answer(text="{"),
            answer(html="<html></html>"),
            answer(json={"images": []}),
            answer(json={"images": [{}]}),
            answer(json={"error": "odd"}),
            answer(303, headers={"location": "/api/jobs/1"}),
            answer(302, headers={"location": "mailto:ox@example.com"}),
            answer(headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip")),
        ],
        ids=["empty", "broken", "html", "none", "no_key", "error", "see_other", "no_url", "no_gzip"],
    )
    @pytest.mark.asyncio
    async def test_paid_call_whose_answer_cannot_be_read_is_never_sent_again(self, twin, hub, unreadable):
        hub.says(unreadable)

        error = await twin.failure(PAID)

        assert type(error) is errors.OxenOutcomeUnknown
        assert (len(hub.asked), hub.slept) == (1, [])

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 422])
    @pytest.mark.asyncio
    async def test_refused_call_is_not_sent_again(self, twin, hub, status):
        hub.says(answer(status, {"error": {"message": "no"}}))

        error = await twin.failure(PAID)

        assert (error.spent, error.retry_helps) == ("no", False)
        assert (len(hub.asked), hub.slept) == (1, [])

    @pytest.mark.parametrize("kind", NEVER_SENT)
    @pytest.mark.asyncio
    async def test_paid_call_that_never_left_is_sent_again(self, twin, hub, kind):
        hub.says(trouble(kind, "refused"), trouble(kind, "refused"), answer(json=IMAGES))

        assert (await twin.send(PAID)).images[0].url == LINK
        assert (len(hub.asked), len(hub.slept)) == (3, 2)

    @pytest.mark.parametrize(
        "refused",
        [answer(429), answer(426, {"error": {"type": "migration_required"}})],
        ids=["limited", "migrated"],
    )
    @pytest.mark.asyncio
    async def test_paid_call_that_the_hub_did_not_take_is_sent_again(self, twin, hub, refused):
        hub.says(refused, answer(json=IMAGES))

        assert (await twin.send(PAID)).images[0].url == LINK
        assert len(hub.asked) == 2
        assert hub.asked[0].content == hub.asked[1].content

    @pytest.mark.parametrize(
        "said",
        [
            {"content": b""},
            {"text": "upstream connect error"},
            {"html": "<h1>503</h1>"},
            {"json": ["busy"]},
            {"json": {"message": "Service Unavailable"}},
            {"json": {"error": {"message": "overloaded"}}},
            {"json": {"error": {"type": "unavailable", "title": "Later"}}, "headers": {"retry-after": "1"}},
        ],
        ids=["nothing", "text", "page", "list", "gateway", "error", "typed"],
    )
    @pytest.mark.asyncio
    async def test_paid_call_is_never_sent_again_after_a_503(self, twin, hub, said):
        hub.says(lambda request: httpx.Response(503, **said), answer(json=IMAGES))

        assert type(await twin.failure(PAID)) is errors.OxenOutcomeUnknown
        assert (len(hub.asked), hub.slept) == (1, [])

    @pytest.mark.asyncio
    async def test_paid_call_is_lost_for_good_when_the_second_attempt_is(self, twin, hub):
        hub.says(answer(429), trouble(httpx.ReadTimeout), answer(json=IMAGES))

        assert type(await twin.failure(PAID)) is errors.OxenOutcomeUnknown
        assert len(hub.asked) == 2

    @pytest.mark.parametrize("max_retries", [0, 2])
    @pytest.mark.asyncio
    async def test_attempts_end(self, connect, hub, max_retries):
        hub.says(trouble(httpx.ConnectError, "refused"))

        error = await connect(max_retries=max_retries).failure(PAID)

        assert type(error) is errors.OxenConnectionError
        assert (len(hub.asked), len(hub.slept)) == (max_retries + 1, max_retries)

    @pytest.mark.parametrize(
        "failing",
        [*map(trouble, LOST), *map(answer, PASSING)],
        ids=[*(kind.__name__ for kind in LOST), *map(str, PASSING)],
    )
    @pytest.mark.asyncio
    async def test_call_that_costs_nothing_is_sent_again(self, twin, hub, failing):
        hub.says(failing, answer(json=MODEL))

        assert (await twin.send(FREE)).id == "z-image-turbo"
        assert (len(hub.asked), len(hub.slept)) == (2, 1)


class TestPlainHttp:
    """A port that speaks HTTP is asked for TLS: nothing was sent, and the remedy is told."""

    @pytest.mark.parametrize("guessed", [True, False])
    @pytest.mark.parametrize("call", [FREE, PAID], ids=["free", "paid"])
    @pytest.mark.asyncio
    async def test_scheme_is_named(self, guessed, call):
        with Loopback() as server:
            url = server.url.replace("http:", "https:")
            settings = Settings(base_url=url, api_key=KEY, max_retries=0, guessed=guessed)
            kind = OxenSettingsError if guessed else OxenConnectionError
            with (
                pytest.raises(kind, match="write http:// before the host") as caught,
                Client(settings) as client,
            ):
                client.send(call)
            with pytest.raises(kind) as also:
                async with AsyncClient(settings) as aclient:
                    await aclient.send(call)

        assert str(also.value) == str(caught.value)
        assert caught.value.spent == "no"
        assert server.asked == []


class TestRetryAfter:
    """The hub says when to come back."""

    @pytest.mark.parametrize(("call", "status"), [(PAID, 429), (FREE, 429), (FREE, 503)])
    @pytest.mark.parametrize("asked", [7, 60])
    @pytest.mark.asyncio
    async def test_seconds_are_waited(self, twin, hub, call, status, asked):
        later = {"error": {"message": "later"}}
        hub.says(answer(status, later, headers={"retry-after": str(asked)}), answer(json={**MODEL, **IMAGES}))

        await twin.send(call)

        assert hub.slept == [asked]

    @pytest.mark.asyncio
    async def test_date_is_waited_for(self, twin, hub):
        date = format_datetime(NOW + timedelta(seconds=45), usegmt=True)
        later = {"error": {"message": "later"}}
        hub.says(answer(429, later, headers={"retry-after": date}), answer(json=IMAGES))

        with time_machine.travel(NOW, tick=False):
            await twin.send(PAID)

        assert hub.slept == [45]

    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    @pytest.mark.parametrize(
        "asked", ["61", "86400", format_datetime(NOW + timedelta(minutes=2), usegmt=True)]
    )
    @pytest.mark.asyncio
    async def test_longer_than_a_minute_fails_at_once_and_leaves_it_to_airflow(self, twin, hub, call, asked):
        hub.says(answer(429, headers={"retry-after": asked}))

        with time_machine.travel(NOW, tick=False):
            error = await twin.failure(call)

        assert type(error) is errors.OxenRateLimited
        assert (error.retry_after or 0) > 60
        assert error.retry_helps
        assert (len(hub.asked), hub.slept) == (1, [])


class TestSecrets:
    """The key goes into one header to one host, and whatever quotes it is not repeated."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("to", ["https://elsewhere.example/api", f"{HUB}/other", "//elsewhere.example"])
    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    @pytest.mark.asyncio
    async def test_no_redirect_is_followed(self, twin, hub, call, status, to):
        hub.says(answer(status, headers={"location": to}))

        error = await twin.failure(call)

        assert {request.url.host for request in hub.asked} == {"hub.example"}
        assert all("/api/" in path for path in hub.paths)
        assert type(error) is (errors.OxenOutcomeUnknown if call.paid else errors.OxenRouteNotFound)

    @pytest.mark.asyncio
    async def test_redirect_is_told_by_its_host_alone(self, connect, hub):
        hub.says(answer(307, headers={"location": f"https://user:{KEY}@elsewhere.example/a?{KEY}"}))

        error = await connect(api_layout="ai").failure(PAID)

        assert "a redirect to https://elsewhere.example, which was not followed" in error.message

    @pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    @pytest.mark.asyncio
    async def test_key_that_is_echoed_is_not_repeated(self, connect, hub, call, echo):
        hub.says(echo)

        # Whatever is shown of the error, and whatever is logged between the attempts, is looked at there.
        assert isinstance(await connect(max_retries=1, api_layout="ai").failure(call), OxenError)

    @pytest.mark.parametrize("key", ["it's-a-key", 'quo"te-key', "back\\slash-key"])
    @pytest.mark.asyncio
    async def test_key_of_odd_characters_is_not_repeated_either(self, connect, hub, key):
        hub.says(answer(401, {"error": {"message": f"bad key {key}!"}}))

        with pytest.raises(OxenError, match=r"'bad key \*\*\*!'"):
            await connect(api_key=key).send(PAID)

    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_key_shows_in_no_representation(self, kind):
        client = kind(Settings(base_url=HUB, api_key=KEY), transport=httpx.MockTransport(answer()))

        assert KEY not in f"{client!r} {client.settings!r} {client.http!r} {vars(client)!r}"
        assert "authorization" not in client.http.headers


class TestLayouts:
    """The hub's two path layouts, and the choice between them."""

    @pytest.mark.parametrize("missing", [NO_ROUTE, NOT_FOUND, answer(404)], ids=["html", "typed", "empty"])
    @pytest.mark.asyncio
    async def test_classic_is_tried_first_then_ai_which_is_remembered(self, twin, hub, missing):
        hub.says(missing, answer(json=MODEL))
        await twin.send(FREE)
        hub.says(answer(json=IMAGES))
        await twin.send(PAID)

        assert hub.paths == [
            "/api/evaluations/models/z-image-turbo",
            "/api/ai/models/z-image-turbo",
            "/api/ai/images/generate",
        ]
        assert hub.slept == []

    @pytest.mark.asyncio
    async def test_classic_is_kept_where_it_answers(self, twin, hub):
        hub.says(answer(json=IMAGES))
        await twin.send(PAID)
        await twin.send(PAID)

        assert hub.paths == ["/api/images/generate"] * 2

    @pytest.mark.asyncio
    async def test_remembered_layout_that_goes_away_is_not_insisted_on(self, twin, hub):
        hub.says(NO_ROUTE, answer(json=MODEL))
        await twin.send(FREE)
        hub.asked.clear()
        hub.says(NO_ROUTE, answer(json=MODEL))
        await twin.send(FREE)
        await twin.send(FREE)

        assert hub.paths == [
            "/api/ai/models/z-image-turbo",
            "/api/evaluations/models/z-image-turbo",
            "/api/evaluations/models/z-image-turbo",
        ]

    @pytest.mark.asyncio
    async def test_call_without_layouts_does_not_disturb_what_is_remembered(self, twin, hub):
        hub.says(NO_ROUTE, answer(json=MODEL))
        await twin.send(FREE)
        hub.says(answer(json={"user": {"name": "ox"}}))
        await twin.send(calls.whose_key()[1])
        hub.says(answer(json=IMAGES))
        await twin.send(PAID)

        assert hub.paths[2:] == ["/api/authorize", "/api/ai/images/generate"]

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": "Model not found: z-image-turbo"}},
            {"error": {"type": "resource_not_found", "detail": "Model not found: z-image-turbo"}},
        ],
        ids=["message", "typed"],
    )
    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    @pytest.mark.asyncio
    async def test_404_that_names_the_model_is_an_answer(self, twin, hub, call, body):
        hub.says(answer(404, body))

        error = await twin.failure(call)

        assert type(error) is errors.OxenModelNotFound
        assert "Model not found: z-image-turbo" in error.message
        assert len(hub.asked) == 1

    @pytest.mark.asyncio
    async def test_host_that_serves_neither_is_named_with_both_paths_and_the_setting(self, twin, hub):
        hub.says(answer(404, headers={"x-request-id": "F-1"}))

        error = await twin.failure(PAID)

        assert type(error) is errors.OxenRouteNotFound
        assert str(error) == (
            f"Nothing was spent. {HUB} serves neither /api/images/generate nor /api/ai/images/generate. "
            "Check the connection's host; if the hub has moved its paths, set the connection's api_layout "
            "(auto, classic or ai). (HTTP 404, request id F-1)"
        )
        assert hub.paths == ["/api/images/generate", "/api/ai/images/generate"]

    @pytest.mark.parametrize("call", [PAID, FREE], ids=["paid", "free"])
    @pytest.mark.parametrize("missing", [[NOT_FOUND], [NO_ROUTE, NOT_FOUND]], ids=["both", "one"])
    @pytest.mark.asyncio
    async def test_resource_that_neither_layout_finds_is_the_model(self, twin, hub, call, missing):
        hub.says(*missing)

        error = await twin.failure(call)

        assert type(error) is errors.OxenModelNotFound
        assert error.message.startswith("Model not found: z-image-turbo. ")
        assert error.spent == "no"
        assert (error.status, error.type) == (404, "resource_not_found")
        assert len(hub.asked) == 2

    @pytest.mark.asyncio
    async def test_resource_that_is_no_model_is_a_route(self, twin, hub):
        hub.says(NOT_FOUND)

        assert type(await twin.failure(calls.list_models())) is errors.OxenRouteNotFound

    @pytest.mark.parametrize(
        ("layout", "path"), [("classic", "/api/images/generate"), ("ai", "/api/ai/images/generate")]
    )
    @pytest.mark.asyncio
    async def test_layout_that_is_set_is_the_only_one(self, connect, hub, layout, path):
        hub.says(NO_ROUTE)

        error = await connect(api_layout=layout).failure(PAID)

        assert type(error) is errors.OxenRouteNotFound
        assert "'an HTML page: Not Found'" in error.message
        assert "api_layout" in error.message
        assert hub.paths == [path]

    @pytest.mark.parametrize("layout", ["auto", "classic", "ai"])
    @pytest.mark.asyncio
    async def test_call_without_layouts_is_asked_once(self, connect, hub, layout):
        hub.says(NO_ROUTE)

        assert (
            type(await connect(api_layout=layout).failure(calls.whose_key()[1])) is errors.OxenRouteNotFound
        )
        assert hub.paths == ["/api/authorize"]

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 422, 500, 303])
    @pytest.mark.asyncio
    async def test_no_other_answer_sends_a_paid_call_to_the_other_layout(self, twin, hub, status):
        hub.says(answer(status))

        await twin.failure(PAID)

        assert len(hub.asked) == 1

    @pytest.mark.asyncio
    async def test_paid_call_that_is_lost_in_the_second_layout_is_unknown(self, twin, hub):
        hub.says(NO_ROUTE, trouble(httpx.ReadTimeout), answer(json=IMAGES))

        assert type(await twin.failure(PAID)) is errors.OxenOutcomeUnknown
        assert hub.paths == ["/api/images/generate", "/api/ai/images/generate"]

    @pytest.mark.asyncio
    async def test_each_layout_has_its_own_attempts(self, twin, hub):
        hub.says(answer(503), NO_ROUTE, answer(503), answer(json=MODEL))

        assert (await twin.send(FREE)).id == "z-image-turbo"
        assert len(hub.asked) == 4


class TestTransport:
    """Certificates, and the closing of connections."""

    def test_certificates_are_loaded_once_a_process(self):
        tls._context.cache_clear()

        Client(Settings()).close()
        AsyncClient(Settings())
        Client(Settings(base_url=HUB)).close()

        assert tls._context.cache_info().misses == 1

    def test_certificates_are_not_loaded_for_an_injected_transport(self):
        tls._context.cache_clear()

        Client(Settings(), transport=httpx.MockTransport(answer()))

        assert tls._context.cache_info().misses == 0

    def test_each_setting_has_a_context_that_verifies(self, tmp_path):
        contexts = [ssl_context(True), ssl_context(str(tmp_path))]

        assert contexts[0] is not contexts[1]
        assert contexts[0] is ssl_context(True)
        for context in contexts:
            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.check_hostname
        assert contexts[0].get_ca_certs()
        assert not contexts[1].get_ca_certs()

    @pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_bundle_that_cannot_be_read_is_an_error_of_the_connection(self, tmp_path, kind, content):
        bundle = tmp_path / "ca.pem"
        if content:
            bundle.write_text(content)

        said = r"The CA bundle '.*ca\.pem', which the connection's extra verify names, cannot be read: "
        with pytest.raises(OxenSettingsError, match=said):
            kind(Settings(verify=str(bundle)))

    def test_bundle_whose_name_no_system_takes_is_an_error_of_the_connection(self):
        with pytest.raises(OxenSettingsError, match="cannot be read"):
            Client(Settings(verify="a\0b"))

    def test_own_bundle_is_trusted_and_no_other_certificate(self, certificate, loopback):
        with loopback(certificate) as server:
            with Client(Settings(base_url=server.url, verify=certificate)) as client:
                assert client.send(FREE).id == "z-image-turbo"
            with (
                Client(Settings(base_url=server.url, api_key=KEY), sleep=lambda seconds: None) as client,
                pytest.raises(errors.OxenConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                client.send(PAID)

            assert len(server.asked) == 1

    @pytest.mark.asyncio
    async def test_own_bundle_is_trusted_by_the_async_client_too(self, certificate, loopback):
        with loopback(certificate) as server:
            async with AsyncClient(Settings(base_url=server.url, verify=certificate)) as client:
                assert (await client.send(FREE)).id == "z-image-turbo"

    def test_proxy_that_is_set_is_asked(self, loopback):
        with loopback() as proxy, Client(Settings("http://hub.example", proxy=proxy.url)) as client:
            assert client.send(FREE).id == "z-image-turbo"

        assert proxy.asked == ["GET http://hub.example/api/evaluations/models/z-image-turbo HTTP/1.1"]

    def test_leaving_the_context_closes(self):
        with Client(Settings(), transport=httpx.MockTransport(answer(json=MODEL))) as client:
            assert client.send(FREE).id == "z-image-turbo"
            assert not client.http.is_closed
        assert client.http.is_closed

    @pytest.mark.asyncio
    async def test_leaving_the_async_context_closes(self):
        async with AsyncClient(Settings(), transport=httpx.MockTransport(answer(json=MODEL))) as client:
            assert (await client.send(FREE)).id == "z-image-turbo"
            assert not client.http.is_closed
        assert client.http.is_closed
