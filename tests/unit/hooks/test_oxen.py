"""An Airflow connection becomes a client, and a few plain methods for ``@task`` functions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_oxen.api import client as clients
from airflow_provider_oxen.api import errors, queue, tls
from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.errors import OxenError, OxenSettingsError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.localhub import Fault, LocalHub

from ...conftest import ROOT
from .conftest import KEY

MODEL = "z-image-turbo"


@pytest.fixture(params=["sync", "async"])
def generate(request):
    """Generate through the hook, with either method, outside of a loop or in one."""
    if request.param == "sync":
        return lambda *args, **kwargs: OxenHook().generate_image(*args, **kwargs)
    return lambda *args, **kwargs: asyncio.run(OxenHook().agenerate_image(*args, **kwargs))


def sent(hub: LocalHub) -> list[dict[str, Any]]:
    """Return the bodies of the generate requests."""
    return [entry["request"] for entry in hub.ledger()]


def kept_at(host: str) -> Any:
    return Connection(conn_id="any", conn_type="oxen", host=host, password="kept-there")


class Vault(OxenHook):
    """Reads its connection from elsewhere."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        return kept_at("https://vault.example")


class AsyncVault(Vault):
    """Has another way for async code."""

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Any:
        return kept_at("https://async.example")


class TestOwnConnection:
    """A subclass that reads its connection from elsewhere is honoured, whoever asks."""

    def test_get_connection_holds_for_async_code_too(self):
        assert Vault("any").settings().base_url == "https://vault.example"
        assert asyncio.run(Vault("any").asettings()) == Vault("any").settings()

    def test_airflows_async_method_goes_by_it(self):
        assert asyncio.run(Vault.aget_connection("any")).host == "https://vault.example"

    def test_without_one_airflows_own_methods_tell_the_same(self, connect):
        connect(host="https://hub.example")

        assert asyncio.run(OxenHook.aget_connection("oxen_default")).host == "https://hub.example"

    def test_clients_have_it(self):
        async def base_url() -> str:
            async with await Vault("any").get_async_conn() as client:
                return client.settings.base_url

        assert asyncio.run(base_url()) == "https://vault.example"

    def test_async_code_goes_by_its_own_way_where_there_is_one(self):
        assert asyncio.run(AsyncVault("any").asettings()).base_url == "https://async.example"
        assert AsyncVault("any").settings().base_url == "https://vault.example"


