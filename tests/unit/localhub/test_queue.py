from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from airflow_provider_oxen.localhub.jobs import Charge, Job, PlannedOutcome
from airflow_provider_oxen.localhub.pictures import Picture
from airflow_provider_oxen.localhub.queue import row, usd


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
def test_everything_about_jobs_needs_the_key_and_a_job(stranger, client, method, path):
    assert stranger.request(method, path).status_code == 401
    answer = client.request(method, path)
    assert answer.status_code == (404 if path.endswith("/x") else 200)
    assert answer.status_code == 200 or answer.json()["error"]["type"] == "resource_not_found"


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


def test_lists_can_be_of_what_goes_into_one_place(client, enqueue):
    one = enqueue(target_repo="art", target_directory="cubes")
    other = enqueue(target_repo="art")
    enqueue()
    for path in ("/api/ai/queue?status=succeeded&", "/api/ai/generations?"):
        for query, wanted in (
            ("repo=art", {one, other}),
            ("repo=art&folder=cubes", {one}),
            ("repo=x", set()),
        ):
            rows = client.get(f"{path}{query}").json()["generations"]
            assert {row["generation_id"] for row in rows} == wanted


PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)


def job(outcome: PlannedOutcome | None = None, **parameters) -> Job:
    body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
    charge = Charge(1000.0, 0.014, "acme", PICTURE, body, "queue")
    return Job(body, charge, 1000.9, outcome=outcome or PlannedOutcome())


def read(job: Job, model_key: str = "model_name", **options) -> dict:
    return json.loads(row(job, model_key, lambda job: f"https://hub/{job.id}", **options))


def test_row_tells_the_contracts_fields_and_echoes_the_parameters():
    ordered = job(seed=None, image_size={"width": 8}, target_repo="pictures", num_generations=2)
    waiting = {
        "generation_id": ordered.id,
        "model_name": "z-image-turbo",
        "prompt": "A red cube",
        "media_type": "image",
        "status": "queued",
        "result_url": None,
        "error_message": None,
        "enqueued_at": 1000,
        "started_at": None,
        "completed_at": None,
        "seed": None,
        "image_size": {"width": 8},
        "target_repo": "pictures",
    }
    assert read(ordered) == waiting
    ordered.start(1001.9)
    assert read(ordered) == {**waiting, "status": "processing", "started_at": 1001}
    ordered.end("succeeded", 1002.9)
    assert read(ordered) == {
        **waiting,
        "status": "succeeded",
        "result_url": f"https://hub/{ordered.id}",
        "started_at": 1001,
        "completed_at": 1002,
    }


def test_parameter_cannot_pass_for_one_of_the_rows_own_fields():
    odd: dict[str, Any] = {
        "status": "succeeded",
        "result_url": "x",
        "cost": "0",
        "generation_id": "x",
        "model_name": "x",
    }
    told = read(job(**odd), "model")
    assert (told["status"], told["result_url"], told["model"]) == ("queued", None, "z-image-turbo")
    assert not {"cost", "model_name"} & set(told)


@pytest.mark.parametrize(
    ("amount", "text"), [(None, None), (0, "0"), (0.01, "0.01"), (0.1 + 0.2, "0.3"), (10.0, "10")]
)
def test_money_is_told_without_the_dust_of_floats(amount, text):
    assert usd(amount) == text


def test_row_is_of_one_piece_though_another_thread_moves_the_job_on():
    ordered = job()
    ordered.end("succeeded", 1002.0)

    def sign(_: Job) -> str:
        ordered.end("cancelled", 1003.0)
        return "https://hub"

    told = json.loads(row(ordered, "model", sign, with_cost=True))
    assert (told["status"], told["result_url"], told["cost"]) == ("succeeded", "https://hub", "0.014")
    assert read(ordered)["status"] == "cancelled"


def test_what_does_not_change_is_written_once_for_each_status():
    ordered = job()
    row(ordered, "model", str)
    written = ordered.row_text
    assert written is not None
    row(ordered, "model_name", str, with_cost=True)
    assert ordered.row_text is not None
    assert ordered.row_text[1] is written[1]
    ordered.start(1001.0)
    assert read(ordered)["status"] == "processing"


def test_row_has_what_is_set(hub, client, enqueue, look):
    hub.settings.row_keys = "model"
    id = enqueue()
    row = look(id)
    assert (row["model"], "model_name" in row, "cost" in row) == ("z-image-turbo", False, False)
    wrapped = client.get(f"/api/ai/generations/{id}").json()
    assert (wrapped["status"], wrapped["status_message"]) == ("success", "resource_found")
    assert (wrapped["generation"]["generation_id"], wrapped["generation"]["cost"]) == (id, "0.01")
    hub.settings.history_detail = "bare"
    assert client.get(f"/api/ai/generations/{id}").json() == wrapped["generation"]


@pytest.mark.parametrize("anew", [False, True])
def test_row_keeps_its_link_after_it_expired_or_has_a_new_one_each_time(hub, enqueue, look, stranger, anew):
    hub.settings.update({"sign_anew": anew, "url_ttl": 6000})
    id = enqueue()
    links = []
    for _ in range(3):
        links.append(look(id)["result_url"])
        assert stranger.get(links[0]).status_code == (200 if len(links) < 3 else 403)
        hub.settings.clock_ahead += 5000
    assert len(set(links)) == (3 if anew else 1)
    assert stranger.get(look(id)["result_url"]).status_code == (200 if anew else 403)
