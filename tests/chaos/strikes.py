"""Strikes from outside, at an instant that the hub shows."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.chaos.deployment import Deployment
from tests.chaos.rows import Instant
from tests.chaos.scene import Scene
from tests.chaos.watchdog import parent

PATIENCE = 300.0
"""Seconds until an instant is given up: rows wait for a free slot first."""

AWAY = 5.0
"""Seconds that the hub or the network is away: several polls, and several attempts at each."""


def strike(scene: Scene, deployment: Deployment) -> None:
    """Wait for the row's instant and strike, once. Rows that are trapped or lose an answer need none."""
    instant = scene.row.instant
    if instant is None:
        return
    try:
        if scene.wait(lambda: _INSTANTS[instant](scene), PATIENCE):
            _STRIKES[scene.row.victim](scene, deployment)
        else:
            scene.trouble = f"the instant ({instant}) did not come"
    except Exception as error:
        scene.trouble = f"{type(error).__name__}: {error}"


def _kill_task(scene: Scene, deployment: Deployment) -> None:
    pid, _ = scene.process()
    scene.mark_struck(f"task's process {pid}")
    os.kill(pid, signal.SIGKILL)


def _kill_supervisor(scene: Scene, deployment: Deployment) -> None:
    """Kill the supervisor first: it must not live to tell of its task's end."""
    pid, supervisor = scene.process()
    if parent(pid) != supervisor:
        raise RuntimeError(f"{supervisor} does not supervise {pid}")
    scene.mark_struck(f"supervisor {supervisor} and task's process {pid}")
    os.kill(supervisor, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def _kill_triggerer(scene: Scene, deployment: Deployment) -> None:
    scene.mark_struck(f"triggerer {deployment.pid('triggerer')}")
    deployment.replace("triggerer")


def _restart_hub(scene: Scene, deployment: Deployment) -> None:
    scene.mark_struck("hub")
    scene.hub.restart(down=AWAY)


def _cut_network(scene: Scene, deployment: Deployment) -> None:
    scene.mark_struck("network")
    scene.proxy.cut()
    time.sleep(AWAY)
    scene.proxy.mend()


_INSTANTS: dict[Instant, Callable[[Scene], bool]] = {
    "accepted": lambda scene: scene.accepted() >= scene.row.nth,
    "polling": lambda scene: scene.polls() >= 2 and scene.waiting(),
    "downloading": lambda scene: scene.downloads() >= scene.row.nth,
}

_STRIKES = {
    "task": _kill_task,
    "supervisor": _kill_supervisor,
    "triggerer": _kill_triggerer,
    "hub": _restart_hub,
    "network": _cut_network,
}
