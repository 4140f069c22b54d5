"""How Airflow runs a task: whether this try is still the one that it runs, and on whose disk.

The first is checked right before money is spent, and before a late write: a worker can be stopped for minutes
(a paused machine, heavy swapping) and continue beside its successor.
"""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

from airflow.providers.common.compat.sdk import conf

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.images.storage import Folder, LocalFolder

__all__ = ["Clocks", "Running", "clocks", "remote_executor", "warn_of_local_disk"]

LONGEST = 10.0
"""Seconds that all last checks together may take: far below the time after which Airflow takes a try for dead
(300 s by default), so that their results are still true."""


_LOCAL = ("DebugExecutor", "LocalExecutor", "MockExecutor", "SequentialExecutor")
"""Executors that run tasks on the scheduler's machine; ``dag.test()`` uses none."""


class Clocks(NamedTuple):
    """The values of two clocks at one moment: the wall clock, and one that also counts suspension."""

    wall: float
    boot: float

    def have_jumped(self, since: Clocks) -> bool:
        """Return whether, by either clock, more time has passed than a few checks take, or less than none."""
        passed = (self.wall - since.wall, self.boot - since.boot)
        return not all(-1.0 <= seconds <= LONGEST for seconds in passed)


def clocks() -> Clocks:
    """Return the current values of both clocks."""
    # macOS has no such clock: there only the wall clock shows a suspension.
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Clocks(time.time(), time.clock_gettime(boot))


class Running:
    """Asks Airflow about one try; thread-safe.

    :param seconds: how old an answer may be, for callers that ask often.
    """

    def __init__(self, ti: Any, seconds: float = 0.0) -> None:
        self._ti = ti
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asked: Clocks | None = None

    def check(self, *, lasting: float = 0.0) -> None:
        """Do nothing if this try is the one that Airflow runs, or if Airflow cannot be asked.

        :param lasting: seconds for which the answer must also serve the next caller.
        :raises OxenOvertaken: if it is not.
        :raises OxenStoreUnavailable: if Airflow did not answer.
        """
        if self.is_known(lasting):
            # This answer is good while another thread asks for a newer one.
            return
        with self._lock:
            now = clocks()
            if self._is_known(now, lasting):
                return
            try:
                problem = _problem(self._ti)
            except Exception as error:
                raise OxenStoreUnavailable(
                    f"Airflow could not say whether this is still the current try: {describe_error(error)}."
                ) from None
            if problem:
                raise OxenOvertaken(f"Airflow no longer runs this try: {problem}.")
            # The time of the question, not of the answer.
            self._asked = now

    def is_known(self, lasting: float = 0.0) -> bool:
        """Return whether :meth:`check` has a recent answer, and needs not ask."""
        return self._is_known(clocks(), lasting)

    def _is_known(self, now: Clocks, lasting: float) -> bool:
        asked = self._asked
        if asked is None or now.have_jumped(asked):
            return False
        return now.boot - asked.boot + lasting < self._seconds


def _problem(ti: Any) -> str | None:
    """Return why a try is not the one that runs, as a clause; None if it is, or if nobody knows."""
    if hasattr(ti, "get_task_states"):
        return _by_api(ti)
    if hasattr(ti, "refresh_from_db"):
        return _by_database(ti)
    return None


def _by_api(ti: Any) -> str | None:
    """Airflow 3: ask the API server for the state, and for the try's own id, which the next try has not."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import comms, task_runner

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    is_main = threading.current_thread() is threading.main_thread()
    if supervisor is None or not (is_main or hasattr(supervisor, "_thread_lock")):
        # Before 3.2, the answers to two threads that ask at the same time are mixed up.
        return None
    states = ti.get_task_states(
        dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    name = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(ti.run_id, {}).get(name)
    if state != "running":
        return f"its state is {state}"
    try:
        supervisor.send(comms.ValidateInletsAndOutlets(ti_id=ti.id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == 404:
            return "another try of the task is running"
        raise
    return None


def _by_database(ti: Any) -> str | None:
    """Airflow 2: read the database, which the task can access."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    columns: Any = (TaskInstance.state, TaskInstance.try_number, TaskInstance.job_id)
    with create_session() as session:
        found = (
            session.query(*columns)
            .filter_by(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
            .one_or_none()
        )
    if found is None:
        return "it is no longer known"
    state, number, job = found
    # ``dag.test()`` runs tasks in the state "scheduled"; the try number shows another try in that state.
    if state not in ("running", "scheduled"):
        return f"its state is {state}"
    if number != ti.try_number or (job and ti.job_id and int(job) != int(ti.job_id)):
        return "another try of the task is running"
    return None


def remote_executor(configured: str, wanted: str | None) -> str | None:
    """Return the executor that runs a task if it may use another machine, otherwise None.

    :param configured: ``[core] executor``: one, or several with commas between them, perhaps with an alias
        each (``alias:path.to.Class``), or such a list for each team (``…;team=…``).
    :param wanted: the operator's ``executor``, by name, path or alias; None: the first.
    """
    kinds: dict[str, str] = {}
    firsts: list[str] = []
    for team in configured.split(";"):
        entries = [entry.strip() for entry in team.rpartition("=")[2].split(",") if entry.strip()]
        for entry in entries:
            alias, _, path = entry.rpartition(":")
            kind = path.rpartition(".")[2]
            kinds |= dict.fromkeys((path, kind, alias or kind), kind)
        firsts += [entry.rpartition(":")[2].rpartition(".")[2] for entry in entries[:1]]
    # A task does not know its team.
    chosen = firsts if wanted is None else [kinds.get(wanted, wanted.rpartition(".")[2])]
    return next((kind for kind in chosen if kind not in _LOCAL), None)


def warn_of_local_disk(operator: Any, folder: Folder | None) -> None:
    """Warn once a try that all workers must share a local folder, if there may be several workers."""
    if not isinstance(folder, LocalFolder):
        return
    wanted = getattr(operator, "executor", None)
    name = remote_executor(conf.get("core", "executor", fallback=""), wanted)
    if name is not None:
        operator.log.warning(
            "storage_path is the local folder %s, but the %s runs tasks on several machines. All workers "
            "and the triggerer must share that disk: a worker with its own disk does not find what another "
            "one has paid for. Object storage avoids this.",
            folder.path, name,
        )  # fmt: skip
