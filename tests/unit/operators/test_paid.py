"""A single image that was paid for and did not come is counted, once, and its error leads to the job."""

from __future__ import annotations

import pytest
import tenacity

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.localhub import Fault

from .scene import Scene, by_queue, with_record
from .test_batch_books import Counted

__all__ = ["counted"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", made, raising=False)
    return made


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """A task whose image is fetched, wherever its record lives."""
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    return scene


def facts(scene: Scene) -> str:
    [entry] = scene.hub.ledger()
    return f"Paid for: generation {entry['generation_id']}, seed {entry['seed']}, cost $0.01."


@by_queue
@with_record
@pytest.mark.parametrize("kind", ["not_an_image", "without_url"])
def test_image_that_was_paid_for_and_did_not_come_is_counted_once(scene, counted, kind):
    scene.hub.fail(Fault(kind, on="enqueue", times=None))

    played = scene.play()

    assert played.state == "failed"
    assert facts(scene) in str(played.errors[0])
    assert counted.cost == 0.01
    assert "oxen.images.generated" not in counted.counts


@by_queue
@with_record
def test_image_that_a_later_try_fetches_is_counted_once(scene, counted, monkeypatch):
    monkeypatch.setattr(retries, "BACKOFF", tenacity.wait_none())
    scene.hub.fail(Fault("status", on="file", status=500, times=20))
    scene.between = scene.hub.clear_faults

    played = scene.play()

    assert played.state == "success", played.error
    assert facts(scene) in str(played.errors[0])
    assert counted.cost == played.result["cost"] == 0.01


@by_queue
@with_record
def test_failed_job_that_the_hub_bills_is_counted_beside_the_next(scene, counted):
    scene.hub.settings.queue_bills = "enqueue"
    scene.hub.fail(Fault("fails", on="enqueue"))

    played = scene.play()

    assert played.state == "success", played.error
    assert counted.cost == 0.02


@by_queue
@with_record
def test_failed_job_that_the_hub_does_not_bill_costs_nothing(scene, counted):
    scene.hub.fail(Fault("fails", on="enqueue"))

    played = scene.play()

    assert "What was paid for" not in str(played.errors[0])
    assert counted.cost == 0.01


@pytest.mark.parametrize("mode", ["synchronous"])
@with_record
def test_call_that_was_paid_for_tells_its_seed(scene, counted):
    scene.hub.fail(Fault("not_an_image", on="generate", times=None))

    played = scene.play()

    [entry] = scene.hub.ledger()
    assert f"Paid for: seed {entry['seed']}." in str(played.errors[0])
    assert counted.cost == 0
