"""Generate an image for each prompt in a file, then load the results into a table.

The batch waits without a worker slot. A retry, another run or a longer file pays only for the images that
are missing. Open ``index.html`` in the folder to see all images. Set ``OXEN_EXAMPLES_PROMPTS`` to use another
file of prompts, such as ``s3://bucket/prompts.jsonl``, and ``OXEN_EXAMPLES_DATABASE`` for another database.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator

OUTPUT = os.environ.get("OXEN_EXAMPLES_OUTPUT", "/tmp/oxen-examples").rstrip("/")
PROMPTS = os.environ.get("OXEN_EXAMPLES_PROMPTS", str(Path(__file__).with_name("example_oxen_prompts.csv")))
DATABASE = os.environ.get("OXEN_EXAMPLES_DATABASE", "/tmp/oxen-examples.db")


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["oxen", "example"],
)
def example_oxen_batch():
    pictures = ImageBatchGenerateOperator(
        task_id="pictures",
        prompts=PROMPTS,
        storage_path=f"{OUTPUT}/catalogue/",
        model="z-image-turbo",
        max_cost=1.00,  # the whole file is priced before anything is spent
        on_error="continue",  # one bad prompt does not stop the others
        max_failures="25%",
        deferrable=True,
    )

    @task
    def load(batch: dict) -> int:
        import json
        import sqlite3
        from contextlib import closing

        from airflow.providers.common.compat.sdk import ObjectStoragePath

        columns = ("id", "status", "prompt", "path", "sha256", "cost", "error")
        # SQLite stands in for your warehouse. A prompt that is loaded again replaces its row.
        with closing(sqlite3.connect(DATABASE)) as database, database:
            database.execute(f"CREATE TABLE IF NOT EXISTS pictures ({', '.join(columns)}, PRIMARY KEY (id))")
            with ObjectStoragePath(batch["manifest"]).open("rb") as file:
                # Airflow 2.11 cannot loop over a file that ObjectStoragePath has opened.
                rows = map(json.loads, iter(file.readline, b""))
                # The manifest leaves out what is not known.
                facts = ([row.get(column) for column in columns] for row in rows)
                done = database.executemany("REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)", facts)
        return done.rowcount

    load(pictures.output)


example_oxen_batch()
