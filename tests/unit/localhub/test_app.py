from __future__ import annotations

import email.utils
from datetime import UTC

import pytest

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.localhub import LocalHub

CUSTOM = "local-user-brand-style"
BODY = {"model": "z-image-turbo", "prompt": "A red cube"}
PHOENIX = {"errors": {"detail": "Not Found"}}


def test_catalogue_has_a_shape_for_each_layout_and_needs_no_key(hub, stranger):
    ids = [entry["id"] for entry in hub.settings.catalogue]
    classic = stranger.get("/api/evaluations/models").json()
    ai = stranger.get("/api/ai/models").json()
    assert [model["name"] for model in classic["models"]] == ids
    assert set(ai) == {"object", "data"}
    assert ai["object"] == "list"
    assert [model["id"] for model in ai["data"]] == ids
    one = (stranger.get(f"/api/{layout}/{CUSTOM}").json() for layout in ("evaluations/models", "ai/models"))
    for detail, listed in zip(one, (classic["models"], ai["data"]), strict=True):
        assert detail in listed
    assert "pricing" not in classic["models"][0]
    assert not any({"can_run_inference", "deprecated"} & set(model) for model in ai["data"])


def test_search_finds_in_either_layout(stranger):
    classic = stranger.get("/api/evaluations/models/search", params={"search": "KLEIN"}).json()
    ai = stranger.get("/api/ai/models/search", params={"search": "klein"}).json()
    assert [model["name"] for model in classic["models"]] == ["black-forest-labs-flux-2-klein-4b"]
    assert [model["id"] for model in ai["data"]] == ["black-forest-labs-flux-2-klein-4b"]


@pytest.mark.parametrize("base", ["/api/evaluations/models", "/api/ai/models"])
def test_unknown_model_is_told_by_name(stranger, base):
    answer = stranger.get(f"{base}/some/model")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "Model not found: some/model"}}


def test_catalogue_can_be_replaced(hub, stranger, generate):
    hub.settings.catalogue = [{"id": "mine"}]
    told = {"id": "mine", "object": "model", "created": 1, "owned_by": "oxen"}
    assert stranger.get("/api/ai/models").json()["data"] == [told]
    assert stranger.get("/api/evaluations/models").json()["models"][0]["display_name"] == "mine"
    assert generate(model="mine").status_code == 200
    assert generate().status_code == 404


def test_authorize_tells_whose_key_it_is(hub, client, stranger):
    assert client.get("/api/authorize").json() == {
        "user": {"name": "local-user", "email": "local-user@example.com"}
    }
    refused = stranger.get("/api/authorize")
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "unauthenticated")
    assert client.get("/api/users/me").json() == {
        "user": {"username": "local-user", "email": "local-user@example.com"}
    }
    hub.settings.authorize = hub.settings.users_me = False
    for path in ("/api/users/me", "/api/authorize"):
        missing = client.get(path)
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
    other = "/api/images/generate" if layout == "ai" else "/api/ai/images/generate"
    assert client.post(other, json=BODY).json() == PHOENIX
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


def test_custom_model_is_activated_and_deactivated(hub, client, stranger, generate):
    path = f"/api/ai/models/{CUSTOM}"
    assert generate(model=CUSTOM).status_code == 400
    for step, status, answered in (("activate", "active", 200), ("deactivate", "inactive", 400)):
        told = client.post(f"{path}/{step}")
        assert (told.status_code, told.json()["deployments"]) == (200, [{"status": status}])
        assert stranger.get(path).json() == told.json()
        classic = stranger.get(f"/api/evaluations/models/{CUSTOM}").json()
        assert classic["can_run_inference"] is (status == "active")
        assert generate(model=CUSTOM).status_code == answered
    assert stranger.post(f"{path}/activate").status_code == 401
    assert client.post("/api/ai/models/no/such/activate").status_code == 404
    assert client.post("/api/ai/models/z-image-turbo/activate").status_code == 400
    hub.settings.layouts = "classic"
    assert client.post(f"{path}/activate").json() == PHOENIX


