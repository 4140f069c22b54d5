"""One Dag for each row of the table that the harness wrote; the harness runs it when its time has come."""

from __future__ import annotations

import functools
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from tests.cluster.notes import note

for row in json.loads(Path(os.environ["OXEN_CLUSTER_TABLE"]).read_text()):
    with DAG(row["dag_id"], schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:
        arguments = {
            "task_id": "hero",
            "model": "black-forest-labs-flux-2-klein-4b",
            "oxen_conn_id": row["conn_id"],
            "queue": row["queue"],
            "retries": row["retries"],
            # What no slot is free for waits in Airflow: in the broker it would count as lost after a while.
            "max_active_tis_per_dag": 4,
            "retry_delay": timedelta(seconds=1),
            "pre_execute": functools.partial(note, row["place"]),
            **row["arguments"],
        }
        if row["kind"] == "batch":
            ImageBatchGenerateOperator(prompts=row["prompts"], **arguments)
        elif row["kind"] == "mapped":
            ImageGenerateOperator.partial(**arguments).expand(prompt=row["prompts"])
        else:
            ImageGenerateOperator(prompt=row["prompts"][0], **arguments)
    globals()[row["dag_id"]] = dag
