from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault


def listed(client, path: str = "/api/ai/queue", **query) -> list[str]:
    answer = client.get(path, params=query).json()
    ids = [row["generation_id"] for row in answer["generations"]]
    assert answer["count"] == len(ids)
    return ids


def test_job_goes_its_way_by_the_hubs_clock(hub, enqueue, look, stranger):
    hub.settings.queue_wait, hub.settings.latency = 50, 100
    id = enqueue(seed=7, output_format="png")
    row = look(id)
    assert (row["status"], row["started_at"], row["result_url"]) == ("queued", None, None)
    hub.settings.clock_ahead += 51
    assert look(id)["status"] == "processing"
    assert look(id)["started_at"] - row["enqueued_at"] in (50, 51)
    hub.settings.clock_ahead += 101
    row = look(id)
    assert (row["status"], row["seed"], row["output_format"]) == ("succeeded", 7, "png")
    assert row["completed_at"] - row["started_at"] in (100, 101)
    assert Image.open(io.BytesIO(stranger.get(row["result_url"]).content)).format == "PNG"


def test_settings_of_the_time_of_the_order_hold_for_the_job(hub, enqueue, look):
    hub.settings.latency = 100
    id = enqueue()
    hub.settings.latency = 0
    assert look(id)["status"] == "processing"
    assert look(enqueue())["status"] == "succeeded"


def test_result_is_signed_anew_on_each_look(hub, enqueue, look, stranger):
    hub.settings.url_ttl = 60
    id = enqueue()
    old = look(id)["result_url"]
    hub.settings.clock_ahead += 61
    assert stranger.get(old).status_code == 403
    assert stranger.get(look(id)["result_url"]).status_code == 200


def test_unknown_id_is_a_404_that_says_so(client):
    for method, path in (
        ("GET", "/api/ai/queue/x"),
        ("DELETE", "/api/ai/queue/x"),
        ("GET", "/api/ai/generations/x"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "resource_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/ai/queue"),
        ("GET", "/api/ai/queue/x"),
        ("DELETE", "/api/ai/queue/x"),
        ("GET", "/api/ai/generations"),
        ("GET", "/api/ai/generations/x"),
    ],
)
def test_everything_about_jobs_needs_the_key(stranger, method, path):
    assert stranger.request(method, path).status_code == 401


def test_older_servers_call_the_model_otherwise(hub, enqueue, look):
    hub.settings.row_keys = "model"
    row = look(enqueue())
    assert (row["model"], "model_name" in row) == ("z-image-turbo", False)


def test_queue_lists_what_is_not_over(hub, client, enqueue):
    assert client.get("/api/ai/queue").json() == {"count": 0, "generations": []}
    done = enqueue()
    hub.settings.latency, hub.settings.workers = 100, 1
    running, waiting = enqueue(), enqueue()
    assert listed(client) == [running, waiting]
    assert listed(client, status="processing") == [running]
    assert listed(client, status="queued") == [waiting]
    assert listed(client, status="succeeded") == [done]
    assert listed(client, status="asleep") == []


def test_job_of_an_odd_status_is_not_over(hub, client, enqueue):
    hub.settings.latency = 100
    hub.fail(Fault("odd_status", on="enqueue", message="warming_up"))
    id = enqueue()
    assert listed(client) == listed(client, status="warming_up") == [id]
    assert listed(client, status="processing") == []


@pytest.mark.parametrize("path", ["/api/ai/queue", "/api/ai/generations"])
def test_lists_are_filtered(hub, client, enqueue, path):
    hub.settings.latency = 100
    mine, other = enqueue(), enqueue(model="qwen-image")
    shared = enqueue(target_namespace="local-org")
    assert sorted(listed(client, path)) == sorted([mine, other])
    assert listed(client, path, namespace="local-org") == [shared]
    assert listed(client, path, model="qwen-image", media_type="image", namespace="") == [other]
    assert listed(client, path, media_type="video") == []
    assert client.get(path, params={"namespace": "acme"}).status_code == 403


def test_workers_bound_what_is_made_at_once(hub, order, client):
    hub.settings.latency, hub.settings.workers = 100, 3
    order(num_generations=4)
    assert [job["status"] for job in hub.jobs()] == ["processing"] * 3 + ["queued"]
    hub.settings.clock_ahead += 101
    assert [job["status"] for job in hub.jobs()] == ["succeeded"] * 3 + ["processing"]


def test_cancelled_job_stays_to_be_seen_and_costs_nothing(hub, client, enqueue, look):
    hub.settings.latency = 100
    id = enqueue()
    answer = client.delete(f"/api/ai/queue/{id}")
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "generation_id": id})
    row = look(id)
    assert (row["status"], row["result_url"], row["error_message"]) == ("cancelled", None, None)
    assert row["completed_at"] >= row["started_at"]
    assert (hub.ledger(), hub.settings.credits) == ([], 1000)
    hub.settings.clock_ahead += 101
    assert look(id)["status"] == "cancelled"
    assert listed(client) == []


@pytest.mark.parametrize(("setting", "status"), [("error", 400), ("ignore", 200)])
def test_cancelling_what_is_over_has_no_effect(hub, client, enqueue, look, setting, status):
    hub.settings.cancel_ended = setting
    id = enqueue()
    answer = client.delete(f"/api/ai/queue/{id}")
    assert answer.status_code == status
    assert (answer.json().get("error") or {}).get("detail") == ("already finished" if status == 400 else None)
    assert look(id)["status"] == "succeeded"
    assert hub.spent() == 0.01


def test_jobs_appear_after_a_while(hub, client, enqueue):
    hub.settings.latency, hub.settings.list_delay, hub.settings.detail_delay = 1000, 20, 40
    id = enqueue()
    told = []
    for _ in range(3):
        lists = [listed(client, path) for path in ("/api/ai/queue", "/api/ai/generations")]
        details = [client.get(f"/api/ai/{route}/{id}").status_code for route in ("queue", "generations")]
        told.append((lists, details))
        hub.settings.clock_ahead += 21
    assert told == [([[], []], [404, 404]), ([[id], [id]], [404, 404]), ([[id], [id]], [200, 200])]
    assert len(hub.jobs()) == 1


def test_poll_can_fail_for_a_while(hub, enqueue, client):
    id = enqueue()
    hub.fail(Fault("status", on="job", status=404, after=1, times=2))
    assert [client.get(f"/api/ai/queue/{id}").status_code for _ in range(4)] == [200, 404, 404, 200]


def test_rows_persist_and_reset_forgets_them(hub, enqueue, client):
    id = enqueue()
    hub.settings.clock_ahead += 10**7
    assert client.get(f"/api/ai/queue/{id}").status_code == 200
    hub.settings.latency = 100
    enqueue(prompt="Forbidden")
    hub.reset()
    hub.settings.clock_ahead += 10**7
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)
    assert client.get(f"/api/ai/queue/{id}").status_code == 404
