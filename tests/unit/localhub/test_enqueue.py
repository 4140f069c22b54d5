from __future__ import annotations

import io
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.jobs import NOT_AN_IMAGE
from tests.unit.localhub.conftest import until

UPSTREAM = "Getting model response error: 500 - upstream"
LOST = (httpx.RemoteProtocolError, httpx.ReadError)


def statuses(hub) -> list[str]:
    return [job["status"] for job in hub.jobs()]


def test_one_job_is_queued_unless_more_are_asked_for(hub, order):
    answer = order()
    assert answer.status_code == 200
    [generation] = answer.json()["generations"]
    assert generation["status"] == "queued"
    assert str(uuid.UUID(generation["generation_id"])) == generation["generation_id"]
    ids = [generation["generation_id"] for generation in order(num_generations=4).json()["generations"]]
    assert len(set(ids)) == 4
    assert [job["generation_id"] for job in hub.jobs()] == [generation["generation_id"], *ids]


@pytest.mark.parametrize("number", [0, 5, True, "2", 1.0])
def test_number_of_generations_is_one_to_four(hub, order, number):
    answer = order(num_generations=number)
    assert answer.status_code == 400
    assert answer.json()["error"]["detail"] == "num_generations must be an integer between 1 and 4"
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"model": None}, 400),
        ({"model": "klein-5b"}, 404),
        ({"prompt": " "}, 400),
        ({"target_namespace": "acme"}, 403),
        ({"model": "local-user-brand-style"}, 400),
    ],
)
def test_what_the_hub_checks_itself_is_refused_at_once(hub, order, parameters, status):
    assert order(**parameters).status_code == status
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_inference_steps": 99}, "num_inference_steps: 99 is greater than the maximum of 50"),
        ({"prompt": "A Forbidden thing"}, "The prompt was flagged by moderation"),
    ],
)
def test_what_the_model_refuses_shows_only_when_the_job_has_failed(hub, enqueue, look, parameters, message):
    hub.settings.latency = 100
    id = enqueue(**parameters)
    assert (look(id)["status"], look(id)["error_message"]) == ("processing", None)
    hub.settings.clock_ahead += 101
    row = look(id)
    assert (row["status"], row["result_url"]) == ("failed", None)
    assert row["error_message"].startswith(f"Getting model response error: 422 - {message}")
    assert (hub.ledger(), hub.settings.credits) == ([], 1000)


def test_either_layout_has_the_queue(hub, order):
    for layout in ("classic", "ai", ()):
        hub.settings.layouts = layout
        assert order().status_code == 200


def test_rate_limit_is_one_for_both_ways_in(hub, order, generate):
    hub.settings.rate_limit = 2
    assert [order().status_code, generate().status_code, order().status_code] == [200, 200, 429]
    assert int(order().headers["retry-after"]) > 0
    assert len(hub.jobs()) == 1


def test_credits_must_reach_for_all_generations_of_the_request(hub, order):
    hub.settings.credits = 0.03
    answer = order(num_generations=4)
    assert answer.status_code == 402
    error = answer.json()["error"]
    assert (error["type"], error["detail"]) == ("insufficient_credits", "You have run out of credits.")
    assert (hub.jobs(), hub.settings.credits) == ([], 0.03)
    assert order(num_generations=3).status_code == 200
    assert hub.settings.credits == 0


def test_many_requests_at_once_are_all_queued_and_paid_once(hub, order):
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(order, seed=seed) for seed in range(16)]
        while not all(answer.done() for answer in answers):
            assert hub.spent() <= 0.16
    assert {answer.result().status_code for answer in answers} == {200}
    assert sorted(paid["seed"] for paid in hub.ledger()) == list(range(16))
    assert (hub.spent(), hub.settings.credits) == (0.16, 999.84)


def test_held_answer_comes_late_for_a_job_that_is_there_at_once(hub, order):
    hub.fail(Fault("hold", on="enqueue", seconds=600))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(order)
        until(lambda: len(hub.jobs()) == 1)
        assert not answer.done()
        hub.close()
        assert answer.result().status_code == 200


@pytest.mark.parametrize("kind", ["not_an_image", "truncated"])
def test_image_is_broken_however_it_is_fetched(hub, enqueue, look, client, kind):
    hub.fail(Fault(kind, on="enqueue"))
    id = enqueue()
    first, second = (client.get(look(id)["result_url"]).content for _ in range(2))
    assert first == second
    assert (first == NOT_AN_IMAGE) is (kind == "not_an_image")
    with pytest.raises(OSError, match=r"cannot identify|truncated|could not|decod"):
        Image.open(io.BytesIO(first)).load()
    assert len(hub.ledger()) == 1


