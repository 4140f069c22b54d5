"""Pass an image through XCom without storage: as a temporary link, or as base64 text."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.operators.images import ImageGenerateOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_xcom():
    link = ImageGenerateOperator(
        task_id="link",
        prompt="A lighthouse at dusk, oil on canvas",
        model="z-image-turbo",
        seed=42,
    )

    # Use base64 text for small images only: XCom is in Airflow's database.
    text = ImageGenerateOperator(
        task_id="text",
        prompt="A lighthouse at dawn, oil on canvas",
        model="z-image-turbo",
        response_format="b64_json",
        image_size={"width": 256, "height": 256},
    )

    @task
    def fetch(ti=None) -> dict:
        import tempfile

        from airflow_provider_oxen.hooks.oxen import OxenHook

        # Pull the link here: Airflow shows a task's arguments, and the link is signed.
        result = ti.xcom_pull(task_ids="link")
        # The link expires, so fetch it at once. download() checks that the image is whole.
        with tempfile.TemporaryDirectory() as folder:
            return OxenHook().download(result["images"][0], f"{folder}/lighthouse.img")

    @task
    def decode(result: dict) -> int:
        import base64

        return len(base64.b64decode(result["images"][0]["b64_json"]))

    link >> fetch()
    decode(text.output)


example_oxen_xcom()
