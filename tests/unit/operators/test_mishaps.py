"""What people and machines do in the middle of it: edits, kills, gateways, files that go missing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.errors import OxenServerError
from airflow_provider_oxen.tasks.effects import WorkerEffects

from .scene import KEY, with_record, with_store

polled = pytest.mark.parametrize("mode", ["polled"])
deferred = pytest.mark.parametrize("mode", ["deferred"])


def sidecar(scene: Any) -> dict[str, Any]:
    return dict(json.loads((scene.out / "cube.json").read_text()))


def place(scene: Any) -> None:
    scene.arguments["storage_path"] = f"{scene.out}/cube"


@deferred
@with_record
def test_job_keeps_the_request_that_it_was_asked_for_whatever_the_dag_says_by_then(scene):
    place(scene)

    def meanwhile(event: Any) -> Any:
        scene.arguments["prompt"] = "A blue ball"
        return event

    scene.meanwhile = meanwhile
    assert scene.play().state == "success"
    scene.meanwhile = lambda event: event

    assert sidecar(scene)["request"]["prompt"] == "A red cube"
    again = scene.clear()
    assert again.state == "failed"
    assert "another request" in again.error or "changed since" in again.error


@deferred
@with_record
def test_what_breaks_while_the_task_is_deferred_hides_no_payment(scene, monkeypatch):
    def meanwhile(event: Any) -> Any:
        fields = {"conn_type": "oxen", "password": KEY, "extra": {"nonsense": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", json.dumps(fields))
        return event

    scene.meanwhile = meanwhile
    tried = scene.once()

    [job] = scene.hub.jobs()
    told = f"Generation {job['generation_id']}, which this task has waited for, may have been paid"
    assert told in tried.error


@polled
@with_record
def test_new_job_is_not_closed_by_the_output_that_it_is_to_replace(scene):
    place(scene)
    scene.play()
    scene.slow()
    scene.max_tries = scene.try_number + scene.retries
    scene.once(overwrite=True, timeout=0.05)
    scene.quick()
    scene.later()

    again = scene.clear(overwrite=False, timeout=60)

    fresh = scene.hub.jobs()[-1]["generation_id"]
    assert again.result["generation_id"] == fresh


@with_record
@pytest.mark.parametrize("mode", ["polled", "synchronous"])
def test_task_that_was_told_to_stop_sends_nothing_any_more(scene, monkeypatch):
    prepare = WorkerEffects.prepare

    async def stopped(self: WorkerEffects, counter: int) -> Any:
        scene.operator.on_kill()
        return await prepare(self, counter)

    monkeypatch.setattr(WorkerEffects, "prepare", stopped)
    tried = scene.once()

    assert scene.sent == 0
    assert "Nothing was spent by this try" in tried.error


@polled
@with_store
def test_image_that_was_deleted_beside_its_sidecar_is_fetched_again(scene):
    place(scene)
    scene.play()
    [image] = [path for path in scene.out.glob("cube.*") if path.suffix != ".json"]
    image.unlink()

    again = scene.clear()

    assert again.state == "success"
    assert image.exists()
    assert scene.paid == 1


@polled
@with_store
def test_job_that_could_not_be_cancelled_is_not_called_cancelled(scene, monkeypatch):
    def broken(generation_id: str) -> Any:
        raise OxenServerError("The hub is broken.")

    scene.slow()
    monkeypatch.setattr(queue, "cancel", broken)

    tried = scene.once(timeout=0.05, cancel_on_timeout=True)

    assert "could not be cancelled: it continues" in tried.error


@deferred
@with_record
def test_worker_looks_itself_where_the_triggerer_could_not(scene):
    scene.retries = scene.max_tries = 0
    scene.meanwhile = lambda event: {**event, "status": "unreachable", "message": "401"}

    played = scene.play()

    assert played.state == "success"
    assert scene.paid == 1


@with_record
@pytest.mark.parametrize("mode", ["polled", "synchronous"])
@pytest.mark.parametrize("said", [{"message": "Service Unavailable"}, {"error": {"message": "overloaded"}}])
def test_503_of_a_request_that_was_taken_is_not_paid_for_twice(scene, hub, connect, monkeypatch, said):
    connect(hub.url, max_retries=2)
    hub.settings.history_shows_generate = True
    send = httpx.Client.send
    lost: list[Any] = []

    def through_a_gateway(self: httpx.Client, request: httpx.Request, **named: Any) -> httpx.Response:
        response = send(self, request, **named)
        if request.method == "POST" and not lost:
            lost.append(response)
            return httpx.Response(503, json=said, request=request)
        return response

    monkeypatch.setattr(httpx.Client, "send", through_a_gateway)

    played = scene.play()

    assert played.state == "success"
    assert scene.paid == 1


@polled
@with_record
def test_row_that_tells_the_model_by_another_name_is_no_proof_of_absence(scene, hub, monkeypatch):
    from airflow_provider_oxen.localhub import Fault

    scene.arguments["seed"] = 42
    hub.fail(Fault("drop_after", on="enqueue"))
    rows = WorkerEffects.rows

    async def renamed(self: WorkerEffects, *records: Any) -> Any:
        found = await rows(self, *records)
        return [row.model_copy(update={"model": f"oxen/{row.model}"}) for row in found]

    monkeypatch.setattr(WorkerEffects, "rows", renamed)

    played = scene.play()

    assert played.state == "failed"
    assert "could be it, or another task's" in played.error
    assert scene.sent == 1