def test_forgotten_job_is_nowhere(hub, order, client):
    hub.fail(Fault("forgotten", on="enqueue"))
    answer = order(num_generations=2)
    assert answer.status_code == 200
    for generation in answer.json()["generations"]:
        assert generation["status"] == "queued"
        id = generation["generation_id"]
        assert client.get(f"/api/ai/queue/{id}").status_code == 404
        assert client.get(f"/api/ai/generations/{id}").status_code == 404
    assert client.get("/api/ai/generations").json()["total_entries"] == 0
    assert (hub.jobs(), hub.ledger(), hub.settings.credits) == ([], [], 1000)


def test_nothing_is_accepted_and_the_answer_is_a_200(hub, order):
    hub.fail(Fault("no_generations", on="enqueue"))
    answer = order()
    assert (answer.status_code, answer.json()) == (200, {"generations": [], "error": {"message": UPSTREAM}})
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)


def test_late_job_comes_into_being_after_the_connection_was_lost(hub, order, client):
    hub.settings.latency = 100
    hub.fail(Fault("late", on="enqueue", seconds=50))
    with pytest.raises(LOST):
        order(num_generations=2)
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)
    hub.settings.clock_ahead += 51
    first, second = client.get("/api/ai/queue").json()["generations"]
    assert (first["status"], second["status"]) == ("processing", "processing")
    assert hub.settings.credits == 999.98
    hub.settings.clock_ahead += 101
    assert statuses(hub) == ["succeeded", "succeeded"]
    assert hub.jobs()[0]["completed_at"] - hub.jobs()[0]["enqueued_at"] == pytest.approx(100)
    assert hub.spent() == 0.02

    # One that can no longer be paid never comes into being.
    hub.fail(Fault("late", on="enqueue", seconds=50))
    with pytest.raises(LOST):
        order()
    hub.settings.credits = 0
    hub.settings.clock_ahead += 51
    assert len(hub.jobs()) == 2


def test_job_tells_one_image_and_costs_as_much_as_all_that_are_made_for_it(hub, enqueue, order):
    enqueue(model="ideogram-v4", num_images=3)
    [paid] = hub.ledger()
    assert (paid["cost"], hub.spent()) == (0.18, 0.18)
    hub.settings.credits = 0.17
    assert order(model="ideogram-v4", num_images=3).status_code == 402
    assert order(model="ideogram-v4", num_images=2).status_code == 200


@pytest.mark.parametrize(
    ("fault", "seen", "message", "credits"),
    [
        ({"kind": "fails"}, ["queued", "processing", "failed"], UPSTREAM, 1000),
        (
            {"kind": "fails", "message": {"detail": "busy"}, "retryable": True},
            ["queued", "processing", "failed"],
            {"detail": "busy"},
            1000,
        ),
        ({"kind": "hangs"}, ["queued", "processing", "processing"], None, 999.99),
        ({"kind": "is_cancelled"}, ["queued", "processing", "cancelled"], None, 1000),
        ({"kind": "without_url"}, ["queued", "processing", "succeeded"], None, 999.99),
    ],
)
def test_job_becomes_what_the_fault_says(hub, enqueue, look, fault, seen, message, credits):
    hub.settings.queue_wait = hub.settings.latency = 100
    hub.fail(Fault(on="enqueue", **fault))
    id = enqueue()
    rows = []
    for _ in range(3):
        rows.append(look(id))
        hub.settings.clock_ahead += 101
    assert [row["status"] for row in rows] == seen
    assert (rows[2]["result_url"], rows[2]["error_message"]) == (None, message)
    assert rows[2].get("error_retryable") is fault.get("retryable")
    assert hub.settings.credits == credits
    assert len(hub.ledger()) == int(fault["kind"] == "without_url")


def test_job_of_an_odd_status_is_not_over(hub, enqueue, look, client):
    hub.settings.latency = 100
    hub.fail(Fault("odd_status", on="enqueue", message="warming_up"))
    id = enqueue()
    for query, wanted in (("", [id]), ("?status=warming_up", [id]), ("?status=processing", [])):
        rows = client.get(f"/api/ai/queue{query}").json()["generations"]
        assert [row["generation_id"] for row in rows] == wanted
    hub.settings.clock_ahead += 101
    assert look(id)["status"] == "succeeded"


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("kind", ["status", "drop_before"])
def test_trouble_may_come_before_or_after_the_jobs_were_accepted(hub, order, kind, billed):
    hub.fail(Fault(kind, on="enqueue", status=504, shape="html", billed=billed))
    if kind == "status":
        assert order().status_code == 504
    else:
        with pytest.raises(LOST):
            order()
    assert len(hub.jobs()) == len(hub.ledger()) == int(billed)


def test_each_image_of_a_request_is_there_after_looks_of_its_own(hub, order, client):
    hub.fail(Fault("not_yet", on="enqueue", clothes="missing", looks=1))
    order(num_generations=2)
    rows = client.get("/api/ai/queue?status=succeeded").json()["generations"]
    for row in rows:
        assert [client.get(row["result_url"]).status_code for _ in range(2)] == [404, 200]
    assert len(rows) == 2
