"""An Airflow on Celery: two workers, two triggerers, and a loop that restarts what exits."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tests.chaos import watchdog
from tests.chaos.deployment import airflow
from tests.chaos.rest import Rest
from tests.chaos.sessions import Command, Sessions, free_port
from tests.chaos.states import Run
from tests.cluster.environment import CONCURRENCY, own, settings
from tests.cluster.services import Postgres, Redis

WORKERS = ("worker-a", "worker-b")

TRIGGERERS = ("triggerer-1", "triggerer-2")

QUEUES = {"worker-a": {"a"}, "worker-b": {"b"}}
"""The queues that each worker serves from the start."""

PATIENCE = 180.0
"""Seconds that Airflow may take to come up, on a machine that others use too."""

_MOST_RESTARTS = 12
"""How often a component may exit; the loop would hide one that never comes up."""

_RUNS = """
    SELECT run.dag_id, run.state, extract(epoch FROM run.end_date - run.start_date)::float,
           (SELECT max(try_number) FROM task_instance AS task WHERE task.dag_id = run.dag_id),
           (SELECT string_agg(value::text, ' ') FROM xcom
            WHERE xcom.dag_id = run.dag_id AND xcom.key = 'return_value')
    FROM dag_run AS run
"""

_TRIGGERS = """
    SELECT task.dag_id, job.hostname, trigger.id
    FROM task_instance AS task JOIN trigger ON trigger.id = task.trigger_id
    LEFT JOIN job ON job.id = trigger.triggerer_id
    WHERE task.state = 'deferred'
