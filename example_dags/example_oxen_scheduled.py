"""Generate an image a day: wait for the model, generate, and open the file in your own task.

The sensor and the image task both wait in the triggerer, without a worker slot. The job goes through the
hub's queue: if a worker or the triggerer dies, the next try finds it there and does not pay again. That is
why ``retries`` are set.

This Dag needs the connection ``oxen_default``. Set ``OXEN_EXAMPLES_OUTPUT`` to keep the images elsewhere, for
example in ``s3://bucket/oxen/``.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.models import OxenModelSensor

MODEL = "black-forest-labs-flux-2-klein-4b"
OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_scheduled():
    model_is_there = OxenModelSensor(
        task_id="model_is_there",
        model=MODEL,
        deferrable=True,
        poke_interval=60,
        timeout=60 * 60,
    )

    hero = ImageGenerateOperator(
        task_id="hero",
        prompt="A red cube on a white background, morning light of {{ ds }}",
        model=MODEL,
        model_params={"aspect_ratio": "16:9", "output_format": "png"},
        storage_path=f"{OUTPUT}/hero/{{{{ ds }}}}/",
        deferrable=True,
        max_cost=0.05,
    )

    @task
    def look(result: dict) -> str:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        image = result["images"][0]
        with ObjectStoragePath(image["path"]).open("rb") as file:
            size = len(file.read())
        print(f"{image['path']}: {image['media_type']}, {image['width']} x {image['height']}, {size} bytes")
        return image["path"]

    model_is_there >> hero
    look(hero.output)


example_oxen_scheduled()
