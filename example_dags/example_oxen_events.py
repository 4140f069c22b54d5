"""Run a Dag whenever a generation ends on the hub, whoever requested it. Needs Airflow 3."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import Asset, dag, task

from airflow_provider_oxen.triggers.generation_events import OxenGenerationEventTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:
    AssetWatcher = None  # Airflow 2 has no watchers: this file then has no Dag

OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")

if AssetWatcher is not None:
    trigger = OxenGenerationEventTrigger(models=["z-image-turbo"], statuses=["succeeded", "failed"])
    ended = Asset("oxen_generations", watchers=[AssetWatcher(name="oxen", trigger=trigger)])

    @dag(
        schedule=[ended],
        start_date=datetime(2026, 1, 1),
        catchup=False,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["oxen", "example"],
    )
    def example_oxen_events():
        @task
        def fetch(triggering_asset_events=None) -> dict[str, str]:
            """Fetch the images. One run may get several events, and an event may come twice."""
            from airflow_provider_oxen.hooks.oxen import OxenHook

            hook, kept = OxenHook(), {}
            for event in triggering_asset_events[ended]:
                what = event.extra["payload"]
                id = what["generation_id"]
                if what["status"] == "failed":
                    print(f"Generation {id} has failed: {what['message']}")
                    continue
                row = hook.get_generation(id)
                file = hook.download({"url": row.result_url}, f"{OUTPUT}/ended/{id}.webp", overwrite=True)
                kept[id] = file["path"]
            return kept

        fetch()

    example_oxen_events()
