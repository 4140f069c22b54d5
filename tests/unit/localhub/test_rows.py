from __future__ import annotations

import json

import pytest

from airflow_provider_oxen.localhub.job import Fate, Job
from airflow_provider_oxen.localhub.ledger import Billed
from airflow_provider_oxen.localhub.picture import Picture
from airflow_provider_oxen.localhub.rows import row, usd

PICTURE = Picture("z-image-turbo", "A red cube", 42, 0, 64, 48, "PNG", 80)


def job(fate: Fate | None = None, **parameters) -> Job:
    body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
    return Job(body, Billed(1000.0, 0.014, "acme", PICTURE, body, "queue"), 1000.9, fate=fate or Fate())


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
    odd = {"status": "succeeded", "result_url": "x", "cost": "0", "generation_id": "x", "model_name": "x"}
    told = read(job(**odd), "model")
    assert (told["status"], told["result_url"], told["model"]) == ("queued", None, "z-image-turbo")
    assert not {"cost", "model_name"} & set(told)


def test_result_may_be_kept_back():
    ordered = job(Fate(with_url=False))
    ordered.end("succeeded", 1002.0)
    assert (read(ordered)["status"], read(ordered)["result_url"]) == ("succeeded", None)


def test_history_adds_the_cost_as_a_decimal_string():
    ordered = job()
    assert read(ordered, with_cost=True)["cost"] is None
    ordered.end("succeeded", 1002.0)
    assert read(ordered, with_cost=True)["cost"] == "0.014"
    assert "cost" not in read(ordered)


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
    text = ordered.told[1]
    row(ordered, "model_name", str, with_cost=True)
    assert ordered.told[1] is text
    ordered.start(1001.0)
    assert read(ordered)["status"] == "processing"
