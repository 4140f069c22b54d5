"""What Airflow's database says of the runs: read only, beside Airflow's own processes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

ENDED = frozenset({"success", "failed"})


class Run(NamedTuple):
    """How a Dag's one run stands.

    :ivar tries: number of the task's last try.
    :ivar seconds: from start to end, None before the end.
    :ivar result: what the task returned, as it is stored; empty where it has returned nothing.
    """

    state: str
    tries: int
    seconds: float | None = None
    result: str = ""


def use_wal(database: Path) -> None:
    """Let readers and one writer go on beside each other; the file remembers it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def runs(database: Path) -> dict[str, Run]:
    """Return all runs by Dag."""
    query = """
        SELECT run.dag_id, run.state, run.start_date, run.end_date, max(task.try_number), max(xcom.value)
        FROM dag_run AS run
        LEFT JOIN task_instance AS task ON task.dag_id = run.dag_id
        LEFT JOIN xcom ON xcom.dag_id = run.dag_id AND xcom.key = 'return_value'
        GROUP BY run.dag_id
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        rows = connection.execute(query).fetchall()
    return {
        dag_id: Run(state, tries or 0, _seconds(started, ended), str(result or ""))
        for dag_id, state, started, ended, tries, result in rows
    }


def _seconds(started: str | None, ended: str | None) -> float | None:
    if not started or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
