from __future__ import annotations

import io
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.ledger import NOT_AN_IMAGE

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


def test_generations_of_one_request_are_different_images(hub, order):
    order(num_generations=2, seed=7)
    first, second = hub.ledger()
    assert first["seed"] == second["seed"] == 7
    assert first["sha256"] != second["sha256"]


REFUSED = {
    "no key": ({}, {"Authorization": ""}, 401, "unauthenticated"),
    "no model": ({"model": None}, {}, 400, "model is missing"),
    "empty prompt": ({"prompt": " "}, {}, 400, "Prompt cannot be empty"),
    "namespace": ({"target_namespace": "acme"}, {}, 403, "You may not use the namespace acme."),
    "no image model": ({"model": "qwen3-8b-instruct"}, {}, 400, "Model does not generate images"),
    "not deployed": ({"model": "local-user-brand-style"}, {}, 400, "Model is not deployed"),
    **{
        f"{number} generations": (
            {"num_generations": number},
            {},
            400,
            "num_generations must be an integer between 1 and 4",
        )
        for number in (0, 5, True, "2", 1.0)
    },
}


@pytest.mark.parametrize(("parameters", "headers", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_what_the_hub_checks_itself_is_refused_at_once(hub, client, parameters, headers, status, text):
    body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
    body = {name: value for name, value in body.items() if value is not None}
    answer = client.post("/api/ai/queue", json=body, headers=headers)
    assert answer.status_code == status
    assert text in answer.json()["error"]["detail"]
    assert (hub.jobs(), hub.settings.credits) == ([], 1000)


def test_unknown_model_is_told_in_the_hubs_words(order):
    answer = order(model="klein-5b")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": {"message": "Model not found: klein-5b"}},
    )


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
        answers = [pool.submit(order, seed=seed) for seed in range(40)]
        while not all(answer.done() for answer in answers):
            assert hub.spent() <= 0.4
    assert {answer.result().status_code for answer in answers} == {200}
    assert sorted(paid["seed"] for paid in hub.ledger()) == list(range(40))
    assert (hub.spent(), hub.settings.credits) == (0.4, 999.6)


@pytest.mark.parametrize("billed", [False, True])
def test_refusal_may_come_before_or_after_the_jobs_were_accepted(hub, order, billed):
    hub.fail(Fault("status", on="enqueue", status=504, shape="html", billed=billed))
    assert order().status_code == 504
    assert len(hub.jobs()) == len(hub.ledger()) == int(billed)


def test_fault_for_one_prompt_leaves_the_others_alone(hub, order):
    hub.fail(Fault("fails", on="enqueue", prompt="fox", times=None))
    for what in ("whale", "fox", "heron"):
        order(prompt=f"A {what}")
    assert statuses(hub) == ["succeeded", "failed", "succeeded"]


@pytest.mark.parametrize(("kind", "jobs"), [("drop_before", 0), ("drop_after", 1)])
def test_connection_is_closed_without_an_answer(hub, order, kind, jobs):
    hub.fail(Fault(kind, on="enqueue"))
    with pytest.raises(LOST):
        order()
    assert len(hub.jobs()) == len(hub.ledger()) == jobs


def test_held_answer_comes_late_for_a_job_that_is_there_at_once(hub, order, client):
    hub.fail(Fault("hold", on="enqueue", seconds=0.05), Fault("hold", on="enqueue", seconds=60))
    answer = order()
    assert answer.elapsed.total_seconds() >= 0.05
    client.timeout = httpx.Timeout(5, read=0.2)
    with pytest.raises(httpx.ReadTimeout):
        order()
    assert len(hub.jobs()) == 2


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


def test_job_fails_as_told(hub, enqueue, look):
    hub.fail(Fault("fails", on="enqueue"), Fault("fails", on="enqueue", message="Insufficient credits"))
    rows = [look(enqueue()), look(enqueue())]
    assert [(row["status"], row["error_message"]) for row in rows] == [
        ("failed", UPSTREAM),
        ("failed", "Insufficient credits"),
    ]
    assert (hub.ledger(), hub.settings.credits) == ([], 1000)


def test_job_hangs_for_ever(hub, enqueue, look):
    hub.fail(Fault("hangs", on="enqueue"))
    id = enqueue()
    hub.settings.clock_ahead += 10**9
    assert look(id)["status"] == "processing"
    assert (hub.ledger(), hub.settings.credits) == ([], 999.99)


def test_job_is_cancelled_by_itself(hub, enqueue, look):
    hub.fail(Fault("is_cancelled", on="enqueue"))
    hub.settings.latency = 100
    id = enqueue()
    assert look(id)["status"] == "processing"
    hub.settings.clock_ahead += 101
    assert look(id)["status"] == "cancelled"
    assert (hub.ledger(), hub.settings.credits) == ([], 1000)


def test_job_succeeds_and_tells_no_result(hub, enqueue, look):
    hub.fail(Fault("without_url", on="enqueue"))
    row = look(enqueue())
    assert (row["status"], row["result_url"]) == ("succeeded", None)
    assert hub.spent() == 0.01


def test_job_tells_a_status_that_nobody_has_heard_of(hub, enqueue, look, client):
    hub.settings.queue_wait = hub.settings.latency = 100
    hub.fail(Fault("odd_status", on="enqueue", message="warming_up"))
    id = enqueue()
    told = []
    for _ in range(3):
        told.append(look(id)["status"])
        hub.settings.clock_ahead += 101
    assert told == ["queued", "warming_up", "succeeded"]


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


def test_late_job_that_can_no_longer_be_paid_never_comes_into_being(hub, order):
    hub.fail(Fault("late", on="enqueue", seconds=50))
    with pytest.raises(LOST):
        order()
    hub.settings.credits = 0
    hub.settings.clock_ahead += 51
    assert hub.jobs() == []
