"""What is done to processes, servers, folders and runs; each at a moment that the hub or the broker shows."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence

from tests.chaos.states import ENDED
from tests.chaos.watchdog import parent
from tests.cluster.cluster import TRIGGERERS, WORKERS, Cluster
from tests.cluster.notes import Process
from tests.cluster.rows import KILLS, Strike
from tests.cluster.scene import Scene

PATIENCE = 150.0
"""Seconds until a moment is given up: a lost task is noticed late, and rows wait for a free slot first."""

AWAY = 5.0
"""Seconds that the database is away."""


class NotStruck(Exception):
    """The moment did not come."""


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition.

    :raises NotStruck: where it does not come.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise NotStruck(what)
        time.sleep(0.1)


def ended(scene: Scene, cluster: Cluster) -> bool:
    run = cluster.runs().get(scene.dag_id)
    return run is not None and run.state in ENDED


def _kill_task(scene: Scene, cluster: Cluster) -> None:
    process = _running(scene)
    scene.strikes.append(f"process {process.pid} on {process.host}")
    _kill(process)


def _kill(process: Process) -> None:
    """Kill the process of the pool first: it must not live to tell of its task's end."""
    if parent(process.pid) != process.supervisor:
        raise NotStruck(f"{process.supervisor} does not supervise {process.pid}")
    for pid in (process.supervisor, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _freeze_task(scene: Scene, cluster: Cluster) -> None:
    process = _running(scene)
    scene.strikes.append(f"process {process.pid} on {process.host}")
    _frozen_until((process.pid, process.supervisor), [scene], cluster)


def _running(scene: Scene) -> Process:
    alive = [process for process in scene.processes() if process.alive]
    if not alive:
        raise NotStruck("no process of its task runs")
    return alive[-1]


def _frozen_until(pids: Iterable[int], scenes: Sequence[Scene], cluster: Cluster) -> None:
    """Freeze processes until the tries that follow are in the middle of their work."""
    pids = tuple(pids)
    takeovers = {scene: scene.taken_over() for scene in scenes}
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for scene in scenes:
        if scene.row.window == "refused":
            scene.release()
    try:
        until(
            lambda: all(over() or ended(scene, cluster) for scene, over in takeovers.items()),
            "no other try took over",
        )
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _kill_worker(scenes: Sequence[Scene], cluster: Cluster) -> None:
    _tell(scenes, "worker-a")
    cluster.replace("worker-a")


def _freeze_worker(scenes: Sequence[Scene], cluster: Cluster) -> None:
    """Freeze all of a worker; the other takes its queue over."""
    _tell(scenes, "worker-a")
    cluster.serve("a", "worker-b")
    try:
        _frozen_until(cluster.members("worker-a"), scenes, cluster)
    finally:
        cluster.leave("a", "worker-b")


def _kill_triggerers(scenes: Sequence[Scene], cluster: Cluster) -> None:
    for name in sorted(_hosts(scenes, cluster)):
        cluster.replace(name)
    _tell(scenes, "triggerers")


def _freeze_triggerers(scenes: Sequence[Scene], cluster: Cluster) -> None:
    """Freeze one after the other, each until the other has taken all its triggers of these rows."""
    dag_ids = [scene.dag_id for scene in scenes]
    for name in sorted(_hosts(scenes, cluster)):
        held = {id for id, host in cluster.triggers(dag_ids).items() if host == name}
        pids = cluster.members(name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            until(
                lambda held=held, name=name: (
                    not any(  # type: ignore[misc]
                        id in held and host == name for id, host in cluster.triggers(dag_ids).items()
                    )
                ),
                f"no other triggerer took over what {name} held",
            )
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
    _tell(scenes, "triggerers")


def _hosts(scenes: Sequence[Scene], cluster: Cluster) -> set[str]:
    """Return the triggerers that run these rows' triggers: all of them must be somewhere."""
    dag_ids = {scene.dag_id for scene in scenes}

    def placed() -> bool:
        hosts = cluster.triggers(dag_ids).values()
        return bool(hosts) and all(host in TRIGGERERS for host in hosts)

    until(placed, "a trigger is in no triggerer")
    return set(cluster.triggers(dag_ids).values())


def _restart_database(scenes: Sequence[Scene], cluster: Cluster) -> None:
    _tell(scenes, "postgres")
    cluster.postgres.stop()
    time.sleep(AWAY)
    cluster.postgres.start_again()


def _lose_broker(scenes: Sequence[Scene], cluster: Cluster) -> None:
    _tell(scenes, "redis")
    cluster.redis.lose()
    # Their consumers come back by themselves, those of the rows' own queues are asked for.
    until(cluster.ready, "the workers did not come back to the broker")
    for scene in scenes:
        if scene.row.window == "queued":
            cluster.serve(scene.queue, "worker-b")


def _move(scene: Scene, cluster: Cluster) -> None:
    """Let what is to come run on the other worker."""
    scene.strikes.append("moved to worker-b")
    cluster.leave(scene.queue, "worker-a")
    cluster.serve(scene.queue, "worker-b")


def _kill_and_move(scene: Scene, cluster: Cluster) -> None:
    process = _running(scene)
    _move(scene, cluster)
    _kill(process)


def _lose_folder(scene: Scene, cluster: Cluster) -> None:
    """Empty the folder as a pod's own disk is when the next pod begins."""
    scene.strikes.append("folder gone")
    shutil.rmtree(cluster.disks / "worker-a" / scene.row.id)


def _delete_run(scene: Scene, cluster: Cluster) -> None:
    """Delete the run while its job is under way, and run it again under the same name."""
    scene.strikes.append("run deleted")
    cluster.delete(scene.dag_id)
    cluster.run(scene.dag_id)


def _kill_ten_times(scenes: Sequence[Scene], cluster: Cluster) -> None:
    """Kill tasks, workers and triggerers, each when work has gone on since the last."""
    victims = ("task", "task", "worker", "task", "triggerer", "task", "task", "worker", "triggerer", "task")
    assert len(victims) == KILLS
    for victim in victims:
        until(lambda: _live(scenes) is not None, "no task runs", PATIENCE)
        process = _live(scenes)
        assert process is not None
        resumed = _Resumed(scenes)
        if victim == "task":
            with contextlib.suppress(ProcessLookupError):
                _kill(process)
        elif victim == "worker":
            cluster.replace(process.host)
        else:
            for name in _hosts_now(scenes, cluster):
                cluster.replace(name)
        _tell(scenes, f"{victim} ({process.host})")
        until(resumed, "no task began after a kill")


class _Resumed:
    """Whether a task has begun, and has asked the hub, since this was made."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes
        self._since = time.time()
        self._asked: int | None = None

    def __call__(self) -> bool:
        if not any(process.time > self._since for scene in self._scenes for process in scene.processes()):
            return False
        asked = sum(len(scene.hub.requests()) for scene in self._scenes)
        if self._asked is None:
            self._asked = asked
        return asked > self._asked + 2


def _hosts_now(scenes: Sequence[Scene], cluster: Cluster) -> set[str]:
    """Return the triggerers that run these rows' triggers now; one of them where there are none."""
    hosts = set(cluster.triggers(scene.dag_id for scene in scenes).values()) & set(TRIGGERERS)
    return hosts or {TRIGGERERS[0]}


def _live(scenes: Sequence[Scene]) -> Process | None:
    """Return the last process that runs and is watched."""
    for scene in reversed(scenes):
        for process in reversed(scene.processes()):
            with contextlib.suppress(ProcessLookupError):
                if process.host in WORKERS and parent(process.pid) == process.supervisor:
                    return process
    return None


def _tell(scenes: Sequence[Scene], what: str) -> None:
    for scene in scenes:
        scene.strikes.append(what)


ONE: dict[Strike, Callable[[Scene, Cluster], None]] = {
    "task killed": _kill_task,
    "task frozen": _freeze_task,
    "another worker": _move,
    "killed, another worker": _kill_and_move,
    "folder gone": _lose_folder,
    "run deleted": _delete_run,
}
"""Strikes that hit one row only."""

ALL: dict[Strike, Callable[[Sequence[Scene], Cluster], None]] = {
    "worker killed": _kill_worker,
    "worker frozen": _freeze_worker,
    "triggerer killed": _kill_triggerers,
    "triggerer frozen": _freeze_triggerers,
    "database restarted": _restart_database,
    "broker lost": _lose_broker,
    "ten kills": _kill_ten_times,
}
"""Strikes that hit all rows of an act."""
