"""The same hundred images, asked for by tasks that wait in the worker and by tasks that defer."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.images import ImageGenerateOperator

TASKS = int(os.environ["OXEN_BENCH_TASKS"])

for name in ("deferrable", "synchronous"):
    with DAG(
        f"slots_{name}", schedule="@once", start_date=datetime(2026, 1, 1), max_active_tasks=TASKS
    ) as dag:
        ImageGenerateOperator.partial(
            task_id="image",
            model="z-image-turbo",
            storage_path=os.environ["OXEN_BENCH_OUTPUT"] + f"/{name}/",
            deferrable=name == "deferrable",
        ).expand(prompt=[f"A red cube, number {number}" for number in range(TASKS)])
    globals()[dag.dag_id] = dag
