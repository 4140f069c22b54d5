"""An image as an asset: one Dag generates it, another Dag runs whenever there is a new one."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import Asset, dag, task

from airflow_provider_oxen.operators.images import ImageGenerateOperator

OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")
BANNER = f"{OUTPUT}/banner.webp"

banner = Asset(BANNER if "://" in BANNER else f"file://{BANNER}")


@dag(
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_asset():
    ImageGenerateOperator(
        task_id="banner",
        prompt="A banner of wild flowers, flat colours, week of {{ ds }}",
        model="z-image-turbo",
        model_params={"output_format": "webp"},
        storage_path=BANNER,
        overwrite=True,  # replace last week's banner
        outlets=[banner],
    )


@dag(
    schedule=[banner],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_asset_consumer():
    @task
    def publish() -> str:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        size = ObjectStoragePath(BANNER).stat().st_size
        print(f"A new banner of {size} bytes is in {BANNER}")
        return BANNER

    publish()


example_oxen_asset()
example_oxen_asset_consumer()
