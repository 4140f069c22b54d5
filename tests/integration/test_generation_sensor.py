"""The sensor of a generation on real Airflow, against a hub over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor

from .conftest import START


@pytest.fixture
def order(hub) -> Callable[..., str]:
    """Put a job into the queue and return its id."""

    def order(**parameters: Any) -> str:
        request = GenerateRequest(model="z-image-turbo", prompt="A red cube", seed=42, **parameters)
        with Client(Settings(base_url=hub.url, api_key=hub.key)) as client:
            return client.send(queue.enqueue(request))[0].generation_id

    return order


@pytest.fixture(params=["poke", "reschedule", "deferrable"])
def way(request) -> dict[str, Any]:
    """How the sensor waits."""
    return {"deferrable": True} if request.param == "deferrable" else {"mode": request.param}


@pytest.fixture
def ends_after(hub) -> Iterator[Callable[..., None]]:
    """Let all jobs end as soon as a path was asked for so often."""
    over = threading.Event()
    threads = []

    def ends_after(times: int, path: str) -> None:
        def watch() -> None:
            while not over.wait(0.005):
                if gets(hub).count(path) >= times:
                    hub.settings.clock_ahead += 7200
                    return

        threads.append(threading.Thread(target=watch))
        threads[-1].start()

    yield ends_after
    over.set()
    for thread in threads:
        thread.join()


def dag_of(generation_id: Any, **arguments: Any) -> DAG:
    with DAG("sensing", schedule=None, start_date=START) as dag:
        OxenGenerationSensor(
            task_id="done", generation_id=generation_id, **{"poke_interval": 0.05, "timeout": 30, **arguments}
        )
    return dag


LIST = "/api/ai/queue"


def row_of(generation_id: str) -> str:
    return f"{LIST}/{generation_id}"


def gets(hub: Any) -> list[str]:
    return [seen["path"] for seen in hub.requests() if seen["method"] == "GET"]


def test_facts_of_a_finished_generation_are_returned(connected, run_dag, order, way):
    id = order()

    run = run_dag(dag_of(id, **way))

    assert run.state == "success"
    [job] = connected.jobs()
    facts = run.xcom("done")
    assert facts == {
        "generation_id": id,
        "status": "succeeded",
        "model": "z-image-turbo",
        "seed": 42,
        "completed_at": int(job["completed_at"]),
        "cost": job["cost"],
    }
    assert "http" not in json.dumps(facts)
    assert "X-Signature" not in run.log
    assert connected.key not in run.log


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_generation_that_goes_on_is_waited_for(connected, run_dag, order, ends_after, mode):
    connected.settings.latency = 3600
    id = order()
    ends_after(2, row_of(id))

    run = run_dag(dag_of(id, mode=mode))

    assert run.state == "success"
    assert f"Generation {id} is processing." in run.log
    assert LIST not in gets(connected)


def test_generation_that_goes_on_is_left_to_the_trigger(connected, run_dag, order, ends_after):
    connected.settings.latency = 3600
    id = order()
    ends_after(2, LIST)

    run = run_dag(dag_of(id, deferrable=True))

    assert run.state == "success"
    assert run.xcom("done")["generation_id"] == id
    # The worker before and after, and between them the trigger, when the job had left the list.
    assert gets(connected).count(row_of(id)) == 3


def test_default_deferrable_decides(connected, run_dag, order, ends_after, monkeypatch):
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    connected.settings.latency = 3600
    dag = dag_of(order())
    ends_after(1, LIST)

    assert run_dag(dag).state == "success"
    assert LIST in gets(connected)


def test_job_of_another_namespace_is_watched_in_its_queue(connected, run_dag, order, ends_after):
    connected.settings.latency = 3600
    ends_after(2, LIST)
    id = order(target_namespace="local-org")

    run = run_dag(dag_of(id, deferrable=True, target_namespace="local-org"))

    assert run.state == "success"
    # In the right list, a job that goes on is not asked for.
    assert gets(connected).count(row_of(id)) == 3


@pytest.fixture
def ordered(connected, order, way, ends_after) -> Callable[[], str]:
    """Order a job that ends while the sensor waits, in the way it waits."""

    def ordered() -> str:
        connected.settings.latency = 3600
        id = order()
        ends_after(1, LIST if "deferrable" in way else row_of(id))
        return id

    return ordered


def test_failed_generation_fails_without_retry(connected, run_dag, ordered, way):
    connected.fail(Fault(on="enqueue", kind="fails", message="fire, see https://f.example/a?X-Signature=s"))
    id = ordered()

    run = run_dag(dag_of(id, retries=2, **way))

    assert run.ti("done").state == "failed"
    assert f"Generation {id} failed: fire, see https://f.example/a." in run.log
    assert "may have been paid for" in run.log
    assert "Not tried again" in run.log
    assert "X-Signature" not in run.log


def test_cancelled_generation_fails_without_retry(connected, run_dag, ordered, way):
    connected.fail(Fault(on="enqueue", kind="is_cancelled"))
    id = ordered()

    run = run_dag(dag_of(id, retries=2, **way))

    assert run.ti("done").state == "failed"
    assert f"Generation {id} was cancelled: the hub gives no reason." in run.log


def test_soft_fail_skips_and_says_why(connected, run_dag, ordered, way):
    connected.fail(Fault(on="enqueue", kind="fails", message="fire"))

    run = run_dag(dag_of(ordered(), soft_fail=True, **way))

    assert run.ti("done").state == "skipped"
    assert "failed: fire." in run.log


def test_unknown_generation_fails_after_some_looks(connected, run_dag, way):
    run = run_dag(dag_of("nobody-knows", retries=2, **way))

    assert run.ti("done").state == "failed"
    assert "OxenGenerationNotFound" in run.log
    assert "Generation not found: nobody-knows" in run.log
    assert gets(connected).count("/api/ai/queue/nobody-knows") == 5


def test_generation_that_is_known_a_moment_later_is_found(connected, run_dag, order, way, ends_after):
    connected.settings.detail_delay = 3600
    id = order()
    ends_after(2, row_of(id))

    assert run_dag(dag_of(id, **way)).state == "success"


def test_result_that_is_written_a_moment_later_is_enough(connected, run_dag, order, way):
    connected.fail(Fault(on="enqueue", kind="without_url"))

    assert run_dag(dag_of(order(), **way)).state == "success"


def test_trouble_that_passes_is_waited_out(connected, run_dag, order):
    connected.fail(Fault(on="job", kind="status", status=500, times=4))

    run = run_dag(dag_of(order()))

    assert run.state == "success"
    assert "Looking again later" in run.log


def test_trigger_that_could_not_ask_is_followed_by_a_look_of_the_worker(
    connected, run_dag, order, ends_after
):
    connected.settings.latency = 3600
    id = order()
    connected.fail(Fault(on="queue", kind="status", status=403))
    ends_after(2, LIST)

    run = run_dag(dag_of(id, deferrable=True))

    assert run.state == "success"
    assert "HTTP 403" in run.log
    # It went on, so it was left to the trigger a second time.
    assert gets(connected).count(row_of(id)) == 4


def test_wrong_key_fails_at_once(hub, connect, run_dag, way):
    connect(hub.url, "a-very-wrong-key")

    run = run_dag(dag_of("8d1f", retries=2, **way))

    assert run.ti("done").state == "failed"
    assert "OxenAuthenticationError" in run.log
    assert "a-very-wrong-key" not in run.log


def test_cost_that_is_not_known_is_left_out(connected, run_dag, order):
    connected.fail(Fault(on="record", kind="status", status=404, times=None))

    run = run_dag(dag_of(order()))

    assert run.state == "success"
    assert "cost" not in run.xcom("done")


@pytest.mark.parametrize("soft_fail", [False, True])
def test_timeout(connected, run_dag, order, way, soft_fail):
    connected.settings.latency = 3600

    run = run_dag(dag_of(order(), timeout=0.2, soft_fail=soft_fail, retries=2, **way))

    assert run.ti("done").state == ("skipped" if soft_fail else "failed")
    assert "Sensor has timed out" in run.log


def test_id_from_a_template(connected, run_dag, order):
    id = order()
    dag = dag_of("{{ params.id }}")
    dag.params["id"] = id

    assert run_dag(dag).xcom("done")["generation_id"] == id


@pytest.mark.parametrize("rendered", ["", "{{ none }}"])
def test_empty_id_is_an_error_before_any_request(connected, run_dag, rendered):
    run = run_dag(dag_of(rendered, retries=2))

    assert run.ti("done").state == "failed"
    assert "generation_id must be a text" in run.log
    assert not connected.requests()
