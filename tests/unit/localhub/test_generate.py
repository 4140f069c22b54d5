from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault, jobs
from tests.unit.localhub.conftest import until

KLEIN = "black-forest-labs-flux-2-klein-4b"


def test_base64_holds_the_same_bytes_as_the_url(generate, client):
    [inline] = generate(response_format="b64_json", seed=7).json()["images"]
    [linked] = generate(response_format="url", seed=7).json()["images"]
    assert base64.b64decode(inline["b64_json"], validate=True) == client.get(linked["url"]).content


def test_ledger_tells_the_whole_call(hub, generate):
    content = base64.b64decode(
        generate(
            model=KLEIN,
            seed=42,
            image_size={"width": 60, "height": 40},
            output_format="png",
            response_format="b64_json",
            target_namespace="local-org",
        ).json()["images"][0]["b64_json"]
    )
    [paid] = hub.ledger()
    assert Image.open(io.BytesIO(content)).size == (60, 40)
    assert abs(paid.pop("time") - time.time()) < 60
    assert len(paid.pop("id")) == 36
    assert paid == {
        "model": KLEIN,
        "prompt": "A red cube",
        "seed": 42,
        "index": 0,
        "cost": 0.014,
        "namespace": "local-org",
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": 60,
        "height": 40,
        "media_type": "image/png",
        "route": "generate",
        "generation_id": None,
        "request": {
            "model": KLEIN,
            "prompt": "A red cube",
            "seed": 42,
            "image_size": {"width": 60, "height": 40},
            "output_format": "png",
            "response_format": "b64_json",
            "target_namespace": "local-org",
        },
    }


def test_seed_is_drawn_where_none_was_sent_and_the_ledger_tells_it(hub, generate):
    generate()
    generate(seed=None)
    first, second = (paid["seed"] for paid in hub.ledger())
    assert first != second
    assert hub.ledger()[0]["namespace"] == "local-user"
    assert "seed" not in hub.ledger()[0]["request"]
    generate(seed=first)
    assert hub.ledger()[2]["sha256"] == hub.ledger()[0]["sha256"]


def test_several_images_where_the_model_offers_them_are_billed_one_by_one(hub, generate):
    assert len(generate(model="ideogram-v4", num_images=3).json()["images"]) == 3
    assert len({paid["sha256"] for paid in hub.ledger()}) == 3
    assert hub.spent() == 0.18
    assert len(generate(model=KLEIN, num_images=3).json()["images"]) == 1
    # Of some models the first is returned, and all are billed.
    assert len(generate(model="qwen-image-3", num_images=4).json()["images"]) == 1
    assert len(hub.ledger()) == 3 + 1 + 4


def test_prompt_is_needed_where_the_models_schema_says_so(hub, generate):
    image = "https://example.com/fox.png"
    assert generate(model="topazlabs-image-upscale", prompt=None, input_image=image).status_code == 200
    assert hub.ledger()[0]["prompt"] == ""
    for prompt in (None, "", " "):
        assert (
            generate(model="xai-grok-imagine-image-edit", prompt=prompt, input_image=image).status_code == 400
        )
    assert generate(model="topazlabs-image-upscale", prompt=" ", input_image=image).status_code == 400
    assert len(hub.ledger()) == 1


def test_older_answer_names_the_url_alone(hub, generate, stranger):
    hub.settings.answer = "image_url"
    answer = generate().json()
    assert set(answer) == {"image_url"}
    assert stranger.get(answer["image_url"]).status_code == 200
    assert "images" in generate(response_format="b64_json").json()


REFUSED = {
    "no key": ({}, {"Authorization": ""}, 401, "unauthenticated"),
    "wrong key": ({}, {"Authorization": "Bearer local-kez"}, 401, "unauthenticated"),
    "no model": ({"model": None}, {}, 400, "model is missing"),
    "blank prompt": ({"prompt": " \n"}, {}, 400, "Prompt cannot be empty"),
    "unknown format": ({"response_format": "png"}, {}, 400, "response_format must be one of url, b64_json"),
    "namespace": ({"target_namespace": "acme"}, {}, 403, "You may not use the namespace acme."),
    "not deployed": ({"model": "local-user-brand-style"}, {}, 400, "Model is not deployed: local-user"),
    "schema": (
        {"num_inference_steps": 99},
        {},
        422,
        "Getting model response error: 422 - num_inference_steps: 99 is greater than the maximum of 50",
    ),
    "moderation": ({"prompt": "A Forbidden thing"}, {}, 422, "flagged by moderation"),
}


