"""Generate images from functions: one returns a prompt built from the date and another task, one a list."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task

MODEL = "z-image-turbo"
OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_taskflow():
    @task
    def places() -> list[str]:
        return ["harbour", "lighthouse", "market"]

    # A text is one image. The task returns what ImageGenerateOperator returns.
    @task.oxen_image(model=MODEL, storage_path=f"{OUTPUT}/town/{{{{ ds }}}}/", use_queue=True)
    def town(names: list[str], logical_date: datetime) -> str:
        return f"A small town with a {' and a '.join(names)} in {logical_date:%B}, watercolour"

    # A list is a batch, however short. The task returns what ImageBatchGenerateOperator returns. The images
    # are named by their ids, so tomorrow's run finds them and does not pay again.
    @task.oxen_image(model=MODEL, storage_path=f"{OUTPUT}/places/", max_cost=0.10, deferrable=True)
    def postcards(names: list[str]) -> list[dict]:
        return [
            {"id": name, "prompt": f"A postcard of a {name}, flat colours", "seed": number}
            for number, name in enumerate(names)
        ]

    @task
    def publish(picture: dict, batch: dict) -> str:
        print(f"The town is in {picture['images'][0]['path']}, the postcards in {batch['index']}")
        return batch["index"]

    names = places()
    publish(town(names), postcards(names))


example_oxen_taskflow()
