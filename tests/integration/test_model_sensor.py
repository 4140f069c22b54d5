"""The sensor on real Airflow, against a hub over a real socket."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.sensors.models import OxenModelSensor

from .conftest import START

KLEIN = "black-forest-labs-flux-2-klein-4b"


def dag_of(**arguments: Any) -> DAG:
    with DAG("sensing", schedule=None, start_date=START) as dag:
        OxenModelSensor(
            task_id="there", **{"model": KLEIN, "poke_interval": 0.01, "timeout": 0.05, **arguments}
        )
    return dag


def entry_where(hub: Any, **facts: Any) -> dict[str, Any]:
    return next(
        entry
        for entry in hub.settings.catalogue
        if all(entry.get(name) == value for name, value in facts.items())
    )


def test_model_that_can_run_is_found(connected, run_dag):
    assert run_dag(dag_of()).state == "success"


def test_parameters_that_fit_are_found_to_fit(connected, run_dag):
    assert run_dag(dag_of(parameters={"num_inference_steps": "4"})).state == "success"


def test_parameters_that_never_fit_fail_at_once(connected, run_dag):
    run = run_dag(dag_of(parameters={"num_inference_steps": 99}, timeout=600, retries=2))

    assert run.state == "failed"
    assert "num_inference_steps: must be at most 50, not 99" in run.log


def test_what_is_odd_about_the_model_is_told(connected, run_dag):
    run = run_dag(dag_of(model="stable-diffusion-xl"))

    assert run.state == "success"
    assert "Model 'stable-diffusion-xl' is deprecated" in run.log


def test_unknown_model_waits(connected, run_dag):
    run = run_dag(dag_of(model="klein-5b"))

    assert run.state == "failed"
    assert "Model 'klein-5b' is not there yet" in run.log
    assert "timeout" in run.log.lower()


def test_unknown_model_skips_at_the_timeout_with_soft_fail(connected, run_dag):
    assert run_dag(dag_of(model="klein-5b", soft_fail=True)).ti("there").state == "skipped"


def test_unknown_model_fails_fast_with_near_names(connected, run_dag):
    run = run_dag(dag_of(model="z-image-turb", fail_fast=True, timeout=600))

    assert run.state == "failed"
    assert "Did you mean 'z-image-turbo'" in run.log


def test_wrong_key_fails_at_once(hub, connect, run_dag):
    connect(hub.url, "a-very-wrong-key")

    run = run_dag(dag_of(timeout=600))

    assert run.state == "failed"
    assert "OxenAuthenticationError" in run.log
    assert "a-very-wrong-key" not in run.log


def test_reason_of_a_soft_failure_is_logged(hub, connect, run_dag):
    connect(hub.url, "a-very-wrong-key")

    run = run_dag(dag_of(timeout=600, soft_fail=True))

    assert run.ti("there").state == "skipped"
    assert "The API key is missing or wrong" in run.log


def test_wrong_key_is_told_by_a_hub_that_does_not_tell_whose_key_it_is(hub, connect, run_dag):
    hub.settings.users_me = hub.settings.authorize = False
    connect(hub.url, "a-very-wrong-key")

    run = run_dag(dag_of(timeout=600))

    assert run.state == "failed"
    assert "OxenAuthenticationError" in run.log


def test_model_that_makes_no_images_fails_at_once(connected, run_dag):
    text = next(
        entry["id"]
        for entry in connected.settings.catalogue
        if "image" not in entry["capabilities"]["output"]
    )

    run = run_dag(dag_of(model=text, timeout=600))

    assert run.state == "failed"
    assert "does not make images" in run.log


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_custom_model_waits_for_its_deployment(connected, run_dag, mode):
    connected.settings.layouts = frozenset({"ai"})
    custom = next(
        entry
        for entry in connected.settings.catalogue
        if entry.get("model_type") == "custom" and entry["deployments"][0]["status"] == "inactive"
    )

    run = run_dag(dag_of(model=custom["id"]))
    assert run.state == "failed"
    assert "no deployment of this custom model is active (now: inactive)" in run.log

    custom["deployments"][0]["status"] = "active"
    assert run_dag(dag_of(model=custom["id"], mode=mode)).state == "success"


def test_hub_that_does_not_answer_is_waited_for(connected, run_dag):
    connected.fail(Fault(on="model", kind="status", status=500, times=2))

    run = run_dag(dag_of(timeout=30))

    assert run.state == "success"
    assert "Looking again later" in run.log


class TestDeferred:
    """With ``deferrable`` the sensor comes to the same ends, without a worker."""

    def test_model_that_can_run_needs_no_trigger(self, connected, run_dag):
        assert run_dag(dag_of(deferrable=True)).state == "success"
        assert [seen["path"] for seen in connected.requests()].count("/api/users/me") == 1

    def test_custom_model_waits_for_its_deployment(self, connected, run_dag):
        connected.settings.layouts = frozenset({"ai"})
        custom = next(
            entry
            for entry in connected.settings.catalogue
            if entry.get("model_type") == "custom" and entry["deployments"][0]["status"] == "inactive"
        )
        stop = threading.Event()
        looks: list[Any] = []

        def deploy() -> None:
            while not stop.wait(0.005):
                looks[:] = [seen for seen in connected.requests() if custom["id"] in seen["path"]]
                if len(looks) >= 3:
                    custom["deployments"][0]["status"] = "active"

        deploying = threading.Thread(target=deploy)
        deploying.start()
        try:
            run = run_dag(dag_of(model=custom["id"], deferrable=True, timeout=30))
        finally:
            stop.set()
            deploying.join()

        assert run.state == "success"
        assert "no deployment of this custom model is active (now: inactive)" in run.log
        assert " is ready." in run.log

    def test_what_never_will_be_is_found_by_the_trigger_and_said_by_the_worker(self, connected, run_dag):
        # The first look of the worker finds nobody to ask.
        connected.fail(Fault(on="model", kind="status", status=500, times=2))

        run = run_dag(dag_of(parameters={"num_inference_steps": 99}, deferrable=True, timeout=30, retries=2))

        assert run.ti("there").state == "failed"
        assert "Nothing was spent by this try. Not tried again. Waiting will not help" in run.log
        assert "num_inference_steps: must be at most 50, not 99" in run.log

    def test_what_was_wrong_for_a_moment_is_waited_for_again(self, connected, run_dag):
        connected.fail(
            Fault(on="model", kind="status", status=500, times=2),
            Fault(on="model", kind="status", status=403),
            Fault(on="model", kind="status", status=500, times=2),
        )

        assert run_dag(dag_of(deferrable=True, timeout=30)).state == "success"

    @pytest.mark.parametrize("soft_fail", [False, True])
    def test_timeout(self, connected, run_dag, soft_fail):
        run = run_dag(dag_of(model="klein-5b", deferrable=True, soft_fail=soft_fail, retries=2))

        assert run.ti("there").state == ("skipped" if soft_fail else "failed")
        assert "Sensor has timed out" in run.log

    def test_reason_of_a_soft_failure_is_logged(self, connected, run_dag):
        connected.fail(Fault(on="model", kind="status", status=500, times=2))

        run = run_dag(
            dag_of(parameters={"num_inference_steps": 99}, deferrable=True, timeout=30, soft_fail=True)
        )

        assert run.ti("there").state == "skipped"
        assert "must be at most 50, not 99" in run.log
