"""A Dag of two hundred tasks that is not run: what they would push is put there by the measurement."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.images import ImageGenerateOperator

TASKS = 200

with DAG("postcards", schedule=None, start_date=datetime(2026, 1, 1)):
    for number in range(TASKS):
        ImageGenerateOperator(task_id=f"card_{number:03}", prompt="A red cube", model="z-image-turbo")