@pytest.mark.parametrize("shape", ["typed", "message"])
@pytest.mark.parametrize(("parameters", "headers", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_calls_are_not_billed(hub, client, shape, parameters, headers, status, text):
    hub.settings.error_shape = shape
    body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
    body = {name: value for name, value in body.items() if value is not None}

    answer = client.post("/api/ai/images/generate", json=body, headers=headers)

    assert answer.status_code == status
    error = answer.json()["error"]
    assert text in error.get("detail", error.get("message"))
    fixed = status == 401 or text.startswith("Prompt")
    assert ("type" in error) is (shape == "typed" or fixed)
    assert hub.ledger() == []
    assert hub.settings.credits == 1000


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_body_that_is_no_json_object_is_refused(client, content):
    assert client.post("/api/ai/images/generate", content=content).status_code == 400


def test_credits_run_out_to_the_cent(hub, generate):
    hub.settings.credits = 0.03
    assert [generate().status_code for _ in range(4)] == [200, 200, 200, 402]
    error = generate().json()
    assert error["error"]["type"] == "insufficient_credits"
    assert error["error"]["detail"] == "You have run out of credits."
    assert hub.settings.credits == 0
    hub.settings.credits = 0.07
    assert generate(model="ideogram-v4", num_images=2).status_code == 402
    hub.settings.credits = 0.01
    assert generate().status_code == 200
    assert len(hub.ledger()) == 4


def test_rate_limit_tells_when_there_is_room_again(hub, generate):
    hub.settings.rate_limit = 2
    assert [generate().status_code for _ in range(3)] == [200, 200, 429]
    assert 0 < int(generate().headers["retry-after"]) <= 60
    hub.settings.clock_ahead += 61
    assert generate().status_code == 200
    hub.settings.rate_limit = 0
    assert generate().headers["retry-after"] == "60"
    assert len(hub.ledger()) == 3


def test_call_that_is_waited_for_or_waits_its_turn_is_billed_already(hub, generate):
    hub.settings.update({"latency": 600, "at_once": 1})
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(generate) for _ in range(3)]
        until(lambda: len(hub.ledger()) == 3)
        assert not any(answer.done() for answer in answers)
        assert [seen["status"] for seen in hub.requests()] == [None] * 3
        hub.close()
        assert {answer.result(10).status_code for answer in answers} == {200}


def test_nobody_waits_for_a_call_of_before_the_reset(hub, generate):
    hub.settings.update({"latency": 600, "at_once": 1})
    with ThreadPoolExecutor(1) as pool:
        pool.submit(generate)
        until(lambda: bool(hub.ledger()))
        hub.reset()
        hub.settings.at_once = 1
        assert generate().status_code == 200
        hub.close()


def test_drawing_does_not_block_other_requests(hub, client, generate, monkeypatch):
    drawing, go_on = threading.Event(), threading.Event()

    def slow(picture):
        drawing.set()
        assert go_on.wait(10)
        return b"drawn"

    monkeypatch.setattr(jobs, "draw", slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(generate, response_format="b64_json")
        assert drawing.wait(10)
        assert client.get("/api/ai/queue").status_code == 200
        assert not answer.done()
        go_on.set()
        assert base64.b64decode(answer.result().json()["images"][0]["b64_json"]) == b"drawn"


def test_files_can_be_on_another_origin(hub, generate):
    hub.settings.files_origin = "https://cdn.example.com"
    assert generate().json()["images"][0]["url"].startswith("https://cdn.example.com/api/repos/local-user/")


def test_fault_for_one_prompt_leaves_the_others_alone(hub, generate):
    hub.fail(Fault("status", prompt="fox", times=None))
    assert [generate(prompt=f"A {what}").status_code for what in ("whale", "fox", "heron")] == [200, 500, 200]


KLEIN = "black-forest-labs-flux-2-klein-4b"


def test_url_expires(hub, url, stranger):
    hub.settings.clock_ahead += 590
    assert stranger.get(url).status_code == 200
    hub.settings.clock_ahead += 20
    answer = stranger.get(url)
    assert answer.status_code == 403
    assert answer.json()["error"]["detail"] == "The URL has expired."


def test_files_may_need_the_key_too(hub, url, client, stranger):
    hub.settings.files_need_key = True
    assert stranger.get(url).status_code == 401
    assert stranger.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("path", ["/api/images/generate", "/api/ai/images/generate"])
def test_answer_is_a_url_that_needs_no_key_as_long_as_the_hub_knows_it(hub, generate, stranger, path):
    answer = generate(path, model=KLEIN, output_format="jpg").json()
    assert set(answer) == {"model", "created", "images"}
    assert answer["model"] == KLEIN
    [image] = answer["images"]
    assert set(image) == {"url"}
    assert image["url"].startswith(f"{hub.url}/api/repos/local-user/generated/files/")
    assert urlsplit(image["url"]).path.endswith("/image.png"), "whatever the format"
    file, [paid] = stranger.get(image["url"]), hub.ledger()
    assert file.headers["content-type"] == paid["media_type"] == "image/jpeg"
    assert hashlib.sha256(file.content).hexdigest() == paid["sha256"]
    hub.reset()
    assert stranger.get(image["url"]).status_code == 404
