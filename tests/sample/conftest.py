"""An Airflow of the tests' own: a home that is thrown away, and the Dags of this repository."""

import os
import tempfile
from pathlib import Path

# Airflow reads these when it is imported.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parent / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import pytest


@pytest.fixture(scope="session", autouse=True)
def airflow_db():
    from airflow.utils.db import initdb

    initdb()