class TestSettings:
    """The connection, read in its forms."""

    def read(self) -> Settings:
        settings = OxenHook().settings()
        assert asyncio.run(OxenHook().asettings()) == settings
        return settings

    def test_json(self, connect):
        connect(host="https://hub.example:8443", extra={"api_layout": "ai", "timeout": 30, "verify": ""})

        assert self.read() == Settings(
            base_url="https://hub.example:8443", api_key=KEY, api_layout="ai", timeout=30.0
        )

    def test_json_whose_extra_is_a_text(self, connect):
        connect(extra='{"target_namespace": "my-org", "proxy": null}')

        assert self.read() == Settings(api_key=KEY, target_namespace="my-org")

    @pytest.mark.parametrize(
        ("uri", "fields"),
        [
            (f"oxen://:{KEY}@", {}),
            (f"oxen://:{KEY}@hub.example:8443", {"base_url": "https://hub.example:8443"}),
            (f"oxen://:{KEY}@hub.example/https", {"base_url": "https://hub.example"}),
            (f"oxen://:{KEY}@127.0.0.1:5000/http", {"base_url": "http://127.0.0.1:5000"}),
            (f"oxen://:{KEY}@{quote('http://127.0.0.1', safe='')}", {"base_url": "http://127.0.0.1"}),
            (
                f"oxen://:{KEY}@hub.example?api_layout=classic&timeout=12.5&max_retries=0&allow_http=true",
                {
                    "base_url": "https://hub.example",
                    "api_layout": "classic",
                    "timeout": 12.5,
                    "max_retries": 0,
                    "allow_http": True,
                },
            ),
            (
                f"oxen://:{quote('odd/key=', safe='')}@hub.example",
                {"base_url": "https://hub.example", "api_key": "odd/key="},
            ),
        ],
        ids=["key", "port", "https", "http", "url", "extras", "odd_key"],
    )
    def test_uri(self, connect, uri, fields):
        connect(uri)

        assert self.read() == Settings(**{"api_key": KEY, **fields})

    def test_another_connection(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_MY_HUB", '{"conn_type": "oxen", "host": "my-hub.example"}')

        assert OxenHook("my_hub").settings() == Settings(base_url="https://my-hub.example")
        assert OxenHook(oxen_conn_id="my_hub").oxen_conn_id == "my_hub"

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"extra": {"retries": 3}}, "Unknown extra field(s) 'retries'"),
            ({"host": "http://hub.example"}, "http://hub.example would carry the key unencrypted"),
            ({"password": f"{KEY} and more"}, "password holds a space"),
        ],
        ids=["unknown_extra", "http", "key"],
    )
    def test_connection_that_makes_no_sense_is_refused_everywhere(self, connect, fields, says):
        connect(**fields)
        hook = OxenHook()
        attempts = (
            hook.settings,
            hook.get_conn,
            hook.list_models,
            lambda: asyncio.run(hook.asettings()),
            lambda: asyncio.run(hook.get_async_conn()),
        )

        for attempt in attempts:
            with pytest.raises(OxenSettingsError) as caught:
                attempt()
            assert says in str(caught.value)
            assert KEY not in str(caught.value)
        assert hook.test_connection() == (False, caught.value.message)

    def test_field_that_airflow_cannot_decrypt_is_refused_unquoted(self, connect, monkeypatch):
        class Sealed:
            host = schema = port = None
            password = property(lambda self: int(KEY))

        monkeypatch.setattr(OxenHook, "get_connection", lambda *_: Sealed())

        with pytest.raises(OxenSettingsError) as caught:
            OxenHook("sealed").settings()
        assert caught.value.message.startswith(
            "The Airflow connection 'sealed' cannot be read (ValueError). Enter "
        )
        assert KEY not in f"{caught.value!r} {caught.value.__cause__}"

    @pytest.mark.parametrize("hub", ["nowhere", "no where"])
    def test_connection_that_is_not_there_is_named_everywhere(self, hub):
        hook = OxenHook(hub)
        for attempt in (hook.settings, hook.list_models, lambda: asyncio.run(hook.asettings())):
            with pytest.raises(OxenSettingsError, match=f"connection '{hub}' is not defined") as caught:
                attempt()
            assert not caught.value.retry_helps
        assert hook.test_connection() == (False, caught.value.message)

    # Airflow 2.11 says so itself; Airflow 3 goes on in silence.
    @pytest.mark.filterwarnings("ignore:Encountered (non-JSON|JSON value) in `extra`")
    @pytest.mark.parametrize("extra", ['{"target_namespace": "my-org"', '["my-org"]'], ids=["broken", "list"])
    def test_extra_that_airflow_makes_nothing_of_is_refused(self, connect, extra):
        connect(extra=extra)

        for attempt in (OxenHook().settings, lambda: asyncio.run(OxenHook().asettings())):
            with pytest.raises(OxenSettingsError, match="extra must be a JSON object"):
                attempt()


class TestClients:
    """Clients that are ready to use."""

    def test_client_has_the_connections_settings(self, connect):
        connect(host="https://hub.example")

        with OxenHook().get_conn() as client:
            assert isinstance(client, Client)
            assert client.settings == OxenHook().settings()

    @pytest.mark.asyncio
    async def test_async_client_has_the_connections_settings(self, connect):
        connect(host="https://hub.example")

        async with await OxenHook().get_async_conn() as client:
            assert isinstance(client, AsyncClient)
            assert client.settings == Settings(base_url="https://hub.example", api_key=KEY)

    @pytest.mark.asyncio
    async def test_certificates_are_read_off_the_event_loop(self, connect, monkeypatch):
        connect()
        readers: list[threading.Thread] = []
        read = tls.ssl_context

        def noted(verify: bool | str) -> Any:
            readers.append(threading.current_thread())
            return read(verify)

        for module in (tls, clients):
            monkeypatch.setattr(module, "ssl_context", noted)
        await (await OxenHook().get_async_conn()).aclose()

        assert readers[0] is not threading.current_thread()

    def test_hook_shows_no_key(self, connect):
        connect()
        hook = OxenHook()
        hook.settings()

        assert KEY not in f"{hook!r} {vars(hook)!r}"


