from __future__ import annotations

import pytest


def test_a_model_has_a_page_for_people(stranger):
    shown = stranger.get("/ai/models/z-image-turbo")

    assert shown.headers["content-type"].startswith("text/html")
    for text in ("<h1>z-image-turbo</h1>", "0.01 USD an image", "<td>seed</td><td>integer</td>"):
        assert text in shown.text
    assert stranger.get("/ai/models/none-like-this").status_code == 404


def test_requests_tell_what_was_asked_and_never_the_key(hub, url, client, stranger):
    stranger.get(url)
    client.get("/api/ai/models", headers={"Authorization": "Bearer a-very-wrong-key"})
    stranger.get("/_local/ledger")
    generated, file, models = hub.requests()
    assert generated == {
        "method": "POST",
        "path": "/api/ai/images/generate",
        "query_keys": [],
        "authorized": True,
        "key_ok": True,
        "status": 200,
    }
    assert file["query_keys"] == ["expires", "signature"]
    assert (file["authorized"], file["key_ok"]) == (False, False)
    assert (models["authorized"], models["key_ok"]) == (True, False)
    told = stranger.get("/_local/requests").text
    assert hub.key not in told
    assert "very-wrong" not in told


def test_what_a_test_asks_is_told_without_a_key(hub, stranger, enqueue):
    enqueue(num_generations=2)
    for name in ("ledger", "jobs", "requests"):
        assert stranger.get(f"/_local/{name}").json() == getattr(hub, name)()
    hub.settings.latency = 100
    enqueue(prompt="Forbidden")
    # The credits are those of now.
    assert stranger.get("/_local/settings").json()["credits"] == 999.97
    assert stranger.patch("/_local/settings", json={"clock_ahead": 101}).json()["clock_ahead"] == 101
    assert stranger.get("/_local/settings").json()["credits"] == 999.98


def test_settings_are_told_and_set(hub, stranger):
    told = stranger.get("/_local/settings").json()
    assert told["layouts"] == ["ai", "classic"]
    assert "key" not in told

    told = stranger.patch("/_local/settings", json={"latency": 0.5, "layouts": ["ai"], "key": "new"}).json()
    assert (told["latency"], told["layouts"]) == (0.5, ["ai"])
    assert (hub.settings.latency, hub.key) == (0.5, "new")


def test_deployments_are_set_by_model(hub, stranger):
    deployments = {"local-user-brand-style": "deploying"}
    assert stranger.patch("/_local/settings", json={"deployments": deployments}).status_code == 200
    model = stranger.get("/api/ai/models/local-user-brand-style").json()
    assert model["deployments"] == [{"status": "deploying"}]
    assert stranger.patch("/_local/settings", json={"deployments": {"x": "active"}}).status_code == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"credits": "much"}', "credits: Input should be a valid number (given: 'much')"),
        ('{"speed": 1}', "speed: Extra inputs are not permitted"),
        ("[]", "The body is not a JSON object."),
        ("{", "The body is not a JSON object."),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(hub, stranger, body, message):
    answer = stranger.patch("/_local/settings", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["detail"]


def test_faults_are_taken_told_and_forgotten(stranger, generate):
    one = {"kind": "status", "status": 503, "headers": {"Retry-After": "7"}}
    assert stranger.post("/_local/faults", json=one).status_code == 200
    assert stranger.post("/_local/faults", json=[one, {"on": "file", "kind": "short"}]).status_code == 200
    assert [fault["kind"] for fault in stranger.get("/_local/faults").json()] == ["status", "status", "short"]

    answer = generate()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")

    assert stranger.delete("/_local/faults").json() == []
    assert generate().status_code == 200


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "explode"}, "Not a fault: 0.kind: Input should be 'broken_json'"),
        ({"kind": "status", "when": "now"}, "when: Unexpected keyword argument"),
        ({}, "kind: Field required"),
        ("status", "Not a fault"),
    ],
)
def test_what_is_no_fault_is_refused_with_the_reason(stranger, fault, message):
    answer = stranger.post("/_local/faults", json=fault)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["detail"]


def test_reset_returns_to_the_start(hub, stranger, generate):
    hub.settings.rate_limit = 1
    hub.settings.catalogue.clear()
    hub.settings.default_size = (8, 8)
    hub.settings.catalogue = [{"id": "mine"}]
    generate(model="mine")
    stranger.post("/_local/faults", json={"kind": "status", "times": None})

    told = stranger.post("/_local/reset").json()

    assert told["default_size"] == [32, 32]
    assert (hub.ledger(), hub.requests()) == ([], [])
    assert hub.settings.credits == 1000
    assert [generate().status_code for _ in range(2)] == [200, 200]
    hub.settings.catalogue.clear()
    hub.reset()
    assert generate().status_code == 200


@pytest.mark.parametrize("path", ["/_local", "/_local/"])
def test_page_shows_money_images_and_ledger_with_all_text_escaped(hub, client, stranger, path):
    # Spelled by hand: httpx does not send half a surrogate pair, other clients do.
    body = r'{"model": "z-image-turbo", "prompt": "<script>alert(1)</script> \ud800", "seed": 77}'
    assert client.post("/api/images/generate", content=body).status_code == 200
    assert hub.ledger()[0]["prompt"].endswith("\ud800")
    assert stranger.get("/_local/ledger").json() == hub.ledger()
    answer = stranger.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "1 images billed, 0.0100 USD spent, 999.9900 USD left" in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "<script>" not in answer.text
    assert f'src="/_local/images/{hub.ledger()[0]["id"]}"' in answer.text
    assert "<td>77</td><td>32 x 32 WEBP</td>" in answer.text


def test_image_of_nothing_that_was_billed_is_not_there(stranger):
    assert stranger.get("/_local/images/nothing").status_code == 404


def test_page_shows_the_queue_once_there_is_one(hub, enqueue, stranger):
    assert "<h2>Queue</h2>" not in stranger.get("/_local/").text
    hub.settings.latency = 100
    id = enqueue(prompt="<b>A fox</b>", num_generations=3)
    enqueue(prompt="Forbidden")
    hub.settings.clock_ahead += 101
    enqueue()
    page = stranger.get("/_local/").text
    assert "<p>1 failed, 1 processing, 3 succeeded.</p>" in page
    assert "<td>failed: Getting model response error: 422 - The prompt was flagged" in page
    assert f"<td>&lt;b&gt;A fox&lt;/b&gt;</td><td>succeeded</td><td>{id}</td>" in page
    assert "3 images billed, 0.0300 USD spent, 999.9600 USD left" in page


def test_page_stays_short(hub, stranger, generate):
    for seed in range(13):
        generate(prompt="long " * 200, seed=seed)
    page = stranger.get("/_local/").text
    assert page.count("<figure>") == 12
    assert page.count("…") == 12 * 2 + 13
    assert page.index("<td>12</td>") < page.index("<td>0</td>")
