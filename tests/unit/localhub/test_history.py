from __future__ import annotations

import pytest


def test_history_tells_every_job_with_its_cost_newest_first(hub, client, enqueue):
    hub.settings.latency = 100
    paid = enqueue(model="qwen-image", seed=7)
    failed = enqueue(prompt="Forbidden")
    hub.settings.clock_ahead += 101
    running = enqueue()
    answer = client.get("/api/ai/generations").json()
    rows = answer.pop("generations")
    assert [(row["generation_id"], row["status"]) for row in rows] == [
        (running, "processing"),
        (failed, "failed"),
        (paid, "succeeded"),
    ]
    [entry] = hub.ledger()
    assert [row["cost"] for row in rows] == [None, None, f"{entry['cost']:g}"]
    assert rows[2]["seed"] == 7
    assert client.get(rows[2]["result_url"]).status_code == 200
    assert answer == {
        "count": 3,
        "page_number": 1,
        "page_size": 50,
        "total_pages": 1,
        "total_entries": 3,
        "total_cost": f"{entry['cost']:g}",
    }
    only = client.get("/api/ai/generations", params={"status": "failed"}).json()
    assert [row["generation_id"] for row in only["generations"]] == [failed]
    assert (only["total_entries"], only["total_cost"]) == (1, None)


def test_history_comes_in_pages(client, order):
    ids = [
        generation["generation_id"]
        for _ in range(2)
        for generation in order(num_generations=4).json()["generations"]
    ]
    pages = [client.get(f"/api/ai/generations?page={page}&page_size=3").json() for page in (1, 2, 3, 4)]
    assert [page["count"] for page in pages] == [3, 3, 2, 0]
    assert {(page["total_pages"], page["total_entries"], page["total_cost"]) for page in pages} == {
        (3, 8, "0.08")
    }
    told = [row["generation_id"] for page in pages for row in page["generations"]]
    assert told == ids[::-1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("page_size=0", "page_size must be an integer between 1 and 1000"),
        ("page_size=1001", "page_size must be an integer between 1 and 1000"),
        ("page_size=many", "page_size must be an integer between 1 and 1000"),
        ("page=0", "page must be an integer of at least 1"),
        ("page=-1", "page must be an integer of at least 1"),
        ("page=%C2%B2", "page must be an integer of at least 1"),
        (f"page={'9' * 5000}", "page must be an integer of at least 1"),
    ],
)
def test_page_that_cannot_be_is_refused(client, query, message):
    answer = client.get(f"/api/ai/generations?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["detail"] == message


def test_synchronous_calls_are_shown_if_it_is_set(hub, client, enqueue, generate):
    first = enqueue()
    hub.settings.clock_ahead += 5
    generate(model="ideogram-v4", seed=7, num_images=2)
    hub.settings.clock_ahead += 5
    last = enqueue()
    assert client.get("/api/ai/generations").json()["total_entries"] == 2

    hub.settings.history_shows_generate = True
    answer = client.get("/api/ai/generations").json()
    rows = answer["generations"]
    assert (answer["total_entries"], answer["total_cost"]) == (4, "0.14")
    assert (rows[0]["generation_id"], rows[3]["generation_id"]) == (last, first)
    call = rows[1]
    assert (call["status"], call["cost"], call["seed"], call["prompt"]) == (
        "succeeded",
        "0.06",
        7,
        "A red cube",
    )
    assert client.get(call["result_url"]).status_code == 200
    assert client.get(f"/api/ai/generations/{call['generation_id']}").json()["generation"]["cost"] == "0.06"
    # In the history, but never in the queue.
    assert client.get(f"/api/ai/queue/{call['generation_id']}").status_code == 404
    assert len(hub.jobs()) == 2
    assert hub.calls()[1]["generation_id"] == call["generation_id"]
    hub.settings.history_shows_generate = False
    assert client.get(f"/api/ai/generations/{call['generation_id']}").status_code == 404
