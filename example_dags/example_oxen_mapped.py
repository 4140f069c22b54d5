"""Generate an image for each prompt that another task returns, with one mapped task each."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.operators.images import ImageGenerateOperator

OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"steps": 8},
    tags=["oxen", "example"],
)
def example_oxen_mapped():
    @task
    def prompts() -> list[str]:
        return [f"A {thing} made of paper, studio light" for thing in ("fox", "whale", "heron")]

    images = ImageGenerateOperator.partial(
        task_id="paper",
        model="black-forest-labs-flux-2-klein-4b",
        # Templates render to text. The model's request schema turns them back into numbers.
        model_params={"output_format": "webp", "output_quality": "{{ params.quality | default(80) }}"},
        num_inference_steps="{{ params.steps }}",
        storage_path=f"{OUTPUT}/paper/{{{{ run_id | replace(':', '-') }}}}/",
    ).expand(prompt=prompts())

    @task
    def count(results: list[dict]) -> int:
        return sum(len(result["images"]) for result in results)

    count(images.output)


example_oxen_mapped()
