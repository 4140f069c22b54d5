"""The settings of the harness's Airflow, as environment variables: short intervals, loopback only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SLOTS = 8
"""Tasks at a time. They wait more than they compute, so more than there are cores; and more than the rows
that lose their supervisor, which is noticed late."""

HEARTBEAT_TIMEOUT = 20
"""Seconds without a heartbeat after which a task counts as lost: on a busy machine a living one may
be silent for some."""


def common(home: Path, dags: Path, root: Path, secret: str) -> dict[str, str]:
    """Return what both Airflow lines are told, with nothing of the user's own Airflow."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "OXEN_", "PYTHON"))
        and not name.lower().endswith("_proxy")
    }
    return clean | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secret,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": str(SLOTS),
        "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
        # Seconds: a writer waits for another this long before the database counts as locked.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": "100",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "ignore",
    }


def newest(url: str, secret: str) -> dict[str, str]:
    """Return what Airflow 3 is told besides.

    :param url: where its API server listens.
    """
    return {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        # LocalExecutor never gets back the slot of a supervisor that was killed.
        "AIRFLOW__CORE__PARALLELISM": str(2 * SLOTS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # The Dag file does not change while the rows run.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        # Tasks may start before the API server answers.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    }


def oldest() -> dict[str, str]:
    """Return what Airflow 2.11 is told besides."""
    return {
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
        # It refuses SQLite for any executor with more than one slot; WAL and patience make it hold.
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
    }
