from __future__ import annotations

import pytest

CUSTOM = "local-user-brand-style"
PHOENIX = {"errors": {"detail": "Not Found"}}


def test_catalogue_has_a_shape_for_each_layout_and_needs_no_key(hub, stranger):
    ids = [entry["id"] for entry in hub.settings.catalogue]
    classic = stranger.get("/api/evaluations/models").json()
    ai = stranger.get("/api/ai/models").json()
    assert [model["name"] for model in classic["models"]] == ids
    assert set(ai) == {"object", "data"}
    assert ai["object"] == "list"
    assert [model["id"] for model in ai["data"]] == ids


def test_search_finds_in_either_layout(stranger):
    classic = stranger.get("/api/evaluations/models/search", params={"search": "KLEIN"}).json()
    ai = stranger.get("/api/ai/models/search", params={"search": "klein"}).json()
    assert [model["name"] for model in classic["models"]] == ["black-forest-labs-flux-2-klein-4b"]
    assert [model["id"] for model in ai["data"]] == ["black-forest-labs-flux-2-klein-4b"]


def test_detail_is_the_bare_model_with_its_schema(stranger):
    classic = stranger.get("/api/evaluations/models/z-image-turbo").json()
    ai = stranger.get("/api/ai/models/z-image-turbo").json()
    assert classic["name"] == ai["id"] == "z-image-turbo"
    assert classic["json_request_schema"] == ai["request_schema"]
    assert ai["pricing"]["cost_per_image"] == 0.01


@pytest.mark.parametrize("base", ["/api/evaluations/models", "/api/ai/models"])
def test_unknown_model_is_told_by_name(stranger, base):
    answer = stranger.get(f"{base}/some/model")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "Model not found: some/model"}}


def test_deployment_changes_while_the_hub_runs(hub, stranger, generate):
    custom = next(entry for entry in hub.settings.catalogue if entry["id"] == CUSTOM)
    assert stranger.get(f"/api/evaluations/models/{CUSTOM}").json()["can_run_inference"] is False
    assert generate(model=CUSTOM).status_code == 400

    custom["deployments"][0]["status"] = "active"

    assert stranger.get(f"/api/ai/models/{CUSTOM}").json()["deployments"] == [{"status": "active"}]
    assert stranger.get(f"/api/evaluations/models/{CUSTOM}").json()["can_run_inference"] is True
    assert generate(model=CUSTOM).status_code == 200


def test_catalogue_can_be_replaced(hub, stranger, generate):
    hub.settings.catalogue = [{"id": "mine"}]
    assert stranger.get("/api/ai/models").json()["data"] == [{"id": "mine"}]
    assert stranger.get("/api/evaluations/models").json()["models"][0]["display_name"] == "mine"
    assert generate(model="mine").status_code == 200
    assert generate().status_code == 404


def test_authorize_tells_whose_key_it_is(hub, client, stranger):
    assert client.get("/api/authorize").json() == {
        "user": {"name": "local-user", "email": "local-user@example.com"}
    }
    refused = stranger.get("/api/authorize")
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "unauthenticated")
    hub.settings.authorize = False
    missing = client.get("/api/authorize")
    assert (missing.status_code, missing.json()) == (404, PHOENIX)


@pytest.mark.parametrize(
    ("layout", "served", "missing"),
    [
        ("ai", "/api/ai/models", "/api/evaluations/models"),
        ("classic", "/api/evaluations/models", "/api/ai/models"),
    ],
)
def test_layout_that_is_off_does_not_read_like_a_missing_model(hub, client, layout, served, missing):
    hub.settings.layouts = layout
    assert client.get(served).status_code == 200
    for path in (missing, f"{missing}/z-image-turbo", f"{missing}/search?search=z"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (404, PHOENIX)
    assert client.get("/api/ai/queue").status_code == 200


def test_generate_in_a_layout_that_is_off_is_not_billed(hub, generate):
    hub.settings.layouts = "ai"
    answer = generate("/api/images/generate")
    assert (answer.status_code, answer.json()) == (404, PHOENIX)
    assert hub.ledger() == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/api/nowhere"), ("PUT", "/api/ai/models")]
)
def test_path_that_is_not_served_looks_like_the_hubs(client, method, path):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()) == (404, PHOENIX)


def test_every_answer_has_a_request_id(client):
    ids = {client.get("/api/authorize").headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