"""


class Cluster(Sessions):
    """All of it. Use it as a context manager.

    Each worker runs in a mount namespace of its own, where ``disk`` is another folder than for all others:
    the folder ``disks/<worker>`` of the home.

    :param home: an empty folder, which stays; what Airflow writes goes below ``airflow`` in it.
    :param connections: further environment: the rows' connections and table.
    :ivar exited: how often each component has exited by itself, and was restarted.
    """

    def __init__(self, home: Path, connections: Mapping[str, str]) -> None:
        self.airflow = home / "airflow"
        self.disk = home / "disk"
        self.disks = home / "disks"
        for folder in (self.airflow, self.disk, home / "postgres", home / "redis"):
            folder.mkdir()
        super().__init__(self.airflow)
        # PostgreSQL's user must come through.
        home.chmod(0o711)
        self.postgres = Postgres(home / "postgres", self)
        self.redis = Redis(home / "redis", self)
        url = f"http://127.0.0.1:{free_port()}"
        self.rest = Rest(url)
        self._port = url.rpartition(":")[2]
        central = self.airflow / "central"
        central.mkdir()
        self.env = settings(central, url, self.postgres.dsn, self.redis.url) | dict(connections)
        self._queues = {name: set(queues) for name, queues in QUEUES.items()}
        self.exited: Counter[str] = Counter()
        self._kept: set[str] = set()
        self._known: tuple[float, dict[str, Run]] = (0.0, {})
        self._asking = threading.Lock()

    def _start(self) -> None:
        self.redis.start()
        self.postgres.start()
        central = self.airflow / "central"
        self.start("db", Command(airflow("db", "migrate"), self.env, central))
        if self.wait("db", PATIENCE):
            raise SystemExit(f"Airflow's database could not be made:\n{self.log('db')[-4000:]}")
        server = ("api-server", "--host", "127.0.0.1", "--port", self._port)
        for component in (server, ("dag-processor",), ("scheduler", "--skip-serve-logs")):
            self._run(component[0], airflow(*component), self.env, central)
        for name in TRIGGERERS:
            home = self.airflow / name
            self._run(name, airflow("triggerer", "--skip-serve-logs"), own(self.env, home, name), home)
        for name in WORKERS:
            self._start_worker(name)
        threading.Thread(target=self._keep, daemon=True).start()

    def _start_worker(self, name: str) -> None:
        home = self.airflow / name
        (self.disks / name).mkdir(parents=True, exist_ok=True)
        self._run(name, self._worker(name), own(self.env, home, name), home)

    def _worker(self, name: str) -> list[str]:
        """Return the command line of a worker that serves the queues of now."""
        queues = ",".join(sorted(self._queues[name]))
        words = ["--celery-hostname", f"{name}@cluster", "--queues", queues, "--skip-serve-logs"]
        line = airflow("celery", "worker", "--concurrency", str(CONCURRENCY), *words)
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        bind = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return [*unshare, "sh", "-c", bind, "sh", str(self.disks / name), str(self.disk), *line]

    def _serves(self, name: str) -> None:
        """Let a worker that is restarted serve the queues of now."""
        self._commands[name] = self._commands[name]._replace(line=self._worker(name))

    def _run(self, name: str, line: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self._kept.add(name)
        self.start(name, Command(line, env, cwd))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.clear()
        # What ends in order leaves nothing behind; the watchdog ends the rest.
        with contextlib.suppress(KeyError, subprocess.TimeoutExpired):
            self.postgres.stop()
        super().__exit__(kind, error, trace)

    def _keep(self) -> None:
        """Restart what exits, as systemd and Kubernetes do."""
        while self._kept and not self.closed:
            for name in self.dead():
                with self._lock:
                    # A strike may have replaced it meanwhile.
                    if name in self._kept and name in self.dead() and not self.closed:
                        self.exited[name] += 1
                        self.start(name)
            time.sleep(0.5)

    def hopeless(self) -> str | None:
        """Return the component that exits again and again, or None."""
        return next((name for name, times in self.exited.items() if times > _MOST_RESTARTS), None)

    def members(self, name: str) -> list[int]:
        """Return a component's process and all its children."""
        return watchdog.members({self.pid(name)})

    def serve(self, queue: str, worker: str) -> None:
        """Let a worker take a queue's tasks, too."""
        self._queues[worker].add(queue)
        self._serves(worker)
        with self._celery() as app:
            app.control.add_consumer(queue, reply=True, timeout=5, destination=[f"{worker}@cluster"])

    def leave(self, queue: str, worker: str) -> None:
        """Let a worker take no more of a queue's tasks."""
        self._queues[worker].discard(queue)
        self._serves(worker)
        with self._celery() as app:
            app.control.cancel_consumer(queue, reply=True, timeout=5, destination=[f"{worker}@cluster"])

    def _celery(self) -> Celery:
        """Return a client of its own for each question: a lost broker breaks the connections of one."""
        return Celery(broker=self.redis.url, set_as_current=False)

    def ready(self) -> bool:
        """Whether all workers answer."""
        try:
            with self._celery() as app:
                found = app.control.ping(timeout=2)
        except (OSError, OperationalError, RedisError):
            return False
        return {f"{name}@cluster" for name in WORKERS} <= {name for answer in found for name in answer}

    def run(self, dag_id: str) -> None:
        """Run a Dag, as soon as Airflow knows it; always with the same run id."""
        self.rest.ask("POST", f"/dags/{dag_id}/dagRuns", {"dag_run_id": "row", "logical_date": None})
        # What was known of one that was deleted is no longer true.
        with self._asking:
            self._known = (0.0, {})

    def delete(self, dag_id: str) -> None:
        """Delete that run; Airflow wants it ended first."""
        self.rest.ask("PATCH", f"/dags/{dag_id}/dagRuns/row", {"state": "failed"})
        self.rest.ask("DELETE", f"/dags/{dag_id}/dagRuns/row")

    def runs(self) -> dict[str, Run]:
        """Return all runs by Dag; those last known while the database is away."""
        with self._asking:
            asked, known = self._known
            if time.monotonic() > asked + 0.5:
                rows = self.postgres.ask(_RUNS)
                fresh = {
                    dag_id: Run(str(state), tries or 0, seconds, str(result or ""))
                    for dag_id, state, seconds, tries, result in rows
                }
                known = fresh or known
                self._known = (time.monotonic(), known)
            return known

    def has_sent_nothing(self, dag_id: str) -> bool:
        """Whether the record of a Dag's task, in Airflow's task state store, says that nothing was sent."""
        rows = self.postgres.ask("SELECT dag_id, value::text FROM task_state_store")
        return any(found == dag_id and '"phase": "not_sent"' in str(value) for found, value in rows)

    def triggers(self, dag_ids: Iterable[str]) -> dict[int, str]:
        """Return which triggerer runs each trigger of these Dags, by the trigger's id."""
        wanted = set(dag_ids)
        return {int(id): str(host) for dag_id, host, id in self.postgres.ask(_TRIGGERS) if dag_id in wanted}