class TestGenerating:
    """Each accepted call costs money, so nothing is sent that was not meant."""

    def test_image_is_generated(self, hub, connect, generate):
        connect(host=hub.url)

        answer = generate("A red cube", MODEL, seed=7)

        assert answer.model == MODEL
        assert answer.images[0].url.startswith(hub.url)
        [body] = sent(hub)
        assert body == {"model": MODEL, "prompt": "A red cube", "response_format": "url", "seed": 7}

    def test_every_argument_arrives(self, hub, connect, generate):
        connect(host=hub.url)

        answer = generate(
            "A red cube",
            MODEL,
            response_format="b64_json",
            image_size={"width": 32, "height": 16},
            num_inference_steps=4,
            seed=7,
            target_namespace="local-org",
            model_params={"output_format": "png"},
        )

        assert answer.images[0].b64_json
        assert sent(hub) == [
            {
                "model": MODEL,
                "prompt": "A red cube",
                "response_format": "b64_json",
                "image_size": {"width": 32, "height": 16},
                "num_inference_steps": 4,
                "seed": 7,
                "target_namespace": "local-org",
                "output_format": "png",
            }
        ]

    @pytest.mark.parametrize(
        "given", [{}, *({"target_namespace": none} for none in (None, "", " ", "None"))], ids=str
    )
    def test_namespace_of_the_connection_is_billed_where_none_is_given(self, hub, connect, generate, given):
        connect(host=hub.url, extra={"target_namespace": "local-org"})

        generate("A red cube", MODEL, **given)

        assert sent(hub)[0]["target_namespace"] == "local-org"

    def test_namespace_that_is_given_wins(self, hub, connect, generate):
        connect(host=hub.url, extra={"target_namespace": "nobody"})

        generate("A red cube", MODEL, target_namespace="local-org")

        assert sent(hub)[0]["target_namespace"] == "local-org"

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"prompt": " "}, "prompt must be a text"),
            ({"model": ""}, "model must be"),
            ({"image_size": 5}, "image_size must be"),
            ({"model_params": {"seed": 1}}, "model_params must not hold 'seed'"),
        ],
        ids=["prompt", "model", "image_size", "model_params"],
    )
    def test_bad_input_is_refused_before_anything_is_sent(self, hub, connect, generate, given, says):
        connect(host=hub.url)

        with pytest.raises(errors.OxenInvalidRequest, match=says):
            generate(**{"prompt": "A red cube", "model": MODEL, **given})

        assert hub.requests() == []

    @pytest.mark.parametrize(
        "given",
        [{"prompt": "A cube {}"}, {"model_params": {"style": ["{}"]}}, {"image_size": "{}"}],
        ids=["prompt", "parameter", "wrong"],
    )
    def test_request_that_holds_the_key_is_refused_before_anything_is_sent(
        self, hub, connect, generate, given
    ):
        connect(host=hub.url)
        held = json.loads(json.dumps(given).replace("{}", hub.key))

        with pytest.raises(errors.OxenInvalidRequest, match="holds the API key") as caught:
            generate(**{"prompt": "A red cube", "model": MODEL, **held})

        assert hub.key not in repr(caught.value)
        assert hub.requests() == []

    @pytest.mark.parametrize("kind", ["drop_after", "empty_item", "no_images"])
    def test_answer_that_is_lost_is_paid_once_and_told(self, hub, connect, generate, kind):
        connect(host=hub.url)
        hub.fail(Fault(kind))

        with pytest.raises(errors.OxenOutcomeUnknown):
            generate("A red cube", MODEL)

        assert len(hub.ledger()) == 1

    def test_wrong_key_costs_nothing(self, hub, connect, generate):
        connect(host=hub.url, password="another-key")

        with pytest.raises(errors.OxenAuthenticationError):
            generate("A red cube", MODEL)

        assert hub.ledger() == []


class TestCatalogue:
    """What the hub offers, for free."""

    def test_model_comes_with_its_schema(self, hub, connect):
        connect(host=hub.url, password=None)

        model = OxenHook().get_model(MODEL)

        assert model.id == MODEL
        assert model.request_schema is not None
        assert "prompt" in model.request_schema["properties"]

    def test_unknown_model_is_told_in_the_hubs_words(self, hub, connect):
        connect(host=hub.url)

        with pytest.raises(errors.OxenModelNotFound, match="Model not found: no-such-model"):
            OxenHook().get_model("no-such-model")

    def test_models_are_those_that_make_images_unless_others_are_asked_for(self, hub, connect):
        connect(host=hub.url)
        everything = OxenHook().list_models(output=None)
        images = OxenHook().list_models()

        assert {model.id for model in images} == {
            model.id for model in everything if "image" in model.outputs
        }
        assert 0 < len(images) < len(everything)
        assert OxenHook().list_models(output="smell") == []

    def test_a_price_is_that_of_the_request_in_either_layout(self, hub, connect):
        for layout in ("auto", "classic", "ai"):
            connect(host=hub.url, extra={"api_layout": layout})

            assert OxenHook().get_price(MODEL) == 0.01
            assert OxenHook().get_price("gpt-image-2", {"quality": "low", "resolution": "1K"}) == 0.004
            assert OxenHook().get_price("local-user-product-shots") is None
        with pytest.raises(errors.OxenModelNotFound, match="no-such-model"):
            OxenHook().get_price("no-such-model")
        assert hub.spent() == 0

    def test_models_are_searched_by_the_hub(self, hub, connect):
        connect(host=hub.url)

        assert MODEL in [model.id for model in OxenHook().list_models(search="turbo")]
        assert hub.requests()[-1]["path"].endswith("/models/search")


