"""One Dag for each row of the table that the harness wrote, run once as soon as it is seen."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from tests.chaos.traps import arm

for row in json.loads(Path(os.environ["OXEN_CHAOS_TABLE"]).read_text()):
    operator: Callable[..., object]
    if "prompts" in row:
        operator = functools.partial(ImageBatchGenerateOperator, prompts=row["prompts"])
    else:
        operator = functools.partial(ImageGenerateOperator, prompt=f"A red cube, {row['dag_id']}")
    with DAG(
        row["dag_id"],
        schedule="@once",
        start_date=datetime(2026, 1, 1),
        catchup=False,
        is_paused_upon_creation=row["paused"],
    ) as dag:
        operator(
            task_id="hero",
            model="black-forest-labs-flux-2-klein-4b",
            storage_path=f"{row['output']}/",
            oxen_conn_id=row["conn_id"],
            retries=2,
            retry_delay=timedelta(seconds=1),
            priority_weight=row["weight"],
            pre_execute=functools.partial(arm, row["trap"], row["place"], nth=row["nth"]),
            **row["arguments"],
        )
    globals()[row["dag_id"]] = dag
