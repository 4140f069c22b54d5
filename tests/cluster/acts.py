"""What is struck together, and what runs beside each other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from tests.cluster.cluster import Cluster
from tests.cluster.rows import Act
from tests.cluster.scene import Scene
from tests.cluster.strikes import ALL, ONE, PATIENCE, NotStruck, ended, until

Say = Callable[[str], None]

TRACKS: tuple[tuple[tuple[Act, ...], ...], ...] = (
    # A worker is lost beside rows that the other one runs, and triggerers that are lost as well.
    (("disks", "a1", "a2", "a3", "f1", "f2"), ("clean", "tasks"), ("t1", "t2")),
    (("database",),),
    (("broker",), ("soak",)),
)
"""What happens one after another: of each, tracks beside each other; of a track, acts one after another."""

AFTER: dict[Act, Act] = {"soak": "broker"}
"""Acts that begin when another has been struck: its rows need free slots until then, and only wait after."""

BESIDE = 3
"""Rows of an act that are struck one by one, and run at once: some of a worker's slots stay free for those
who come after a strike."""

LIMIT = 420.0
"""Seconds for a row, from its start to its end; far more than it takes."""


def play(scenes: Sequence[Scene], cluster: Cluster, say: Say) -> None:
    """Play all rows."""
    for tracks in TRACKS:
        _beside([partial(_track, acts, scenes, cluster, say) for acts in tracks], len(tracks))


def _track(acts: Sequence[Act], scenes: Sequence[Scene], cluster: Cluster, say: Say) -> None:
    for act in acts:
        before = [scene for scene in scenes if scene.row.act == AFTER.get(act)]
        with contextlib.suppress(NotStruck):
            until(partial(_all_struck, before), "the act before was not struck", LIMIT)
        chosen = [scene for scene in scenes if scene.row.act == act]
        if not chosen:
            continue
        if chosen[0].row.strike in ALL:
            _together(chosen, cluster, say)
        else:
            _beside([partial(_alone, scene, cluster, say) for scene in chosen], BESIDE)


def _beside(steps: Sequence[Callable[[], None]], at_once: int) -> None:
    """Do steps beside each other, in their order; a harness that is told to end does not wait for them."""
    waiting, errors = deque(steps), []

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                step = waiting.popleft()
                try:
                    step()
                except Exception as error:
                    errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _together(scenes: Sequence[Scene], cluster: Cluster, say: Say) -> None:
    # What waits in the broker is queued anew after a while: it comes last.
    parts = [[scene for scene in scenes if (scene.row.window == "queued") == last] for last in (False, True)]
    try:
        for part in parts:
            for scene in part:
                _begin(scene, cluster)
            until(partial(_all_ready, part, cluster), "not all rows came to their moment")
        ALL[scenes[0].row.strike](scenes, cluster)
    except Exception as error:
        _trouble(scenes, error)
    for scene in scenes:
        scene.release()
    _end(scenes, cluster, say)


def _alone(scene: Scene, cluster: Cluster, say: Say) -> None:
    _begin(scene, cluster)
    strike = ONE.get(scene.row.strike)
    if strike:
        try:
            until(lambda: _ready(scene, cluster), "its moment did not come")
            strike(scene, cluster)
        except Exception as error:
            _trouble([scene], error)
        scene.release()
    _end([scene], cluster, say)


def _begin(scene: Scene, cluster: Cluster) -> None:
    if scene.row.act == "disks":
        cluster.serve(scene.queue, "worker-a")
    cluster.run(scene.dag_id)


def _all_struck(scenes: Sequence[Scene]) -> bool:
    return all(scene.strikes or scene.trouble for scene in scenes)


def _all_ready(scenes: Sequence[Scene], cluster: Cluster) -> bool:
    return all(_ready(scene, cluster) for scene in scenes)


def _ready(scene: Scene, cluster: Cluster) -> bool:
    """Whether a row's moment has come, or it has ended before."""
    if scene.row.window == "queued":
        return cluster.redis.client().llen(scene.queue) > 0 or ended(scene, cluster)
    if ended(scene, cluster):
        return True
    if scene.row.act == "disks" and (scene.row.kind, scene.row.mode) == ("batch", "deferrable"):
        # The triggerer does not see the batch's record either, and gives up after seconds.
        return scene.accepted() >= scene.row.prompts and (
            scene.row.strike != "folder gone" or _deferred(scene, cluster)
        )
    is_image_in_worker = scene.row.kind == "image" and not scene.row.strike.startswith("triggerer")
    if scene.row.window == "refused" and is_image_in_worker:
        # Between the answer and the record that says so nobody can know.
        return scene.refused() and cluster.has_sent_nothing(scene.dag_id)
    waits = scene.row.mode != "deferrable" or scene.row.window != "polling" or _deferred(scene, cluster)
    return waits and scene.in_window()


def _deferred(scene: Scene, cluster: Cluster) -> bool:
    """Whether all its tasks wait in a triggerer."""
    wanted = scene.row.prompts if scene.row.kind == "mapped" else 1
    return len(cluster.triggers([scene.dag_id])) >= wanted


def _trouble(scenes: Sequence[Scene], error: Exception) -> None:
    text = str(error) if isinstance(error, NotStruck) else f"{type(error).__name__}: {error}"
    for scene in scenes:
        scene.trouble = text


def _end(scenes: Sequence[Scene], cluster: Cluster, say: Say) -> None:
    end = time.monotonic() + max(LIMIT, PATIENCE)
    waiting = list(scenes)
    while waiting and time.monotonic() < end and not cluster.hopeless():
        for scene in [scene for scene in waiting if ended(scene, cluster)]:
            waiting.remove(scene)
            say(f"{scene.row.id}: {cluster.runs()[scene.dag_id].state}")
        time.sleep(0.3)
    for scene in waiting:
        say(f"{scene.row.id}: given up")
