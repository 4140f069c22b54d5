"""The settings of the cluster's Airflow: those of :mod:`tests.chaos`, and what Celery and PostgreSQL need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.chaos import environment
from tests.chaos.deployment import ROOT, new_secret
from tests.cluster.hosts import HOST

CONCURRENCY = 4
"""Tasks at a time of one worker."""

QUEUED_TIMEOUT = 60
"""Seconds after which a task whose message is lost is queued anew."""

DAGS = Path(__file__).parent / "dags"


def settings(home: Path, url: str, database: str, broker: str) -> dict[str, str]:
    """Return what all components are told.

    :param url: where the API server listens.
    :param database: DSN of PostgreSQL.
    :param broker: URL of Redis.
    """
    secret = new_secret()
    address = database.partition("://")[2]
    return (
        environment.common(home, DAGS, ROOT, secret)
        | environment.newest(url, secret)
        | {
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{address}",
            # One process of the scheduler sends and asks: there are few tasks, and few cores.
            "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(CONCURRENCY),
            "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "64",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.cluster.hosts.name",
            "AIRFLOW__CORE__PARALLELISM": "64",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": str(QUEUED_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        }
    )


def own(env: Mapping[str, str], home: Path, host: str) -> dict[str, str]:
    """Return the settings of one worker or triggerer: a home of its own, and a name."""
    home.mkdir()
    return {**env, "AIRFLOW_HOME": str(home), HOST: host}