class TestQueue:
    """A generation of the queue can be looked at and cancelled."""

    @pytest.fixture
    def generation_id(self, hub, connect) -> str:
        connect(host=hub.url)
        with OxenHook().get_conn() as client:
            [row] = client.send(queue.enqueue(GenerateRequest(model=MODEL, prompt="A red cube")))
        return row.generation_id

    def test_finished_generation_has_a_link_that_works(self, generation_id):
        row = OxenHook().get_generation(generation_id)

        assert (row.generation_id, row.status, row.model) == (generation_id, "succeeded", MODEL)
        assert row.result_url is not None
        assert httpx.get(row.result_url).status_code == 200
        assert "signature" not in repr(row)

    def test_generation_that_the_hub_does_not_know_is_told(self, hub, connect):
        connect(host=hub.url)

        with pytest.raises(errors.OxenGenerationNotFound):
            OxenHook().get_generation("no-such-generation")
        with pytest.raises(errors.OxenGenerationNotFound):
            OxenHook().cancel_generation("no-such-generation")

    def test_generation_is_cancelled(self, hub, connect, generation_id):
        hub.settings.latency = 600
        with OxenHook().get_conn() as client:
            [running] = client.send(queue.enqueue(GenerateRequest(model=MODEL, prompt="A red cube")))

        OxenHook().cancel_generation(running.generation_id)

        assert OxenHook().get_generation(running.generation_id).status == "cancelled"
        assert OxenHook().get_generation(generation_id).status == "succeeded"

    def test_generation_that_has_ended_cannot_be_cancelled(self, generation_id):
        with pytest.raises(errors.OxenInvalidRequest, match="already finished"):
            OxenHook().cancel_generation(generation_id)


class TestDownload:
    """Either form of an answer becomes a file."""

    @pytest.mark.parametrize("response_format", ["url", "b64_json"])
    def test_image_is_written_and_proved(self, hub, connect, tmp_path, response_format):
        connect(host=hub.url)
        hook = OxenHook()
        [image] = hook.generate_image("A red cube", MODEL, response_format=response_format).images
        path = tmp_path / "cube.img"

        facts = hook.download(image, path)

        assert (facts["path"], facts["width"], facts["height"]) == (str(path), 16, 16)
        assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_path_that_holds_the_key_is_refused(self, hub, connect, tmp_path):
        connect(host=hub.url)

        with pytest.raises(errors.OxenInvalidRequest, match="path: holds the API key"):
            OxenHook().download({"url": f"{hub.url}/a.png"}, tmp_path / hub.key)

    def test_file_that_is_there_stays_unless_that_is_meant(self, hub, connect, tmp_path):
        connect(host=hub.url)
        hook = OxenHook()
        image = hook.generate_image("A red cube", MODEL).images[0].model_dump()
        path = tmp_path / "cube.img"
        path.write_text("mine")

        with pytest.raises(OxenError):
            hook.download(image, path)
        assert path.read_text() == "mine"

        hook.download(image, path, overwrite=True)
        assert path.read_bytes() != b"mine"


class TestAirflow:
    """What Airflow asks of a hook."""

    def test_connection_is_tested(self, hub, connect):
        connect(host=hub.url)
        assert OxenHook().test_connection() == (True, f"Connected to {hub.url} as local-user.")

        connect(host=hub.url, password="another-key")
        works, text = OxenHook().test_connection()
        assert not works
        assert "missing or wrong" in text

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            connect(host=f"http://127.0.0.1:{taken.getsockname()[1]}")
            works, text = OxenHook().test_connection()
        assert not works
        assert text.startswith("Could not reach http://127.0.0.1:")

    def test_importing_the_hook_loads_nothing_heavy(self):
        """Dag files import it again and again."""
        code = (
            "import sys; from airflow.providers.common.compat.sdk import BaseHook; before = set(sys.modules);"
            "import airflow_provider_oxen.hooks.oxen; print(*set(sys.modules) - before)"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

        # The package itself is there before where it is installed: Airflow reads its metadata.
        assert set(shown.stdout.split()) - {"airflow_provider_oxen"} == {
            "airflow_provider_oxen.hooks",
            "airflow_provider_oxen.hooks.oxen",
        }
