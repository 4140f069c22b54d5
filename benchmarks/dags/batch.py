"""The same hundred prompts as one batch, and as a mapped task each."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator

PROMPTS = [f"A red cube, number {number}" for number in range(int(os.environ["OXEN_BENCH_TASKS"]))]
OUTPUT = os.environ["OXEN_BENCH_OUTPUT"]
GIVEN = {"start_date": datetime(2026, 1, 1), "schedule": "@once", "max_active_tasks": len(PROMPTS)}

with DAG("batch_mapped", **GIVEN) as mapped:
    ImageGenerateOperator.partial(
        task_id="image", model="z-image-turbo", storage_path=f"{OUTPUT}/mapped/", deferrable=False
    ).expand(prompt=PROMPTS)

with DAG("batch_one_task", **GIVEN) as one_task:
    ImageBatchGenerateOperator(
        task_id="images",
        prompts=PROMPTS,
        model="z-image-turbo",
        storage_path=f"{OUTPUT}/batch/",
        use_queue=False,
        deferrable=False,
    )
