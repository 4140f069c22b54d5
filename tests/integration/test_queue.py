"""The queue on real Airflow: polled by the worker, and waited for in the triggerer."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.operators.images import ImageGenerateOperator

from .conftest import START

AIRFLOW_2 = airflow.__version__.startswith("2.")
KLEIN = "black-forest-labs-flux-2-klein-4b"
REQUEST: dict[str, Any] = {
    "prompt": "A red cube",
    "model": KLEIN,
    "lookup_grace": 0.2,
    "poll_interval": 0.05,
}

both = pytest.mark.parametrize(
    "mode", [{"use_queue": True}, {"deferrable": True}], ids=["polled", "deferred"]
)


def dag_of(dag_id: str = "queued", **arguments: Any) -> DAG:
    soon = {"retry_delay": timedelta(milliseconds=10)}
    with DAG(dag_id, schedule=None, start_date=START, default_args=soon) as dag:
        ImageGenerateOperator(task_id="hero", **{**REQUEST, **arguments})
    return dag


@both
def test_an_image_of_the_queue_is_kept_with_its_cost(connected, run_dag, tmp_path, mode):
    connected.settings.latency = 0.3

    run = run_dag(dag_of(storage_path=f"{tmp_path}/", **mode))

    assert run.state == "success"
    result = run.xcom("hero")
    [image] = result["images"]
    [paid] = connected.ledger()
    assert hashlib.sha256(Path(image["path"]).read_bytes()).hexdigest() == image["sha256"] == paid["sha256"]
    assert result["generation_id"] == paid["generation_id"]
    assert result["cost"] == paid["cost"]
    assert result["seed"] == paid["request"]["seed"]
    assert len(list(tmp_path.iterdir())) == 2


@both
def test_a_lost_answer_is_found_and_paid_once(connected, run_dag, tmp_path, mode):
    connected.fail(Fault("drop_after", on="enqueue"))

    run = run_dag(dag_of(storage_path=f"{tmp_path}/", **mode))

    assert run.state == "success"
    assert run.ti("hero").try_number == 1
    assert len(connected.jobs()) == len(connected.ledger()) == 1
    assert run.xcom("hero")["generation_id"] == connected.ledger()[0]["generation_id"]


@both
def test_a_request_that_never_arrived_is_sent_again(connected, run_dag, tmp_path, mode):
    connected.fail(Fault("drop_before", on="enqueue"))

    run = run_dag(dag_of(storage_path=f"{tmp_path}/", **mode))

    assert run.state == "success"
    assert len(connected.jobs()) == len(connected.ledger()) == 1


@both
def test_a_failed_job_is_told_and_the_next_try_submits_another(connected, run_dag, tmp_path, mode):
    connected.fail(Fault("fails", on="enqueue", message="upstream 500"))

    run = run_dag(dag_of(retries=1, storage_path=f"{tmp_path}/", **mode))

    assert run.state == "success"
    assert run.ti("hero").try_number == 2
    assert [job["status"] for job in connected.jobs()] == ["failed", "succeeded"]
    assert "failed: upstream 500" in run.log
    assert len(list(tmp_path.iterdir())) == 2


@both
def test_a_job_that_would_fail_again_fails_the_task_without_a_retry(connected, run_dag, tmp_path, mode):
    run = run_dag(dag_of(retries=2, storage_path=f"{tmp_path}/", prompt="a forbidden thing", **mode))

    assert run.state == "failed"
    assert run.ti("hero").try_number == 1
    assert "Another one would fail in the same way." in run.log
    assert len(connected.jobs()) == 1


@both
def test_a_job_that_takes_too_long_is_taken_by_the_next_try(connected, run_dag, tmp_path, mode):
    connected.settings.latency = 1.0

    # As many as there may be: a try is over in an instant, and the image takes a second.
    run = run_dag(dag_of(retries=100, storage_path=f"{tmp_path}/", timeout=0.2, **mode))

    assert run.state == "success"
    assert run.ti("hero").try_number > 1
    assert "OxenGenerationTimeout" in run.log
    assert len(connected.jobs()) == len(connected.ledger()) == 1


@both
def test_the_generation_can_be_followed(connected, run_dag, tmp_path, mode):
    run = run_dag(dag_of(storage_path=f"{tmp_path}/", **mode))

    assert run.state == "success"
    generation_id = connected.ledger()[0]["generation_id"]
    pulled = {
        key: run.ti("hero").xcom_pull(task_ids="hero", key=key)
        for key in ("generation_id", "generation_link")
    }
    assert pulled == {
        "generation_id": generation_id,
        "generation_link": f"{connected.url}/api/ai/queue/{generation_id}",
    }


@both
def test_mapped_twins_have_an_image_each_although_both_answers_are_lost(connected, run_dag, tmp_path, mode):
    connected.fail(Fault("drop_after", on="enqueue", times=2))
    with DAG("twins", schedule=None, start_date=START) as dag:
        ImageGenerateOperator.partial(
            task_id="twin", storage_path=f"{tmp_path}/", **{**REQUEST, **mode}
        ).expand(model_params=[{}, {}])

    run = run_dag(dag)

    assert run.state == "success"
    results = [run.xcom("twin", index) for index in (0, 1)]
    assert len(connected.jobs()) == 2
    assert {result["generation_id"] for result in results} == {
        job["generation_id"] for job in connected.jobs()
    }
    assert len({result["seed"] for result in results}) == 2


@pytest.mark.skipif(AIRFLOW_2, reason="there dag.test() lets AirflowTaskTimeout out, which is no Exception")
def test_execution_timeout_while_it_waits_is_not_paid_for_again(connected, run_dag, tmp_path):
    connected.settings.latency = 3.0

    run = run_dag(
        dag_of(retries=2, use_queue=True, execution_timeout=timedelta(seconds=2), storage_path=f"{tmp_path}/")
    )

    assert run.state == "success"
    assert run.ti("hero").try_number == 2
    assert "AirflowTaskTimeout" in run.log
    assert len(connected.jobs()) == len(connected.ledger()) == 1


@both
def test_the_log_tells_the_story_and_no_secret(connected, run_dag, tmp_path, mode):
    run = run_dag(dag_of(storage_path=f"{tmp_path}/", **mode))

    assert "by the queue. This costs money once it is accepted." in run.log
    assert f"Kept {tmp_path}/" in run.log
    assert connected.key not in run.log
    assert "signature=" not in run.log


@both
def test_arguments_are_rendered(connected, run_dag, tmp_path, mode):
    use = {name: "{{ true }}" if name == "use_queue" else value for name, value in mode.items()}
    run = run_dag(
        dag_of(
            **use,
            storage_path=f"{tmp_path}/",
            max_cost="{{ 0.5 }}",
            timeout="{{ 30 }}",
            on_unknown_outcome="{{ 'adopt' }}",
            cancel_on_kill="{{ false }}",
            target_repo="{{ none }}",
        )
    )

    assert run.state == "success"
    assert len(connected.ledger()) == 1


def test_deferring_without_the_queue_is_refused(connected, run_dag):
    run = run_dag(dag_of(retries=2, deferrable=True, use_queue=False))

    assert run.state == "failed"
    assert "deferrable=True needs the queue" in run.log
    assert connected.requests() == []