def test_list_can_be_of_one_developers_models(stranger):
    listed = stranger.get("/api/ai/models", params={"developer_name": "Google"}).json()["data"]
    assert [model["id"] for model in listed] == ["google-veo-3-1-fast"]


PATHS = [
    "/api/ai/models",
    "/api/evaluations/models",
    "/api/ai/queue",
    "/api/ai/queue/some",
    "/api/ai/generations",
    "/api/ai/images/generate",
    "/api/events",
    "/api/authorize",
    "/api/repos/local-user/generated/files/some/image.png",
    "/ai/models/z-image-turbo",
    "/_local",
    "/_local/ledger",
    "/no/such/route",
]


OLD = [
    "oxen",
    "Oxen/0.35.9",
    "airflow-provider-oxen/0.1.0",
    "my-OXEN-client/unknown",
    "airflow-provider-oxen",
    "oxen/",
    "oxen/v0.9",
]


@pytest.mark.parametrize(
    ("agent", "path"), [*zip(OLD, PATHS, strict=False), *(("oxen", path) for path in PATHS)]
)
def test_old_tool_is_told_to_update(client, agent, path):
    answer = client.get(path, headers={"User-Agent": agent})

    assert answer.status_code == 426
    assert answer.json() == {
        "error": {
            "type": "update_required",
            "title": "Update Required",
            "detail": "Your oxen version is too old. Update to 0.36.0 or newer.",
        },
        "status": "error",
        "status_message": "update_required",
    }


@pytest.mark.parametrize("agent", ["oxen/0.36.0", "Oxen/1.0", "oxen/v0.37", "oxen/2", "curl/8", ""])
def test_newer_tool_and_anybody_else_is_served(client, agent):
    assert client.get("/api/ai/queue", headers={"User-Agent": agent}).status_code == 200


def test_what_an_old_tool_asks_for_is_not_billed(hub, client):
    body = {"model": "z-image-turbo", "prompt": "A red cube"}
    for path in ("/api/ai/queue", "/api/images/generate", "/api/ai/images/generate"):
        assert client.post(path, json=body, headers={"User-Agent": "oxen/0.1"}).status_code == 426

    assert (hub.ledger(), hub.jobs()) == ([], [])
    assert [seen["status"] for seen in hub.requests()] == [426] * 3


def test_this_package_is_not_taken_for_one(hub):
    with Client(Settings(hub.url, hub.key)) as ours:
        assert ours.http.get("/api/ai/queue", headers={"Authorization": f"Bearer {hub.key}"}).is_success


def test_date_is_by_the_hubs_clock(hub, client):
    hub.settings.clock_ahead = 86400 * 30

    told = email.utils.parsedate_to_datetime(client.get("/api/ai/models").headers["date"])
    here = email.utils.localtime().astimezone(UTC)

    assert 29 < (told - here).total_seconds() / 86400 < 31


def test_answers_about_images_and_jobs_come_in_other_words(hub, client):
    seen = []

    def change(route, body):
        seen.append(route)
        return {"data": body}

    hub.rewrite_answers(change)
    [job] = client.post("/api/ai/queue", json=BODY).json()["data"]["generations"]
    path = job["generation_id"]
    assert client.get(f"/api/ai/queue/{path}").json()["data"]["status"] == "succeeded"
    assert client.get("/api/ai/queue").json()["data"]["generations"] == []
    assert client.get("/api/ai/generations").json()["data"]["count"] == 1
    assert client.get(f"/api/ai/generations/{path}").json()["data"]["generation"]["cost"] == "0.01"
    assert client.post("/api/images/generate", json=BODY).json()["data"]["images"]
    assert "data" not in client.post("/api/images/generate", json={}).json(), "an error is told as ever"
    assert seen == ["enqueue", "job", "queue", "history", "record", "generate"]

    hub.rewrite_answers(lambda route, body: b"\xff\xd8")
    assert client.post("/api/images/generate", json=BODY).content == b"\xff\xd8"

    hub.reset()
    assert client.post("/api/images/generate", json=BODY).json()["images"]


def test_older_names_of_methods_are_accepted():
    assert LocalHub.mend is LocalHub.clear_faults
    assert LocalHub.dress is LocalHub.rewrite_answers
