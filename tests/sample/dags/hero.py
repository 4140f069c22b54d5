"""A picture a day."""

from datetime import datetime

from airflow.models.param import Param
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.operators.images import ImageGenerateOperator

with DAG(
    "hero",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={"folder": Param("s3://bucket/hero/", type="string")},
) as dag:
    ImageGenerateOperator(
        task_id="hero",
        prompt="A red cube on a white background, morning light of {{ ds }}",
        model="z-image-turbo",
        storage_path="{{ params.folder }}{{ ds }}/",
    )
