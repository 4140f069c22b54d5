"""Wait for a generation that something else has requested, then fetch its image.

Trigger this Dag with the generation's id: ``{"generation_id": "…"}``. It waits without a worker slot, and
nothing here costs money.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.sensors.generations import OxenGenerationSensor

OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"generation_id": ""},
    tags=["oxen", "example"],
)
def example_oxen_generation():
    ended = OxenGenerationSensor(
        task_id="ended",
        generation_id="{{ params.generation_id }}",
        deferrable=True,
        poke_interval=5,
        timeout=15 * 60,
    )

    @task
    def fetch(facts: dict) -> dict:
        from airflow_provider_oxen.hooks.oxen import OxenHook

        hook = OxenHook()
        # Ask for the generation again to get a fresh link: links expire, so the sensor puts none into XCom.
        generation = hook.get_generation(facts["generation_id"])
        path = f"{OUTPUT}/generation-{facts['generation_id']}.image"
        return hook.download({"url": generation.result_url}, path, overwrite=True)

    fetch(ended.output)


example_oxen_generation()
